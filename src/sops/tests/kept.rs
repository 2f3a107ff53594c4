//! What an edit must keep: rules, comments, documents, aliases, and the time that it takes within bounds.

use std::time::{Duration, Instant};

use super::exchange::now;
use super::oracle::{Identity, Workplace, encrypt};
use crate::sops::{AgeRecipients, Creation, Editor, Format, KeyGroups, Path, Plain, Recipient, Selection, Value};
use crate::value::SecretValue;

fn text(text: &str) -> Value {
    Value::text(SecretValue::from(text.to_owned()))
}

async fn open(format: Format, identity: &Identity, file: &[u8]) -> Editor {
    Editor::open(format, file, &identity.keys()).await.unwrap_or_else(|error| {
        panic!("{error}\n{}", String::from_utf8_lossy(file));
    })
}

#[tokio::test]
async fn rules_hold_for_what_is_added() {
    let identity = Identity::generate();
    for (rule, encrypted, clear) in [
        (Selection::EncryptedRegex("^secret".to_owned()), "secret_a", "a"),
        (Selection::UnencryptedRegex("^open".to_owned()), "a", "open_a"),
        (Selection::EncryptedSuffix("_secret".to_owned()), "a_secret", "a"),
        (Selection::UnencryptedSuffix("_open".to_owned()), "a", "a_open"),
    ] {
        let creation = Creation {
            keys: KeyGroups::single(vec![Recipient::Age(identity.recipient.clone())]),
            selection: Some(rule),
            mac_only_encrypted: false,
            ..Creation::default()
        };
        let file = Plain::new(Format::Yaml).encrypt(&creation, &AgeRecipients, now()).await.unwrap();
        let mut editor = open(Format::Yaml, &identity, &file).await;
        for name in [encrypted, clear] {
            editor.set(&Path::key(name), text("visible?")).unwrap();
        }
        assert_eq!(editor.encrypts(&Path::key(encrypted)), Some(true));
        assert_eq!(editor.encrypts(&Path::key(clear)), Some(false));
        let file = String::from_utf8(editor.save(now()).unwrap()).unwrap();
        assert!(file.contains(&format!("{clear}: visible?\n")), "{file}");
        assert!(file.contains(&format!("{encrypted}: ENC[")), "{file}");
        Workplace::new(Format::Yaml, &[&identity.secret]).decrypt(file.as_bytes()).unwrap();
    }
}

/// Go's classes of characters are of ASCII; the MAC over what is in the clear shows whether both took the same keys.
#[tokio::test]
async fn expressions_mean_what_they_mean_to_sops() {
    let identity = Identity::generate();
    let plain = "a: 1\nä: 2\n\"7\": 3\n\"٣\": 4\n\"x y\": 5\n\"x\\u00A0y\": 6\naä: 7\nPASS: 8\nſ: 9\n";
    for regex in [
        r"^\w+$",
        r"^\W",
        r"^[\w]+$",
        r"^[^\w]+$",
        r"^\d$",
        r"^\D$",
        r"x\sy",
        r"x\Sy",
        r"^a\b",
        "(?i)^pass",
        "(?i)^s$",
        "^.$",
        "^[[:alpha:]]$",
        r"^\p{L}$",
    ] {
        for field in ["encrypted_regex", "unencrypted_regex"] {
            let theirs = encrypt(&identity, &format!("{field}: '{regex}'"), Format::Yaml, plain);
            open(Format::Yaml, &identity, theirs.as_bytes()).await;
            let selection = Selection::of_field(field, regex.to_owned());
            let keys = KeyGroups::single(vec![Recipient::Age(identity.recipient.clone())]);
            let creation = Creation { keys, selection, mac_only_encrypted: false, ..Creation::default() };
            let parsed = Plain::parse(Format::Yaml, &SecretValue::from(plain.to_owned())).unwrap();
            let ours = parsed.encrypt(&creation, &AgeRecipients, now()).await.unwrap();
            let workplace = Workplace::new(Format::Yaml, &[&identity.secret]);
            workplace.decrypt(&ours).unwrap_or_else(|said| panic!("{field} {regex}: {said}"));
            let sealed = |file: &str| -> Vec<bool> { file.lines().take(9).map(|line| line.contains("ENC[")).collect() };
            assert_eq!(sealed(&String::from_utf8(ours).unwrap()), sealed(&theirs), "{field} {regex}");
        }
    }
    // Nothing said is the default, not everything.
    let keys = KeyGroups::single(vec![Recipient::Age(identity.recipient.clone())]);
    for selection in [Selection::UnencryptedSuffix(String::new()), Selection::UnencryptedRegex(String::new())] {
        let creation = Creation {
            keys: keys.clone(),
            selection: Some(selection),
            mac_only_encrypted: false,
            ..Creation::default()
        };
        let parsed = Plain::parse(Format::Yaml, &SecretValue::from(plain.to_owned())).unwrap();
        let file = String::from_utf8(parsed.encrypt(&creation, &AgeRecipients, now()).await.unwrap()).unwrap();
        assert_eq!(file.lines().take(9).filter(|line| line.contains("ENC[")).count(), 9, "{file}");
    }
}

