//! dotenv, INI and binary files in detail: what `sops` makes of odd ones is what we make of them.

use super::exchange::now;
use super::oracle::{Identity, Workplace, encrypt, encrypt_bytes_under};
use crate::sops::tree::{Entry, Map, Node};
use crate::sops::{AgeRecipients, Creation, Editor, Encrypted, Error, Format, KeyGroups, Path, Plain, Recipient};
use crate::value::SecretValue;

/// Every pair of a file as text, in order, with the section for INI.
fn pairs(map: &Map) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in map {
        match entry {
            Entry::Comment(comment) => all.push(("#".to_owned(), comment.text.as_bytes().to_vec())),
            Entry::Pair(key, Node::Scalar(scalar)) => all.push((key.clone(), scalar.text.expose().to_vec())),
            Entry::Pair(key, Node::Map(map)) => {
                all.extend(pairs(map).into_iter().map(|(inner, text)| (format!("{key}.{inner}"), text)));
            }
            Entry::Pair(key, Node::Null | Node::List(_)) => panic!("{key} is no text"),
        }
    }
    all
}

async fn opened(format: Format, identity: &Identity, file: &[u8]) -> Vec<(String, Vec<u8>)> {
    let editor = Editor::open(format, file, &identity.keys()).await.unwrap_or_else(|error| {
        panic!("{error}\n{}", String::from_utf8_lossy(file));
    });
    pairs(&editor.plain.documents[0])
}

fn parsed(format: Format, text: &str) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let plain = Plain::parse(format, &SecretValue::from(text.to_owned()))?;
    Ok(plain.documents.iter().flat_map(pairs).collect())
}

const ODD_INI: &[&str] = &[
    "a = 1\n[s]\nb = 2\n",
    "[s]\na=1\nb:2\nc = d = e\nf : g = h\n",
    "[s]\na = \"x\"\nb = 'y'\nc = \"z\nd = x\"y\"\ne = \"a\" \"b\"\nf = ''\ng = \"\"\n",
    "[s]\na = x ; c\nb = x;y\nc = \"x;y\"\nd = `x;y`\ne = # all\n",
    "[s]\na = \"\"\"one\ntwo\n\"\"\"\nb = `three\n  four`\nc = \"\"\"five\"\"\" # six\nd = \"\"\"\"\"\"\n",
    "[s]\na = one \\\n   two \\\n three\nb = x\\\n\nc = 1\n",
    "; c1\n# c2\n[s] ; right\n; of a\na = 1 # and right\n\n\n; of b\n\n   b = 2   \n; at the end\n",
    "[s]\n`a=b` = 1\n\"c:d\" = 2\n\"\"\"e\"\"\" = 3\n",
    "[ spaced name ]\na = 1\n[a.b]\nc = 2\n[x] y ] z\nd=1\n",
    "\u{feff}[s]\r\na = 1\r\n; c\r\nb = 2\r\n",
    "[s]\nempty =\nblank = \" \"\nlast = x",
    "[s]\n\u{a0}a = 1\n",
    "[one]\n[two]\n[three]\na = 1\n",
];

#[tokio::test]
async fn odd_ini_files_are_read_as_sops_reads_them() {
    let identity = Identity::generate();
    for plain in ODD_INI {
        // `sops` keeps comments encrypted, so that only their order and text count.
        let file = encrypt(&identity, "", Format::Ini, plain);
        let theirs = opened(Format::Ini, &identity, file.as_bytes()).await;
        assert_eq!(parsed(Format::Ini, plain).unwrap(), theirs, "{plain}\n{file}");
    }
}

const ODD_DOTENV: &[&str] = &[
    "a=1\nb=2",
    "\n\na=1\n\n",
    "a = 1\n b=2\n\tc=3\n",
    "=nameless\n",
    "a=#no comment\n#a comment=x\n #b=c\n",
    "a=\"quoted\\nlines\"\nb='x'\n",
    "a=x\\\\ny\nb=\\\n",
    "a=x\rb\n",
    "ä=ü\n",
];

