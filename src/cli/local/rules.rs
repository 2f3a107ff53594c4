//! The `.sops.yaml` that says for whom a new file is encrypted.
//!
//! It is looked for in the file's own folder first, then upwards; the nearest one counts, and the whole rule of it. (Atmos
//! begins above the file's folder and takes the recipients alone; `sops` begins in the current folder.)

use std::path::{Path, PathBuf};

use super::replace;
use crate::backend::{Error, ErrorKind};
use crate::sops::{Creation, CreationRules, Format, Path as SopsPath, Plain, Value};
use crate::value::SecretValue;

/// The file's name.
pub const FILE: &str = ".sops.yaml";
/// How far it is looked for.
const LEVELS: usize = 100;

/// How the new file at `path` is to be encrypted.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] if there are no rules, none is for the file, or they are not as they should be.
pub fn creation(path: &Path) -> Result<Creation, Error> {
    let invalid = |message: String| Error::new(ErrorKind::InvalidConfig, message);
    let path = std::path::absolute(path).map_err(|error| invalid(format!("no current folder: {}", error.kind())))?;
    let Some(config) = path.parent().and_then(nearest) else {
        let shown = path.display();
        return Err(invalid(format!(
            "there is no {FILE} at or above the folder of {shown}: it says for whom to encrypt"
        )));
    };
    let shown = config.display();
    let text = match replace::read(&config) {
        Ok(text) => text.unwrap_or_default(),
        Err(error) => return Err(invalid(format!("could not read {shown}: {}", error.kind()))),
    };
    let folder = config.parent().unwrap_or(&config);
    let relative = path.strip_prefix(folder).unwrap_or(&path);
    let relative: Vec<_> = relative.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    let rules = CreationRules::parse(&text).map_err(|error| invalid(format!("{shown}: {error}")))?;
    let creation = rules.for_file(&relative.join("/")).map_err(|error| invalid(format!("{shown}: {error}")))?;
    creation.ok_or_else(|| invalid(format!("{shown} has no creation_rules: they say for whom to encrypt")))
}

/// The nearest `.sops.yaml` from `folder` upwards.
#[must_use]
pub fn nearest(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().take(LEVELS).map(|folder| folder.join(FILE)).find(|file| file.is_file())
}

/// The text of a `.sops.yaml` in which the rule for `regex` names the recipient; none if it does so already. All else stays,
/// comments too. A rule that is not there comes last.
///
/// # Errors
/// In words: the text is no YAML, or the rule is of a kind that takes no list of recipients.
pub fn with_recipient(text: Option<&[u8]>, regex: &str, recipient: &str) -> Result<Option<Vec<u8>>, String> {
    let text = SecretValue::new(text.unwrap_or_default().to_vec());
    let is_empty = text.expose().trim_ascii().is_empty();
    let mut plain = match is_empty {
        true => Plain::new(Format::Yaml),
        false => Plain::parse(Format::Yaml, &text).map_err(|error| error.to_string())?,
    };
    let rules: Vec<serde_json::Value> = match plain.document().get("creation_rules") {
        None => Vec::new(),
        Some(rules) => serde_json::from_slice(rules.expose()).map_err(|_| "creation_rules is not a list".to_owned())?,
    };
    let place = rules.iter().position(|rule| rule.get("path_regex").and_then(|value| value.as_str()) == Some(regex));
    let rule_at = |place| SopsPath::key("creation_rules").at(place);
    let text_of = |text: &str| Value::text(SecretValue::new(text.as_bytes().to_vec()));
    let mut set = |path: SopsPath, text: &str| plain.set(&path, text_of(text)).map_err(|error| error.to_string());
    match place.and_then(|place| Some((place, rules.get(place)?))) {
        None => {
            set(rule_at(rules.len()).then("path_regex"), regex)?;
            set(rule_at(rules.len()).then("age"), recipient)?;
            if let Some(lines) = with_lines(text.expose(), &plain, regex, recipient) {
                return Ok(Some(lines));
            }
        }
        Some((place, rule)) => {
            if rule.get("key_groups").is_some() {
                return Err(format!("the rule for {regex} has key_groups: add {recipient} to one of them"));
            }
            let age = rule_at(place).then("age");
            match rule.get("age") {
                Some(serde_json::Value::String(names)) => {
                    if names.split(',').any(|name| name.trim() == recipient) {
                        return Ok(None);
                    }
                    let names = names.trim_end().trim_end_matches(',');
                    let joint = if names.is_empty() { "" } else { "," };
                    set(age, &format!("{names}{joint}{recipient}"))?;
                }
                Some(serde_json::Value::Array(names)) => {
                    let lists = names.iter().filter_map(|names| names.as_str()).flat_map(|names| names.split(','));
                    if lists.into_iter().any(|name| name.trim() == recipient) {
                        return Ok(None);
                    }
                    set(age.at(names.len()), recipient)?;
                }
                None | Some(serde_json::Value::Null) => {
                    set(age, recipient)?;
                }
                Some(_) => return Err(format!("`age` of the rule for {regex} is neither text nor a list")),
            };
        }
    }
    let file = match is_empty {
        true => plain.to_file(),
        false => plain.to_edited_file(&text),
    };
    Ok(Some(file.map_err(|error| error.to_string())?.expose().to_vec()))
}

