//! What is on the disk at each step, and who waits for whom.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::os::unix::fs::PermissionsExt;

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What is on the disk at a step is what a crash there leaves.
#[test]
fn at_every_step_there_is_the_old_file_or_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dev.enc.yaml");
    for (before, after) in
        [(None, &b"one"[..]), (Some(&b"one"[..]), b"two, which is longer"), (Some(b"two, which is longer"), b"")]
    {
        let mut steps = Vec::new();
        replace_by_steps(&path, before, after, CIPHERTEXT, PATIENCE, &mut |step| {
            let now = fs::read(&path).ok();
            let is_new = step == Step::Renamed;
            assert_eq!(now.as_deref(), if is_new { Some(after) } else { before }, "{step:?}");
            if step == Step::Synced {
                let beside = names(folder.path()).into_iter().find(|name| name.ends_with(".new")).unwrap();
                assert_eq!(fs::read(folder.path().join(beside)).unwrap(), after, "synced whole before the rename");
            }
            steps.push(step);
        })
        .unwrap();
        assert_eq!(steps, [Step::Locked, Step::Begun, Step::Written, Step::Synced, Step::Renamed]);
        assert_eq!(names(folder.path()), ["dev.enc.yaml"], "nothing stays beside");
    }
}

#[test]
fn modes_stay_and_new_files_have_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/dev.enc.yaml");
    replace(&path, None, b"one", CIPHERTEXT).unwrap();
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o755));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    replace(&path, Some(b"one"), b"two", CIPHERTEXT).unwrap();
    assert_eq!(mode(&path), 0o640);
    let keys = folder.path().join("sops/age/keys.txt");
    replace(&keys, None, b"key", PRIVATE).unwrap();
    assert_eq!((mode(&keys), mode(keys.parent().unwrap())), (0o600, 0o700));
}

#[test]
fn what_somebody_else_wrote_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dev.enc.yaml");
    fs::write(&path, "theirs").unwrap();
    for before in [None, Some(&b"read before"[..])] {
        assert!(matches!(replace(&path, before, b"ours", CIPHERTEXT), Err(NotReplaced::Changed)));
    }
    assert_eq!(fs::read(&path).unwrap(), b"theirs");
    fs::remove_file(&path).unwrap();
    assert!(matches!(replace(&path, Some(b"theirs"), b"ours", CIPHERTEXT), Err(NotReplaced::Changed)));
    assert!(!path.exists());
}

#[test]
fn a_second_writer_waits_for_the_first_and_not_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dev.enc.yaml");
    replace_by_steps(&path, None, b"first", CIPHERTEXT, PATIENCE, &mut |step| {
        if step == Step::Written {
            let second = replace_by_steps(&path, None, b"second", CIPHERTEXT, Duration::ZERO, &mut |_| {});
            assert!(matches!(second, Err(NotReplaced::Locked)));
        }
    })
    .unwrap();
    let (told, hears) = std::sync::mpsc::channel();
    std::thread::scope(|threads| {
        let path = &path;
        replace_by_steps(path, Some(b"first"), b"third", CIPHERTEXT, PATIENCE, &mut |step| {
            if step == Step::Locked {
                let told = told.clone();
                threads.spawn(move || told.send(replace(path, Some(b"third"), b"fourth", CIPHERTEXT)));
            }
        })
        .unwrap();
    });
    hears.recv().unwrap().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"fourth");
}

#[test]
fn a_link_stays_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (folder.path().join("real.yaml"), folder.path().join("link.yaml"));
    fs::write(&path, "one").unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    replace(&link, Some(b"one"), b"two", CIPHERTEXT).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read(&path).unwrap(), b"two");
}