#[tokio::test]
async fn odd_dotenv_files_are_read_as_sops_reads_them() {
    let identity = Identity::generate();
    for plain in ODD_DOTENV {
        let file = encrypt(&identity, "", Format::Dotenv, plain);
        let theirs = opened(Format::Dotenv, &identity, file.as_bytes()).await;
        assert_eq!(parsed(Format::Dotenv, plain).unwrap(), theirs, "{plain}\n{file}");
    }
}

#[tokio::test]
async fn what_we_write_of_odd_files_sops_reads_alike() {
    let identity = Identity::generate();
    let rules = [None, Some(crate::sops::Selection::EncryptedRegex("^nothing$".to_owned()))];
    for (format, texts) in [(Format::Ini, ODD_INI), (Format::Dotenv, ODD_DOTENV)] {
        for (text, selection) in texts.iter().flat_map(|text| rules.iter().map(move |rule| (text, rule))) {
            let plain = Plain::parse(format, &SecretValue::from((*text).to_owned())).unwrap();
            let keys = KeyGroups::single(vec![Recipient::Age(identity.recipient.clone())]);
            let creation =
                Creation { keys, selection: selection.clone(), mac_only_encrypted: false, ..Creation::default() };
            let file = match plain.encrypt(&creation, &AgeRecipients, now()).await {
                Ok(file) => file,
                // In the clear there are values without a form; encrypted there are none.
                Err(Error::Unwritable { .. }) if selection.is_some() => continue,
                Err(error) => panic!("{text}: {error}"),
            };
            let shown = String::from_utf8_lossy(&file);
            let decrypted = Workplace::new(format, &[&identity.secret])
                .decrypt(&file)
                .unwrap_or_else(|said| panic!("{text}: {said}\n{shown}"));
            let only_values = |pairs: Vec<(String, Vec<u8>)>| -> Vec<(String, Vec<u8>)> {
                pairs.into_iter().filter(|(key, _)| !key.ends_with('#')).collect()
            };
            // `sops` prints quotes that stand at both ends without more, and then reads them as the value's bounds.
            let lossy = ["\"x\"", "'y'", "x\"y\"", "\\"];
            if !lossy.iter().any(|part| text.contains(part)) {
                let theirs = parsed(format, &String::from_utf8(decrypted).unwrap()).unwrap();
                assert_eq!(only_values(theirs), only_values(pairs(&plain.documents[0])), "{text}\n{shown}");
            }
            let ours = opened(format, &identity, &file).await;
            assert_eq!(only_values(ours), only_values(pairs(&plain.documents[0])), "{text}\n{shown}");
        }
    }
}

/// A key called `-` is numbered when it is read. `sops` writes the number, which is a comment to the next reader.
#[tokio::test]
async fn keys_that_are_numbered_are_not_written() {
    let identity = Identity::generate();
    let plain = "[s]\n- = first\n- = second\n";
    let read = parsed(Format::Ini, plain).unwrap();
    assert_eq!(read.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["s.#1", "s.#2"]);
    let file = encrypt(&identity, "", Format::Ini, plain);
    assert!(Workplace::new(Format::Ini, &[&identity.secret]).decrypt(file.as_bytes()).is_err());
    let plain = Plain::parse(Format::Ini, &SecretValue::from(plain.to_owned())).unwrap();
    let keys = KeyGroups::single(vec![Recipient::Age(identity.recipient.clone())]);
    let written = plain.encrypt(&Creation { keys, ..Creation::default() }, &AgeRecipients, now()).await;
    assert!(matches!(written, Err(Error::Unwritable { .. })));
}

