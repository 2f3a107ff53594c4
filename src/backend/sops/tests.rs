//! What the driver makes of its source; `tests/conformance` opens files that the real `sops` made.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::sops;

const CANARY: &str = "canary-41c7";

/// Objects that the test lays out: name, and files or an error.
struct Laid {
    objects: Vec<(&'static str, Found)>,
    reads: Arc<AtomicUsize>,
}

#[async_trait]
impl Source for Laid {
    async fn read(&self) -> Vec<Files> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let files = |files: &Vec<(&'static str, Vec<u8>)>| {
            files.iter().map(|(file, bytes)| ((*file).to_owned(), SecretValue::new(bytes.clone()))).collect()
        };
        self.objects
            .iter()
            .map(|(object, found)| {
                let files = found.as_ref().map(files).map_err(|kind| Error::new(*kind, "cannot read the object"));
                Files::new((*object).to_owned(), files)
            })
            .collect()
    }
}

type Found = Result<Vec<(&'static str, Vec<u8>)>, ErrorKind>;

fn store(objects: Vec<(&'static str, Found)>) -> (Sops, Arc<AtomicUsize>) {
    let reads = Arc::default();
    let source = Laid { objects, reads: Arc::clone(&reads) };
    (Sops::new(Box::new(source), Box::new(AgeKeys::default()), []), reads)
}

async fn kind(sops: &Sops, key: &str) -> ErrorKind {
    let read = sops.read(&[Key::current(key)]).await.remove(0).err().unwrap();
    let probe = sops.probe(&[Key::current(key)]).await.remove(0).err().unwrap();
    assert_eq!(read, probe, "{key}");
    assert!(!read.message.contains(CANARY), "{}", read.message);
    read.kind
}

#[tokio::test]
async fn what_is_no_good_sops_file_has_its_kind() {
    let plain = format!("NAME: {CANARY}\n").into_bytes();
    let (sops, _) = store(vec![(
        "ConfigMap n/files",
        Ok(vec![
            ("plain.yaml", plain.clone()),
            ("broken.json", format!("{{\"NAME\": {CANARY}").into_bytes()),
            ("large.yaml", vec![b'x'; (3 << 19) + 1]),
            ("binary.yaml", vec![0xff, 0xfe]),
            ("notes.txt", plain),
        ]),
    )]);
    for (key, expected) in [
        ("plain.yaml#NAME", ErrorKind::NotEncrypted),
        ("broken.json#NAME", ErrorKind::Undecodable),
        ("large.yaml#NAME", ErrorKind::TooLarge),
        ("binary.yaml#NAME", ErrorKind::Undecodable),
        ("notes.txt#NAME", ErrorKind::Undecodable),
        ("none.yaml#NAME", ErrorKind::NotFound),
    ] {
        assert_eq!(kind(&sops, key).await, expected, "{key}");
    }
    assert!(sops.list("").await.unwrap().is_empty());
}

#[tokio::test]
async fn an_object_that_cannot_be_read_leaves_doubt_only_about_what_was_not_found() {
    let plain = || vec![("a.yaml", b"NAME: x\n".to_vec())];
    let (sops, _) = store(vec![("one", Ok(plain())), ("two", Err(ErrorKind::Unavailable))]);
    assert_eq!(kind(&sops, "a.yaml#NAME").await, ErrorKind::NotEncrypted, "the file was found");
    assert_eq!(kind(&sops, "b.yaml#NAME").await, ErrorKind::Unavailable, "it may be in the other one");
    assert_eq!(sops.list("").await.unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(sops.check().await.unwrap_err().kind, ErrorKind::Unavailable);

    let (sops, _) = store(vec![("one", Ok(plain())), ("two", Ok(plain()))]);
    let error = sops.read(&[Key::current("a.yaml#NAME")]).await.remove(0).err().unwrap();
    assert_eq!(error.kind, ErrorKind::Ambiguous);
    assert_eq!(error.message, "a.yaml is in one and in two: remove it from one");
    sops.check().await.unwrap();
}

#[tokio::test]
async fn one_call_reads_the_source_once() {
    let (sops, reads) = store(vec![("one", Ok(Vec::new()))]);
    let keys: Vec<Key> = (0..50).map(|index| Key::current(format!("f{}.yaml#NAME", index % 7))).collect();
    assert_eq!(sops.read(&keys).await.len(), keys.len());
    assert_eq!(reads.load(Ordering::SeqCst), 1);
    assert_eq!(sops.probe(&keys).await.len(), keys.len());
    assert_eq!(reads.load(Ordering::SeqCst), 2);
}

#[test]
fn a_missing_key_fits_into_a_message_whatever_the_file_says() {
    let long = "é\n".repeat(500);
    let error = sops::Error::NoMatchingKey {
        recipients: vec![long.clone(), long],
        held: vec!["SOPS_AGE_KEY (age1xyz)".to_owned()],
        opened: 0,
        needed: 1,
    };
    let error = from_sops(&error, "prod.enc.yaml of ConfigMap n/files");
    assert_eq!(error.kind, ErrorKind::NoMatchingKey);
    assert!(error.message.ends_with(" +1; keys held: SOPS_AGE_KEY (age1xyz)"), "{}", error.message);
    assert!(!error.message.contains('\n'));
}
