//! What can go wrong with a SOPS file or a key, in words that never hold a value, a key or a parser's own message.

use super::format::Format;

/// The most names that one message lists, and the most characters it shows of each: metadata is unauthenticated text.
const NAMES_SHOWN: usize = 20;
const CHARACTERS_SHOWN: usize = 200;

/// Why a SOPS file or an identity could not be read, or a file not written.
///
/// Texts hold key paths, recipients, key names and line numbers, which SOPS keeps in the clear, and nothing else of the
/// file or of a key. Every name is cut and escaped, so that a crafted file cannot forge log lines.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no `sops` metadata: the file is plaintext, empty, or was cut off before its end.
    #[error(
        "the file is not encrypted: it has no `sops` metadata; encrypt it with `sops encrypt`, or restore its end if it was cut off"
    )]
    NotEncrypted,
    /// The bytes are not a document of the format.
    #[error("cannot read the file as {format}, line {line}: {problem}")]
    Unparsable {
        /// What the file was read as.
        format: Format,
        /// The line of the problem, counted from 1.
        line: usize,
        /// What was found, in fixed words.
        problem: &'static str,
    },
    /// One map holds the same key twice, so that two readers could see two values.
    #[error("cannot read the file as {format}, line {line}: a map holds the same key twice")]
    DuplicateKey {
        /// What the file was read as.
        format: Format,
        /// The line of the second one, counted from 1.
        line: usize,
    },
    /// The file, or what its aliases expand to, is larger than the limit.
    #[error("the file is too large: more than {limit} bytes{}", if *.expanded { " once its aliases are expanded" } else { "" })]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
        /// Whether the file itself is small enough and its aliases make it large.
        expanded: bool,
    },
    /// Maps and lists are nested deeper than the limit.
    #[error("the file nests maps and lists deeper than {limit} levels at line {line}")]
    TooDeep {
        /// The limit in levels.
        limit: usize,
        /// The line, counted from 1.
        line: usize,
    },
    /// The file has more values, comments, maps and lists than the limit, counted after aliases are expanded.
    #[error("the file holds more than {limit} values, counted after its aliases are expanded")]
    TooManyNodes {
        /// The limit.
        limit: usize,
    },
    /// The file uses something of its format that SOPS files of this library do not have.
    #[error("the file uses {what} at line {line}, which is not supported")]
    Unsupported {
        /// What, in fixed words.
        what: &'static str,
        /// The line, counted from 1.
        line: usize,
    },
    /// The `sops` metadata lacks a field or holds one that is not as it should be.
    #[error("the metadata field `sops.{field}` {problem}")]
    BadMetadata {
        /// The field's path below `sops`.
        field: String,
        /// What is wrong with it, in fixed words.
        problem: &'static str,
    },
    /// No key that we hold opens the data key.
    #[error("no key that is held opens the file: {} can be opened; the file is encrypted to {}; keys held: {}", groups(*.opened, *.needed), listed(.recipients), listed(.held))]
    NoMatchingKey {
        /// The recipients named in the file.
        recipients: Vec<String>,
        /// The names of the keys held; never a key.
        held: Vec<String>,
        /// How many key groups could be opened.
        opened: usize,
        /// How many key groups are needed.
        needed: usize,
    },
    /// The file can be opened by kinds of keys alone that this library does not know how to use.
    #[error("only {} can open the file, and keys of PGP and of Huawei Cloud KMS are not supported; add an age key or another KMS with `sops updatekeys`", listed(.recipients))]
    UnsupportedKeys {
        /// The recipients named in the file.
        recipients: Vec<String>,
    },
    /// The file names a recipient whose key we hold, but the data key stored for it cannot be decrypted with that key.
    #[error("the data key stored for recipient {} cannot be decrypted with the key {}: that entry of the file is damaged", shown(.recipient), shown(.held))]
    DamagedDataKey {
        /// The recipient, as the file names it.
        recipient: String,
        /// The name of the key held.
        held: String,
    },
    /// A line of an identities file is not an age X25519 identity, or what begins as an SSH key is none.
    #[error("line {line} of the age key {} is not an identity: expected AGE-SECRET-KEY-1…, a comment that starts with #, or an empty line; or an SSH private key alone", shown(.name))]
    InvalidIdentity {
        /// The name under which the key was given.
        name: String,
        /// The line, counted from 1.
        line: usize,
    },
    /// A line of an identities file is a kind of age identity that this library does not open.
    #[error("line {line} of the age key {} is {what}, which is not supported; expected AGE-SECRET-KEY-1…", shown(.name))]
    UnsupportedIdentity {
        /// The name under which the key was given.
        name: String,
        /// The line, counted from 1.
        line: usize,
        /// What kind, in fixed words.
        what: &'static str,
    },
    /// An identities file holds no identity at all.
    #[error("the age key {} holds no identity: expected a line AGE-SECRET-KEY-1…", shown(.name))]
    NoIdentity {
        /// The name under which the key was given.
        name: String,
    },
    /// One value cannot be decrypted: tampered with, moved from another place, or not encrypted though it should be.
    #[error("cannot decrypt {path}: {problem}")]
    DecryptFailed {
        /// Where the value is, as in `database.users[2].password`; escaped, and cut if it is very long.
        path: String,
        /// What is wrong, in fixed words.
        problem: &'static str,
    },
    /// The values decrypt one by one, but together they are not what was sealed: something was removed, added, reordered,
    /// or changed where it is not encrypted.
    #[error(
        "the file's MAC does not match its values: a value was added, removed, reordered or changed without `sops`; restore the file, or check its values and save it again with `sops edit --ignore-mac`"
    )]
    MacMismatch,
    /// A value cannot be put where it was asked for.
    #[error("cannot change {path}: {problem}")]
    BadPath {
        /// The path as it was asked for; escaped, and cut if it is very long.
        path: String,
        /// What stands against it, in fixed words.
        problem: &'static str,
    },
    /// What was asked for cannot be written so that it is read back as it is.
    #[error("cannot write {}: {problem}", if .path.is_empty() { "the file" } else { .path })]
    Unwritable {
        /// Where the value is; empty for the file as a whole.
        path: String,
        /// What stands against it, in fixed words.
        problem: &'static str,
    },
    /// A recipient that is not one, or to which this library cannot encrypt.
    #[error("cannot encrypt to the recipient {}: {problem}", shown(.recipient))]
    BadRecipient {
        /// The recipient as it was given.
        recipient: String,
        /// What is wrong with it, in fixed words.
        problem: &'static str,
    },
    /// A file or a group without anyone who could open it, or a threshold that its groups cannot meet.
    #[error("cannot share the data key: {problem}")]
    BadKeyGroups {
        /// What is wrong, in fixed words.
        problem: &'static str,
    },
    /// A `.sops.yaml` that is not as it should be.
    #[error("the creation rules are not valid: {field} {problem}")]
    BadCreationRules {
        /// The field's path in the file.
        field: String,
        /// What is wrong with it, in fixed words.
        problem: &'static str,
    },
    /// No creation rule is for the file.
    #[error("no creation rule is for {}: none of the {rules} rules has a path_regex that matches it", shown(.path))]
    NoCreationRule {
        /// The file, relative to the folder of the rules.
        path: String,
        /// How many rules there are.
        rules: usize,
    },
    /// A service that holds a key did not open or close a data key. What it said is the source.
    #[error("the service of the key {} did not help: {source}", shown(.recipient))]
    KeyService {
        /// The key, as the file or the caller names it.
        recipient: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    NoRandomness,
    /// The file has no MAC, so nothing says that its values belong together.
    #[error(
        "the file has no MAC (`sops.mac`), so its integrity cannot be checked; save it again with `sops edit --ignore-mac`"
    )]
    MacMissing,
}

/// A name from the file or from the caller, made safe to show: escaped and cut.
pub(super) fn shown(name: &str) -> String {
    let mut text: String = name.chars().take(CHARACTERS_SHOWN).flat_map(char::escape_debug).collect();
    if name.chars().nth(CHARACTERS_SHOWN).is_some() {
        text.push('…');
    }
    text
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let mut text = names.iter().take(NAMES_SHOWN).map(|name| shown(name)).collect::<Vec<_>>().join(", ");
    if let Some(more) = names.len().checked_sub(NAMES_SHOWN).filter(|more| *more > 0) {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

fn groups(opened: usize, needed: usize) -> String {
    if needed == 1 { "none of its recipients".to_owned() } else { format!("{opened} of {needed} needed key groups") }
}
