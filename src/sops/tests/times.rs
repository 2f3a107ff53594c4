//! Times in the clear are part of the MAC by the text that Go gives them.

use super::exchange::{KeyPair, now};
use super::oracle::{Workplace, encrypt_under};
use crate::sops::{AgeRecipients, Creation, Editor, Format, Path, Plain, Value};
use crate::value::SecretValue;

/// What is a time to `sops`, and what is text to it.
const TIMES: [&str; 9] = [
    "2024-01-02T03:04:05.1234567891Z",
    "2024-01-02T03:04:05.0000000009Z",
    "2024-01-02T03:04:05,5Z",
    "2024-1-2 3:4:5,12345678901234567890",
    "2024-01-02t03:04:05.999999999999+02:00",
    "2024-01-02T03:04:05.Z",
    "2024-01-02T03:04:05,Z",
    "2024-01-02T03:04:05.5,5Z",
    "2024-01-02T03:04:05,x5Z",
];

#[tokio::test]
async fn times_with_any_fraction_have_the_mac_of_sops() {
    let pair = &KeyPair::all()[0];
    let creation = Creation { keys: pair.groups(), ..Creation::default() };
    let workplace = Workplace::new(Format::Yaml, &[&pair.secret]);
    for time in TIMES {
        let plain = format!("sealed: {time}\nat_unencrypted: {time}\n");
        let parsed = Plain::parse(Format::Yaml, &SecretValue::from(plain.clone())).unwrap();
        let ours = parsed.encrypt(&creation, &AgeRecipients, now()).await.unwrap();
        let shown = String::from_utf8_lossy(&ours);
        let read = workplace.decrypt(&ours).unwrap_or_else(|said| panic!("{time}: {said}\n{shown}"));

        let theirs = encrypt_under(&format!("age: {}", pair.recipient), Format::Yaml, &plain);
        assert_eq!(String::from_utf8(workplace.decrypt(theirs.as_bytes()).unwrap()), String::from_utf8(read), "{time}");
        let mut editor = Editor::open(Format::Yaml, theirs.as_bytes(), &pair.keys())
            .await
            .unwrap_or_else(|error| panic!("{time}: {error}\n{theirs}"));
        editor.set(&Path::key("added"), Value::integer(1)).unwrap();
        workplace.decrypt(&editor.save(now()).unwrap()).unwrap_or_else(|said| panic!("{time}: {said}"));
    }
}

/// A time that somebody wrote by hand into the clear part of a file stands there as it was written.
#[tokio::test]
async fn a_time_written_by_hand_is_read_as_sops_reads_it() {
    let pair = &KeyPair::all()[0];
    let workplace = Workplace::new(Format::Yaml, &[&pair.secret]);
    let rule = format!("age: {}", pair.recipient);
    let file = encrypt_under(&rule, Format::Yaml, "a: x\nat_unencrypted: 2024-01-02T03:04:05.123456789Z\n");
    for written in ["2024-01-02T03:04:05.1234567899Z", "2024-1-2T3:4:5,123456789Z", "2024-01-02 3:4:5,1234567890"] {
        let file = file.replace("2024-01-02T03:04:05.123456789Z", written);
        assert!(file.contains(written), "{file}");
        workplace.decrypt(file.as_bytes()).unwrap_or_else(|said| panic!("{written}: {said}"));
        let opened = Editor::open(Format::Yaml, file.as_bytes(), &pair.keys()).await;
        assert!(opened.is_ok(), "{written}: {}", opened.err().unwrap());
    }
}
