//! Which ConfigMap each file of a folder goes into, where one does not take them all.
//!
//! Every file has an order of its own of all ConfigMaps, drawn from its key, and goes into the first one that has room. So a
//! file that comes or goes leaves the others where they are, but for those that had to stand back for want of room; and with
//! one more ConfigMap only those move whose first one it is.

use std::cmp::Reverse;

use sha2::{Digest as _, Sha256};

/// How many ConfigMaps a Store may name: `sops.source.configMaps`.
const MOST_OBJECTS: usize = 16;

/// The number of each file's ConfigMap, and how many there are: as few as do. None: they do not fit.
pub fn places(files: &[(&str, usize)], room: usize) -> Option<(Vec<usize>, usize)> {
    (1..=MOST_OBJECTS).find_map(|count| Some((among(files, room, count)?, count)))
}

fn among(files: &[(&str, usize)], room: usize, count: usize) -> Option<Vec<usize>> {
    let mut left = vec![room; count];
    let place = |&(key, size): &(&str, usize)| {
        order(key, count).into_iter().find(|place| {
            let Some(rest) = left.get_mut(*place) else { return false };
            rest.checked_sub(size).map(|less| *rest = less).is_some()
        })
    };
    files.iter().map(place).collect()
}

/// The ConfigMaps as a key prefers them. It is the same for any number of them, but for those that are not there.
fn order(key: &str, count: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..count).collect();
    places.sort_by_cached_key(|place| Reverse(Sha256::digest(format!("{place}/{key}")).to_vec()));
    places
}

/// The name of a ConfigMap by its number.
pub fn name(first: &str, place: usize) -> String {
    match place {
        0 => first.to_owned(),
        place => format!("{first}-{}", place + 1),
    }
}

/// The names of ConfigMaps that there would be if there were more.
pub fn names_beyond(first: &str, count: usize) -> impl Iterator<Item = String> {
    (count..MOST_OBJECTS).map(move |place| name(first, place))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

    use super::*;

    fn files(count: usize, size: usize) -> Vec<(String, usize)> {
        (0..count).map(|number| (format!("stack-{number}.enc.yaml"), size)).collect()
    }

    fn placed(files: &[(String, usize)], room: usize) -> Option<(Vec<usize>, usize)> {
        places(&files.iter().map(|(key, size)| (key.as_str(), *size)).collect::<Vec<_>>(), room)
    }

    #[test]
    fn no_object_takes_more_than_its_room_and_none_is_without_need() {
        for (count, size, least) in [(1, 1, 1), (10, 100, 1), (11, 100, 2), (40, 100, 4), (16, 999, 16), (200, 7, 2)] {
            let files = files(count, size);
            let (places, objects) = placed(&files, 1_000).unwrap();
            assert_eq!((places.len(), objects), (count, least), "{count} files of {size}");
            for object in 0..objects {
                let taken: usize = places.iter().filter(|place| **place == object).count() * size;
                assert!(taken <= 1_000, "{taken} in {object}");
            }
        }
        assert_eq!(placed(&files(17, 999), 1_000), None);
        assert_eq!(placed(&files(1, 1_001), 1_000), None);
    }

    #[test]
    fn a_file_that_comes_or_goes_moves_no_other_while_there_is_room() {
        let before = files(60, 30);
        let (places, objects) = placed(&before, 1_000).unwrap();
        assert_eq!(objects, 2);
        for gone in 0..before.len() {
            let (mut rest, mut expected) = (before.clone(), places.clone());
            rest.remove(gone);
            expected.remove(gone);
            assert_eq!(placed(&rest, 1_000).unwrap().0, expected, "without {}", before[gone].0);
        }
        // One more object: whoever moves, moves there.
        let more = files(80, 30);
        let (after, objects) = placed(&more, 1_000).unwrap();
        assert_eq!(objects, 3);
        let moved = places.iter().zip(&after).filter(|(before, after)| before != after);
        let to: Vec<usize> = moved.map(|(_, after)| *after).collect();
        assert!(to.len() < 40 && to.iter().filter(|place| **place != 2).count() < 10, "{to:?}");
    }

    #[test]
    fn names_are_numbered_from_the_second_on() {
        assert_eq!((name("files", 0), name("files", 1)), ("files".to_owned(), "files-2".to_owned()));
        assert_eq!(names_beyond("files", 14).collect::<Vec<_>>(), ["files-15", "files-16"]);
    }
}