#[tokio::test]
async fn comments_and_documents_stay_through_edits() {
    let identity = Identity::generate();
    let plain = "# head\na: 1 # right of a\nb:\n  # inner\n  c: 2\n  # foot of c\nl:\n  # first\n  - x # right of x\n  - y\n# last\n---\nsecond: 2\n---\n{}\n";
    for rule in ["", "unencrypted_regex: ^(a|b|l)$", "encrypted_comment_regex: inner"] {
        let file = encrypt(&identity, rule, Format::Yaml, plain);
        let mut editor = open(Format::Yaml, &identity, file.as_bytes()).await;
        editor.set(&Path::key("b").then("d"), text("new")).unwrap();
        editor.set(&Path::key("a"), Value::integer(5)).unwrap();
        let saved = editor.save(now()).unwrap();
        let decrypted = Workplace::new(Format::Yaml, &[&identity.secret])
            .decrypt(&saved)
            .unwrap_or_else(|said| panic!("{rule}: {said}\n{}", String::from_utf8_lossy(&saved)));
        let decrypted = String::from_utf8(decrypted).unwrap();
        for comment in ["# head", "# right of a", "# inner", "# foot of c", "# first", "# right of x", "# last"] {
            assert_eq!(decrypted.matches(comment).count(), 1, "{rule}: {comment}\n{decrypted}");
        }
        assert_eq!(decrypted.matches("---").count(), 2, "{decrypted}");
        let again = open(Format::Yaml, &identity, &saved).await.to_plain_file().unwrap();
        let again = String::from_utf8(again.expose().to_vec()).unwrap();
        for comment in ["# head", "# right of a", "# inner", "# foot of c", "# first", "# right of x", "# last"] {
            assert_eq!(again.matches(comment).count(), 1, "{rule}: {comment}\n{again}");
        }
    }
}

#[tokio::test]
async fn comments_that_would_lie_to_the_next_reader_are_refused() {
    let keys = KeyGroups::single(vec![Recipient::Age(Identity::generate().recipient)]);
    let cases = [
        // Sealed, the first comment would match, and `a` would be taken for one in the clear.
        (Selection::UnencryptedCommentRegex("AES256".to_owned()), "# note\na: 1\n"),
        // To `sops` the sealed comment is an element, and the mark does not reach over it.
        (Selection::EncryptedCommentRegex("seal".to_owned()), "l:\n  # seal\n  # note\n  - 1\n"),
    ];
    for (selection, plain) in cases {
        let creation = Creation {
            keys: keys.clone(),
            selection: Some(selection),
            mac_only_encrypted: false,
            ..Creation::default()
        };
        let plain = Plain::parse(Format::Yaml, &SecretValue::from(plain.to_owned())).unwrap();
        let error = plain.encrypt(&creation, &AgeRecipients, now()).await.err().unwrap();
        assert!(matches!(error, crate::sops::Error::Unwritable { .. }), "{error}");
    }
    // In a map it does reach, and what marks by whatever is sealed marks nothing new.
    let selection = Some(Selection::EncryptedCommentRegex("seal|AES256".to_owned()));
    let creation = Creation { keys, selection, mac_only_encrypted: false, ..Creation::default() };
    let plain = SecretValue::from("# seal\n# note\na: 1\nb: 2\n".to_owned());
    Plain::parse(Format::Yaml, &plain).unwrap().encrypt(&creation, &AgeRecipients, now()).await.unwrap();
}

