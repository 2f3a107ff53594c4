//! `.sops.yaml`: the rule that we take is the one that `sops` takes, with the same recipients and the same options.

use super::exchange::now;
use super::oracle::{Identity, Workplace, encrypt_by, encrypt_bytes_under, file_name};
use crate::sops::{
    AgeRecipients, AwsKmsKey, Creation, CreationRules, Editor, Encrypted, Error, Format, Indents, KeyGroups, Path,
    Plain, Recipient, Selection, Value,
};
use crate::value::SecretValue;

fn rules(text: &str) -> CreationRules {
    CreationRules::parse(text.as_bytes()).unwrap()
}

fn resolved(text: &str, path: &str) -> Creation {
    rules(text).for_file(path).unwrap_or_else(|error| panic!("{path}: {error}\n{text}")).unwrap()
}

fn age(names: &[&str]) -> Vec<Recipient> {
    names.iter().map(|name| Recipient::Age((*name).to_owned())).collect()
}

#[test]
fn the_first_rule_that_matches_counts() {
    let text = "\
creation_rules:
  - path_regex: ^prod/.*\\.yaml$
    age: first
  - path_regex: '\\.yaml$'
    age: second
  - age: third
  - path_regex: never
    age: fourth
";
    for (path, expected) in
        [("prod/a.yaml", "first"), ("dev/prod/a.yaml", "second"), ("prod/a.json", "third"), ("never", "third")]
    {
        assert_eq!(resolved(text, path).keys, KeyGroups::single(age(&[expected])), "{path}");
    }
    let error =
        rules("creation_rules:\n  - {path_regex: a, age: x}\n  - {path_regex: b}\n").for_file("c/d").err().unwrap();
    assert!(matches!(&error, Error::NoCreationRule { path, rules: 2 } if path == "c/d"), "{error}");
    for none in ["", "# nothing\n", "stores: {yaml: {indent: 2}}\n", "creation_rules:\n"] {
        assert_eq!(rules(none).for_file("a").unwrap(), None, "{none}");
    }
}

#[test]
fn recipients_are_lists_or_text_with_commas() {
    let expected = KeyGroups::single(age(&["one", "two"]));
    for written in [
        "one,two",
        "' one , two ,'",
        "[one, two]",
        "\n      - one\n      - two",
        ">-\n      one,\n      two",
        "[one, two, one]",
    ] {
        assert_eq!(resolved(&format!("creation_rules:\n  - age: {written}\n"), "f").keys, expected, "{written}");
    }
}

