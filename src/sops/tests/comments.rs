//! Comments: encrypted or not, in every place where YAML can have one, and as the mark of a rule.

use super::oracle::{Identity, decrypt, encrypt, text};
use crate::sops::Format;

const PLAIN: &str = "\
# head of the file

# head of a
a: # right of a key
    # inner head
    b: 1
    # foot of b

c: text # right of c
# above d
d: [x, y] # right of flow
e:
    # above the first
    - one # right of one
    - two
    # above a map
    - k: v # right of k
      # inside
      l: w
    -
      - n1
      # foot of n1
    # foot of e
f: |
    block # no comment
# above g
g: {h: 1, # right of h
    i: 2}
# last
";

async fn reads_all(rule: &str) {
    let identity = Identity::generate();
    let file = encrypt(&identity, rule, Format::Yaml, PLAIN);
    let document =
        decrypt(&identity, Format::Yaml, &file).await.unwrap_or_else(|error| panic!("{rule}: {error}\n{file}"));
    let expected = [
        ("a", r#"{"b":1}"#),
        ("c", "text"),
        ("d", r#"["x","y"]"#),
        ("e", r#"["one","two",{"k":"v","l":"w"},["n1"]]"#),
        ("f", "block # no comment\n"),
        ("g", r#"{"h":1,"i":2}"#),
    ];
    for (name, value) in expected {
        assert_eq!(text(&document, name).as_deref(), Some(value), "{rule}: {name}");
    }
    assert_eq!(document.names().count(), expected.len());
}

#[tokio::test]
async fn comments_in_every_place_are_passed_over() {
    for rule in ["", "mac_only_encrypted: true", "encrypted_regex: ^[ace]$", "unencrypted_regex: ^[ace]$"] {
        reads_all(rule).await;
    }
}

#[tokio::test]
async fn a_comment_marks_what_follows_it_wherever_it_stands() {
    let words = [
        "head of the file",
        "head of a",
        "right of a key",
        "inner head",
        "foot of b",
        "right of c",
        "above d",
        "right of flow",
        "above the first",
        "right of one",
        "above a map",
        "right of k",
        "inside",
        "foot of n1",
        "foot of e",
        "above g",
        "right of h",
        "last",
        "above|right",
    ];
    for word in words {
        for rule in ["encrypted", "unencrypted"] {
            reads_all(&format!("{rule}_comment_regex: ({word})$")).await;
        }
    }
}

#[tokio::test]
async fn encrypted_comments_inside_lists_are_no_elements() {
    let identity = Identity::generate();
    let plain =
        "list:\n    # first\n    - 1\n    # second\n    - 2\n    # last\nonly:\n    # nothing but a comment\n    []\n";
    let file = encrypt(&identity, "", Format::Yaml, plain);
    assert!(file.contains("- ENC[") && file.contains("type:comment]"), "sops writes them as elements:\n{file}");
    let document = decrypt(&identity, Format::Yaml, &file).await.unwrap();
    assert_eq!(text(&document, "list").unwrap(), "[1,2]");
    assert_eq!(text(&document, "only").unwrap(), "[]");
}

#[tokio::test]
async fn long_blocks_of_comments_are_read() {
    let identity = Identity::generate();
    let plain = format!("{}a: 1\n", "# line\n".repeat(300));
    let file = encrypt(&identity, "", Format::Yaml, &plain);
    let document = decrypt(&identity, Format::Yaml, &file).await.unwrap();
    assert_eq!(text(&document, "a").unwrap(), "1");
}