#[tokio::test]
async fn aliases_stay_until_a_change_needs_them_written_out() {
    let identity = Identity::generate();
    let keys = KeyGroups::single(vec![Recipient::Age(identity.recipient.clone())]);
    let creation = Creation {
        keys,
        selection: Some(Selection::EncryptedRegex("^secret".to_owned())),
        mac_only_encrypted: false,
        ..Creation::default()
    };
    let plain = "base: {a: 1, b: [x]}\ncopy: {a: 1, b: [x]}\nsecret: s\n";
    let plain = Plain::parse(Format::Yaml, &SecretValue::from(plain.to_owned())).unwrap();
    let file = String::from_utf8(plain.encrypt(&creation, &AgeRecipients, now()).await.unwrap()).unwrap();
    // By hand, what is not encrypted can be said with an alias.
    let copy = file.find("copy:").unwrap();
    let secret = file.find("secret:").unwrap();
    let file = format!("{}copy: *base\n{}", file[..copy].replace("base:\n", "base: &base\n"), &file[secret..]);
    let workplace = Workplace::new(Format::Yaml, &[&identity.secret]);
    workplace.decrypt(file.as_bytes()).unwrap();

    let mut editor = open(Format::Yaml, &identity, file.as_bytes()).await;
    editor.set(&Path::key("secret"), text("t")).unwrap();
    let saved = String::from_utf8(editor.save(now()).unwrap()).unwrap();
    assert!(saved.contains("base: &base\n") && saved.contains("copy: *base\n"), "{saved}");
    workplace.decrypt(saved.as_bytes()).unwrap();

    // A change below the anchor is not one of its copies.
    let mut editor = open(Format::Yaml, &identity, saved.as_bytes()).await;
    editor.set(&Path::key("base").then("a"), Value::integer(2)).unwrap();
    let saved = editor.save(now()).unwrap();
    workplace.decrypt(&saved).unwrap();
    let document = open(Format::Yaml, &identity, &saved).await.document();
    assert_eq!(document.get("base").unwrap().expose(), br#"{"a":2,"b":["x"]}"#);
    assert_eq!(document.get("copy").unwrap().expose(), br#"{"a":1,"b":["x"]}"#);
}

#[tokio::test]
async fn many_keys_are_edited_soon() {
    let identity = Identity::generate();
    let keys = KeyGroups::single(vec![Recipient::Age(identity.recipient.clone())]);
    let creation = Creation {
        keys,
        selection: Some(Selection::EncryptedRegex("^secret".to_owned())),
        mac_only_encrypted: false,
        ..Creation::default()
    };
    for format in [Format::Yaml, Format::Json, Format::Dotenv] {
        let mut plain = Plain::new(format);
        // Straight into the tree: putting them one by one looks each of them up.
        plain.documents[0] = (0..60_000)
            .map(|number| crate::sops::tree::Entry::Pair(format!("k{number}"), crate::sops::tree::Node::text("v")))
            .collect();
        let file = plain.encrypt(&creation, &AgeRecipients, now()).await.unwrap();
        let begun = Instant::now();
        let mut editor = open(format, &identity, &file).await;
        editor.unset(&Path::key("k17"));
        editor.set(&Path::key("k30000"), text("changed")).unwrap();
        editor.set(&Path::key("secret"), text("new")).unwrap();
        let saved = editor.save(now()).unwrap();
        // Quadratic work would take many minutes in this build.
        assert!(begun.elapsed() < Duration::from_secs(180), "{format}: {:?}", begun.elapsed());
        let document = open(format, &identity, &saved).await.document();
        assert_eq!(document.get("k30000").unwrap().expose(), b"changed");
    }
}