#[test]
fn every_kind_of_key_is_read() {
    let text = "\
creation_rules:
  - aws_profile: dev
    kms: arn:aws:kms:eu-west-1:1:key/a+arn:aws:iam::1:role/r, arn:aws:kms:eu-west-1:1:alias/b
    gcp_kms: [projects/p/locations/l/keyRings/r/cryptoKeys/k]
    azure_keyvault: https://v.vault.azure.net/keys/k/1,https://v.vault.azure.net/keys/l
    hc_vault_transit_uri: https://vault:8200/v1/team/transit/keys/k
    hckms: [region:uuid]
    pgp: 85D7 7543, AB
    age: age1x
";
    let kms = |arn: &str, role: Option<&str>| {
        Recipient::AwsKms(AwsKmsKey {
            arn: arn.to_owned(),
            role: role.map(str::to_owned),
            profile: Some("dev".to_owned()),
            ..AwsKmsKey::default()
        })
    };
    let azure = |name: &str, version: &str| Recipient::AzureKeyVault {
        vault_url: "https://v.vault.azure.net".to_owned(),
        name: name.to_owned(),
        version: version.to_owned(),
    };
    let pgp = |fingerprint: &str| Recipient::Pgp { fingerprint: fingerprint.to_owned() };
    let vault = Recipient::VaultTransit {
        address: "https://vault:8200".to_owned(),
        engine_path: "team/transit".to_owned(),
        key_name: "k".to_owned(),
    };
    let gcp = Recipient::GcpKms { resource_id: "projects/p/locations/l/keyRings/r/cryptoKeys/k".to_owned() };
    let huawei = Recipient::HuaweiKms { key_id: "region:uuid".to_owned() };
    let expected = [
        Recipient::Age("age1x".to_owned()),
        pgp("85D77543"),
        pgp("AB"),
        kms("arn:aws:kms:eu-west-1:1:key/a", Some("arn:aws:iam::1:role/r")),
        kms("arn:aws:kms:eu-west-1:1:alias/b", None),
        gcp.clone(),
        huawei.clone(),
        azure("k", "1"),
        azure("l", ""),
        vault.clone(),
    ];
    assert_eq!(resolved(text, "f").keys, KeyGroups::single(expected.to_vec()));

    let grouped = "\
creation_rules:
  - shamir_threshold: 2
    age: ignored
    key_groups:
      - merge:
          - age: [a, b]
            merge:
              - pgp: [C C]
        age: ['d,e', a]
        kms:
          - arn: arn:aws:kms:eu-west-1:1:key/a
            role: r
            aws_profile: p
            context: {Env: dev, Empty: }
      - gcp_kms: [{resource_id: projects/p/locations/l/keyRings/r/cryptoKeys/k}]
        hckms: [{key_id: region:uuid}]
        azure_keyvault: [{vaultUrl: https://v.vault.azure.net, key: k, version: '1'}]
        hc_vault: ['https://vault:8200/v1/team/transit/keys/k']
";
    let context = [("Env".to_owned(), "dev".to_owned()), ("Empty".to_owned(), String::new())].into();
    let first = vec![
        pgp("CC"),
        Recipient::Age("a".to_owned()),
        Recipient::Age("b".to_owned()),
        Recipient::Age("d".to_owned()),
        Recipient::Age("e".to_owned()),
        Recipient::AwsKms(AwsKmsKey {
            arn: "arn:aws:kms:eu-west-1:1:key/a".to_owned(),
            role: Some("r".to_owned()),
            profile: Some("p".to_owned()),
            context,
        }),
    ];
    let second = vec![gcp, huawei, azure("k", "1"), vault];
    assert_eq!(resolved(grouped, "f").keys, KeyGroups { groups: vec![first, second], threshold: Some(2) });
}

#[test]
fn aliases_and_merge_keys_bring_fields() {
    let text = "\
admins: &admins
  age: [a, b]
defaults: &defaults
  encrypted_regex: ^x$
  age: from defaults
creation_rules:
  - <<: *defaults
    path_regex: ^one$
    mac_only_encrypted: true
  - <<: [*admins, *defaults]
    path_regex: ^two$
  - key_groups:
      - *admins
      - merge: [*admins]
        age: [c]
";
    let one = resolved(text, "one");
    assert_eq!(one.keys, KeyGroups::single(age(&["from defaults"])));
    assert_eq!(one.selection, Some(Selection::EncryptedRegex("^x$".to_owned())));
    assert!(one.mac_only_encrypted);
    assert_eq!(resolved(text, "two").keys, KeyGroups::single(age(&["a", "b"])));
    assert_eq!(resolved(text, "three").keys.groups, [age(&["a", "b"]), age(&["a", "b", "c"])]);
}

#[test]
fn what_is_not_valid_is_told_by_field_where_it_counts() {
    let cases = [
        ("- {path_regex: '(', age: a}", "creation_rules[0].path_regex"),
        ("- {age: {a: b}}", "creation_rules[0].age"),
        ("- {age: [1, [2]]}", "creation_rules[0].age"),
        ("- {age: a, encrypted_regex: '('}", "creation_rules[0].encrypted_regex"),
        ("- {age: a, encrypted_regex: a, unencrypted_suffix: b}", "creation_rules[0].encrypted_regex"),
        ("- {age: a, shamir_threshold: many}", "creation_rules[0].shamir_threshold"),
        ("- {age: a, mac_only_encrypted: perhaps}", "creation_rules[0].mac_only_encrypted"),
        ("- {azure_keyvault: 'http://v/keys/k'}", "creation_rules[0].azure_keyvault"),
        ("- {hc_vault_transit_uri: 'https://vault/transit/keys/k'}", "creation_rules[0].hc_vault_transit_uri"),
        ("- {key_groups: [{age: a}]}", "creation_rules[0].key_groups[0].age"),
        ("- {key_groups: [a]}", "creation_rules[0].key_groups"),
    ];
    for (rule, expected) in cases {
        let text = format!("creation_rules:\n  {rule}\n");
        let error = rules(&text).for_file("f").err().unwrap_or_else(|| panic!("{rule}"));
        assert!(matches!(&error, Error::BadCreationRules { field, .. } if field == expected), "{rule}: {error}");
        // Not reached, no harm.
        let after = format!("creation_rules:\n  - {{path_regex: f, age: a}}\n  {rule}\n");
        rules(&after).for_file("f").unwrap();
    }
    for text in ["creation_rules: a\n", "creation_rules: [a]\n", "creation_rules: {a: b}\n"] {
        assert!(matches!(CreationRules::parse(text.as_bytes()), Err(Error::BadCreationRules { .. })), "{text}");
    }
    assert!(matches!(CreationRules::parse(b"a: [\n"), Err(Error::Unparsable { .. })));
    let mut deep = "a0: &a0 {age: [x]}\n".to_owned();
    for level in 1..40 {
        deep.push_str(&format!("a{level}: &a{level} {{merge: [*a{}]}}\n", level - 1));
    }
    let error = rules(&format!("{deep}creation_rules: [{{key_groups: [*a39]}}]\n")).for_file("f").err();
    assert!(matches!(error, Some(Error::BadCreationRules { .. })), "{error:?}");
}

/// `sops` and we encrypt the same file under the same rules, and say the same about it.
#[tokio::test]
async fn a_file_by_our_reading_of_the_rules_is_as_one_of_sops() {
    let people: Vec<Identity> = (0..3).map(|_| Identity::generate()).collect();
    let [a, b, c] = [0, 1, 2].map(|index| people[index].recipient.as_str());
    let cases = [
        format!("age: {a}, {b}"),
        format!("path_regex: \\.yaml$\nage: [{a}]\nencrypted_regex: ^(a|b)$\nmac_only_encrypted: true"),
        format!("age: >-\n  {a},\n  {b}\nunencrypted_suffix: _open"),
        format!("shamir_threshold: 2\nkey_groups:\n  - age: [{a}]\n  - age: [{b}]\n  - merge:\n      - age: [{c}]"),
        format!("key_groups:\n  - age: [{a}]\n  - age: ['{b},{c}']\nencrypted_comment_regex: seal"),
        format!("age: {a}\nencrypted_suffix: _sealed"),
        format!("age: {a}\nunencrypted_comment_regex: open"),
    ];
    let plain = "a: 1\nb: two\n# seal\nc: three\nd_open: four\n# open\ne_sealed: five\n";
    let secrets: Vec<&str> = people.iter().map(|person| person.secret.as_str()).collect();
    for rule in cases {
        let theirs = encrypt_bytes_under(&rule, Format::Yaml, plain.as_bytes());
        let mut text = "creation_rules:\n".to_owned();
        for (index, line) in rule.lines().enumerate() {
            text.push_str(&format!("{}{line}\n", if index == 0 { "  - " } else { "    " }));
        }
        let creation = resolved(&text, file_name(Format::Yaml));
        let parsed = Plain::parse(Format::Yaml, &SecretValue::from(plain.to_owned())).unwrap();
        let ours = parsed.encrypt(&creation, &AgeRecipients, now()).await.unwrap();
        Workplace::new(Format::Yaml, &secrets).decrypt(&ours).unwrap_or_else(|said| panic!("{rule}: {said}"));
        let recipients = |file: &[u8]| Encrypted::parse(Format::Yaml, file).unwrap().recipients();
        assert_eq!(recipients(&ours), recipients(&theirs), "{rule}");
        let mut keys = people[0].keys();
        keys.extend(people[1].keys());
        for file in [&ours, &theirs] {
            if let Err(error) = Editor::open(Format::Yaml, file, &keys).await {
                assert!(rule.contains("key_groups"), "{rule}: {error}");
            }
        }
        // The same lines, apart from what is random: keys, values in the clear, and fields of the metadata in their order.
        let shape = |file: &[u8]| -> Vec<String> {
            let text = String::from_utf8(file.to_vec()).unwrap();
            let lines = text.lines().filter(|line| !line.contains("hc_vault: []"));
            let armored = |line: &&str| {
                !line.trim_start().starts_with(|first: char| first.is_alphanumeric() || first == '/' || first == '+')
                    || line.contains(':')
            };
            let about = |line: &str| match line.find("ENC[") {
                Some(place) => format!("{}{}", &line[..place], line.rsplit("type:").next().unwrap()),
                None => line.split("lastmodified").next().unwrap().to_owned(),
            };
            lines.filter(armored).map(about).collect()
        };
        assert_eq!(shape(&ours), shape(&theirs), "{rule}");
    }
}

/// The words that YAML 1.1 has for truth are taken for it where truth is asked for, quoted or not; `"true"` is text.
#[test]
fn truth_is_written_in_the_words_of_sops() {
    let recipient = &Identity::generate().recipient;
    let yes = ["true", "True", "TRUE", "y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "'yes'", "\"on\""];
    let no = ["false", "False", "FALSE", "n", "N", "no", "No", "NO", "off", "Off", "OFF", "'no'", "~", ""];
    for (word, expected) in yes.map(|word| (word, true)).into_iter().chain(no.map(|word| (word, false))) {
        let rule = format!("age: {recipient}\nmac_only_encrypted: {word}");
        let theirs = String::from_utf8(encrypt_bytes_under(&rule, Format::Yaml, b"a: 1\n")).unwrap();
        assert_eq!(theirs.contains("mac_only_encrypted: true"), expected, "{word}");
        let text = format!("creation_rules:\n  - age: {recipient}\n    mac_only_encrypted: {word}\n");
        assert_eq!(resolved(&text, "f").mac_only_encrypted, expected, "{word}");
    }
    for word in ["perhaps", "'true'", "1", "yEs", "[]"] {
        let text = format!("creation_rules: [{{age: a, mac_only_encrypted: {word}}}]\n");
        assert!(matches!(rules(&text).for_file("f"), Err(Error::BadCreationRules { .. })), "{word}");
    }
}

/// Each line's blanks and key: what is left where everything random is taken away.
fn layout(file: &[u8]) -> Vec<String> {
    let is_armor = |text: &str| {
        text.len() > 3 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
    };
    let of_line = |line: &str| {
        let text = line.trim_start();
        let key = match text.split_once(':') {
            Some((key, _)) => key,
            None if is_armor(text) => "armor",
            None if text.starts_with("\"ENC[") || text.starts_with("- ENC[") => "value",
            None => text.trim_end_matches(','),
        };
        format!("{}{key}", &line[..line.len() - text.len()])
    };
    let mut lines: Vec<String> = String::from_utf8(file.to_vec()).unwrap().lines().map(of_line).collect();
    // Armor is of any length: age adds what makes readers used to the unknown.
    lines.dedup();
    lines
}

#[tokio::test]
async fn new_files_are_indented_as_those_of_sops() {
    let person = Identity::generate();
    let yaml = "a: x\nmap:\n  b: {c: d}\n  list: [one, {k: v, m: {n: o}}, [two, three]]\n";
    let json = r#"{"a": "x", "map": {"b": {"c": "d"}, "list": ["one", {"k": "v"}, ["two"]]}}"#;
    let cases = [
        (Format::Yaml, "yaml", yaml, &[0, 1, 2, 3, 4, 5, 8, 9, 10, 16][..]),
        (Format::Json, "json", json, &[-1, 0, 1, 2, 4, 7, 16]),
        (Format::Binary, "json_binary", "bytes", &[-1, 0, 2, 4]),
    ];
    for (format, store, plain, indents) in cases {
        for indent in indents {
            let what = format!("{store}: {indent}");
            let text =
                format!("creation_rules:\n  - age: {}\nstores:\n  {store}:\n    indent: {indent}\n", person.recipient);
            let theirs = encrypt_by(&text, format, plain.as_bytes());
            let plain = Plain::parse(format, &SecretValue::from(plain.to_owned())).unwrap();
            let creation = resolved(&text, file_name(format));
            let ours = plain.encrypt(&creation, &AgeRecipients, now()).await.unwrap();
            assert_eq!(layout(&ours), layout(&theirs), "{what}\n{}", String::from_utf8_lossy(&theirs));
            Workplace::new(format, &[&person.secret]).decrypt(&ours).unwrap();
            // What is added later stands as deep as what is there.
            let mut editor = Editor::open(format, &ours, &person.keys()).await.unwrap();
            let path = match format {
                Format::Binary => Path::key("data"),
                Format::Yaml | Format::Json | Format::Dotenv | Format::Ini => Path::key("map").then("added").then("x"),
            };
            editor.set(&path, Value::text(SecretValue::from("new".to_owned()))).unwrap();
            let edited = layout(&editor.save(now()).unwrap());
            assert!(layout(&ours).iter().all(|line| edited.contains(line)), "{what}: {edited:#?}");
            let deep = |key: &str, lines: &[String]| {
                let line = lines.iter().find(|line| line.trim_start().trim_matches('"') == key);
                line.map(|line| line.len() - line.trim_start().len())
            };
            assert_eq!(deep("x", &edited), deep("c", &layout(&ours)), "{what}: {edited:#?}");
        }
    }
}

#[test]
fn indents_that_are_none_are_told() {
    for (stores, field) in [
        ("a", "stores"),
        ("{yaml: 2}", "stores.yaml"),
        ("{yaml: {indent: -1}}", "stores.yaml.indent"),
        ("{yaml: {indent: two}}", "stores.yaml.indent"),
        ("{json: {indent: -2}}", "stores.json.indent"),
        ("{json_binary: {indent: 17}}", "stores.json_binary.indent"),
    ] {
        let error = CreationRules::parse(format!("stores: {stores}\n").as_bytes()).err();
        assert!(matches!(&error, Some(Error::BadCreationRules { field: told, .. }) if told == field), "{error:?}");
    }
    for stores in ["", "{}", "{yaml: {}, json:, dotenv: {}, ini: {}}"] {
        let text = format!("stores: {stores}\ncreation_rules: [{{age: a}}]\n");
        assert_eq!(resolved(&text, "f").indents, Indents::default(), "{stores}");
    }
}