/// The text with a rule of two more lines behind the last one, so that no other line changes; none where that is not what
/// is `meant`.
fn with_lines(text: &[u8], meant: &Plain, regex: &str, recipient: &str) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let meant = meant.to_file().ok()?;
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let head = lines.iter().position(|line| line.starts_with("creation_rules:"))?;
    let first = lines.iter().skip(head + 1).find(|line| line.trim_start().starts_with("- "))?;
    let indent = first.get(..first.len() - first.trim_start().len())?;
    let rule = format!("{indent}- path_regex: '{}'\n{indent}  age: {recipient}\n", regex.replace('\'', "''"));
    (head + 2..=lines.len()).rev().find_map(|place| {
        let before: String = lines.iter().take(place).copied().collect();
        let after: String = lines.iter().skip(place).copied().collect();
        let end_of_line = if before.ends_with('\n') { "" } else { "\n" };
        let guess = SecretValue::from(format!("{before}{end_of_line}{rule}{after}"));
        let read = Plain::parse(Format::Yaml, &guess).ok()?.to_file().ok()?;
        read.equals(meant.expose()).then(|| guess.expose().to_vec())
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

    use std::fs;

    use super::*;
    use crate::sops::Selection;

    const ONE: &str = "age1lzd99uklcjnc0e7d860axevet2cz99ce9pq6tzuzd05l5nr28ams36nvun";

    fn recipients(path: &Path) -> Vec<String> {
        let creation = creation(path).unwrap();
        creation.keys.groups.iter().flatten().map(ToString::to_string).collect()
    }

    #[test]
    fn the_nearest_rules_count_and_all_of_the_rule() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("secrets/net")).unwrap();
        let file = root.join("secrets/net/dev.enc.yaml");
        let missing = creation(&file).unwrap_err();
        assert!(missing.message.contains("there is no .sops.yaml"), "{}", missing.message);

        fs::write(root.join(FILE), format!("creation_rules:\n- path_regex: ^secrets/net/.*yaml$\n  age: {ONE}\n  encrypted_regex: ^K\n  mac_only_encrypted: true\n- age: age1other\n")).unwrap();
        assert_eq!(recipients(&file), [ONE]);
        let whole = creation(&file).unwrap();
        assert_eq!(whole.selection, Some(Selection::EncryptedRegex("^K".to_owned())));
        assert!(whole.mac_only_encrypted);
        assert_eq!(recipients(&root.join("else.yaml")), ["age1other"]);

        fs::write(root.join("secrets/net").join(FILE), "creation_rules:\n- age: age1near\n").unwrap();
        assert_eq!(recipients(&file), ["age1near"], "the file's own folder goes first");
        fs::write(root.join("secrets").join(FILE), "creation_rules:\n- path_regex: none\n  age: age1near\n").unwrap();
        let none = creation(&root.join("secrets/dev.yaml")).unwrap_err();
        assert!(none.message.contains("no creation rule is for dev.yaml"), "{}", none.message);
    }

    #[test]
    fn a_recipient_joins_its_rule_and_nothing_else_changes() {
        let regex = r"secrets/.*\.enc\.yaml$";
        let with = |text: &str| {
            let after = with_recipient(Some(text.as_bytes()), regex, "age1new").unwrap();
            after.map(|text| String::from_utf8(text).unwrap())
        };
        let rule = |age: &str| {
            format!(
                "# ours\ncreation_rules:\n\n  # the team\n  - path_regex: '{regex}'   # all of them\n    {age}\n  - pgp: ABC\n\nstores: {{}}\n"
            )
        };
        assert_eq!(with(&rule("age: age1one")).unwrap(), rule("age: age1one,age1new"));
        assert_eq!(with(&rule("age: age1one, age1new")), None);
        assert_eq!(with(&rule("age: [age1one, age1new]")), None);
        let listed =
            with("creation_rules:\n- path_regex: secrets/.*\\.enc\\.yaml$\n  age:\n  - age1one # me\n").unwrap();
        assert!(listed.contains("- age1one # me\n") && listed.contains("- age1new"), "{listed}");
        let rest = "\nstores: {} # none\n";
        for (indent, rest) in [("", ""), ("  ", ""), ("", rest), ("    ", rest)] {
            let other = format!("creation_rules:\n# first\n{indent}- path_regex: other\n{indent}  age: age1one\n");
            let added = format!("{indent}- path_regex: '{regex}'\n{indent}  age: age1new\n");
            let appended = with(&format!("{other}{rest}")).unwrap();
            let places = [format!("{other}{added}{rest}"), format!("{other}\n{added}{}", rest.trim_start())];
            assert!(places.contains(&appended), "{appended}");
        }
        let grouped = rule("key_groups: [{age: [age1one]}]");
        assert!(with_recipient(Some(grouped.as_bytes()), regex, "age1new").unwrap_err().contains("key_groups"));
    }

    #[test]
    fn new_rules_are_read_back() {
        for text in [None, Some(&b""[..]), Some(b"# nothing yet\n"), Some(b"stores: {}\n")] {
            let text = with_recipient(text, "$", "age1new").unwrap().unwrap();
            let creation = CreationRules::parse(&text).unwrap().for_file("any.yaml").unwrap().unwrap();
            assert_eq!(creation.keys.groups[0][0].to_string(), "age1new");
            assert_eq!(with_recipient(Some(&text), "$", "age1new").unwrap(), None);
        }
    }
}
