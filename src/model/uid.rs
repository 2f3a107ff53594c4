//! Identities of objects in 16 bytes, for the indexes that hold one for each Stack.

use sha2::{Digest, Sha256};

/// A `metadata.uid`. Ordered as its text is.
///
/// The API server makes version 4 UUIDs (<https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#uids>).
/// Of any other text it is a hash, and the order then means nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid([u8; 16]);

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        uuid(text).unwrap_or_else(|| {
            let mut half = [0; 16];
            half.iter_mut().zip(Sha256::digest(text.as_bytes())).for_each(|(byte, digest)| *byte = digest);
            Self(half)
        })
    }
}

/// Of a UUID in its canonical form: lower case, five groups.
fn uuid(text: &str) -> Option<Uid> {
    let groups = text.split('-').map(str::len);
    let is_canonical =
        groups.eq([8, 4, 4, 4, 12]) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'));
    if !is_canonical {
        return None;
    }
    let digits: String = text.chars().filter(|digit| *digit != '-').collect();
    u128::from_str_radix(&digits, 16).ok().map(|number| Uid(number.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_differ_and_are_ordered_as_texts() {
        let texts = [
            "00000000-0000-4000-8000-000000000001",
            "0a000000-0000-4000-8000-000000000000",
            "a0000000-0000-4000-8000-000000000000",
            "f0000000-0000-4000-8000-ffffffffffff",
        ];
        assert!(texts.map(Uid::from).is_sorted_by(|one, other| one < other));
        let odd = ["", "u", "U", "00000000-0000-4000-8000-00000000000A", "00000000-0000-4000-8000-00000000000a"];
        for (index, one) in odd.iter().enumerate() {
            for other in odd.iter().skip(index + 1) {
                assert_ne!(Uid::from(*one), Uid::from(*other));
            }
        }
    }
}