#[test]
fn what_is_no_file_of_the_format_is_refused_by_line() {
    let cases = [
        (Format::Dotenv, "a=1\ncanary\n", 2),
        (Format::Ini, "[s]\na = 1\ncanary\n", 3),
        (Format::Ini, "[canary\n", 1),
        (Format::Ini, "[]\ncanary = 1\n", 1),
        (Format::Ini, "[s]\na = \"\"\"canary\n\n", 4),
        (Format::Ini, "[s]\n`canary = 1\n", 2),
        (Format::Ini, "[s]\n= canary\n", 2),
    ];
    for (format, text, expected) in cases {
        let error = Plain::parse(format, &SecretValue::from(text.to_owned())).err().unwrap();
        assert!(matches!(error, Error::Unparsable { line, .. } if line == expected), "{text}: {error}");
        assert!(!error.to_string().contains("canary"), "{error}");
    }
    for (format, text, expected) in [
        (Format::Dotenv, "a=1\nb=2\na=3\n", 3),
        (Format::Ini, "[s]\na = 1\n[t]\n[s]\n", 4),
        (Format::Ini, "[s]\na = 1\nb = 2\na : 3\n", 4),
        (Format::Ini, "a = 1\n[DEFAULT]\n", 2),
    ] {
        let error = Plain::parse(format, &SecretValue::from(text.to_owned())).err().unwrap();
        assert!(matches!(error, Error::DuplicateKey { line, .. } if line == expected), "{text}: {error}");
    }
    for (format, text) in [
        (Format::Dotenv, "a=1\nsops_mac=x\n"),
        (Format::Ini, "[a]\n[sops]\nmac = x\n"),
        (Format::Yaml, "sops: {}\n"),
        (Format::Json, "{\"sops\": 1}"),
    ] {
        let error = Plain::parse(format, &SecretValue::from(text.to_owned())).err().unwrap();
        assert!(matches!(error, Error::Unwritable { .. }), "{text}: {error}");
    }
    for format in Format::ALL {
        let text = if format == Format::Json || format == Format::Binary { "{}" } else { "" };
        assert!(matches!(Encrypted::parse(format, text.as_bytes()), Err(Error::NotEncrypted)), "{format}");
    }
}

#[tokio::test]
async fn binary_files_hold_any_bytes() {
    let identity = Identity::generate();
    for bytes in [&b""[..], b"\0", b"\xff\xfe\r\n", "Grüße\n".as_bytes(), &[b'x'; 100_000]] {
        let keys = KeyGroups::single(vec![Recipient::Age(identity.recipient.clone())]);
        // Rules are for files with names.
        let creation = Creation {
            keys,
            selection: Some(crate::sops::Selection::EncryptedRegex("^nothing$".to_owned())),
            mac_only_encrypted: true,
            ..Creation::default()
        };
        let plain = Plain::parse(Format::Binary, &SecretValue::new(bytes.to_vec())).unwrap();
        let ours = plain.encrypt(&creation, &AgeRecipients, now()).await.unwrap();
        assert_eq!(Workplace::new(Format::Binary, &[&identity.secret]).decrypt(&ours).unwrap(), bytes);
        let theirs = encrypt_bytes_under(&format!("age: {}", identity.recipient), Format::Binary, bytes);
        for file in [ours, theirs] {
            let editor = Editor::open(Format::Binary, &file, &identity.keys()).await.unwrap();
            assert_eq!(editor.to_plain_file().unwrap().expose(), bytes);
            assert_eq!(editor.document().find(&Path::key("data")).unwrap().expose(), bytes);
        }
    }
}

/// A list that has lost lines is told by its name in the file.
#[test]
fn a_list_with_gaps_is_told_by_its_path() {
    for (lines, expected) in [
        ("sops_age__list_1__map_enc=x\n", "sops.age"),
        (
            "sops_key_groups__list_0__map_kms__list_0__map_arn=a\nsops_key_groups__list_0__map_kms__list_2__map_arn=b\n",
            "sops.key_groups__list_0__map_kms",
        ),
    ] {
        let file = format!("a=b\nsops_lastmodified=2024-01-02T03:04:05Z\n{lines}");
        let said = Encrypted::parse(Format::Dotenv, file.as_bytes()).err().unwrap().to_string();
        assert!(said.contains(&format!("`{expected}` has elements missing")), "{said}");
    }
}
