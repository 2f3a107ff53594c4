//! The SOPS file format, as a library of its own: reads and writes YAML, JSON, dotenv, INI and binary files that the `sops`
//! command and this module accept from each other.
//!
//! Reading:
//! ```no_run
//! # async fn read(file: &[u8], identity: atmos_secrets::value::SecretValue) -> Result<(), atmos_secrets::sops::Error> {
//! use atmos_secrets::sops::{AgeKeys, Encrypted, Format};
//!
//! let encrypted = Encrypted::parse(Format::Yaml, file)?;
//! let names: Vec<&str> = encrypted.names().collect(); // no key is needed for names
//! let document = encrypted.decrypt(&AgeKeys::parse("my key", &identity)?).await?;
//! let password = document.get("password");
//! # Ok(()) }
//! ```
//!
//! Writing, first as a new file, then in place:
//! ```no_run
//! # async fn write(keys: atmos_secrets::sops::AgeKeys, password: atmos_secrets::value::SecretValue)
//! #     -> Result<(), atmos_secrets::sops::Error> {
//! use atmos_secrets::sops::{AgeRecipients, Creation, Editor, Format, KeyGroups, Path, Plain, Recipient, Value};
//! # let now = jiff::Timestamp::now();
//!
//! let mut plain = Plain::new(Format::Yaml);
//! plain.set(&Path::key("database").then("password"), Value::text(password))?;
//! let recipients = vec![Recipient::Age("age1lzd99uklcjnc0e7d860axevet2cz99ce9pq6tzuzd05l5nr28ams36nvun".to_owned())];
//! let creation = Creation { keys: KeyGroups::single(recipients), ..Creation::default() };
//! let file: Vec<u8> = plain.encrypt(&creation, &AgeRecipients, now).await?;
//!
//! let mut editor = Editor::open(Format::Yaml, &file, &keys).await?;
//! editor.set(&Path::key("database").then("port"), Value::integer(5432))?;
//! let file: Vec<u8> = editor.save(now)?; // the password's line is the same, byte for byte
//! # Ok(()) }
//! ```
//!
//! # How a file is read
//! ```text
//! bytes ─ read ─▶ tree ─ metadata ─▶ Encrypted ─ keys, shamir ─▶ data key ─ decrypt: cipher, rules, mac ─▶ Document
//! ```
//! # How a file is written
//! ```text
//! Plain, Editor ─ encrypt: cipher, rules, mac ─▶ tree ─ block: metadata ─▶ write ─ layout: edits of the old text ─▶ bytes
//!                                                                             └─ emit: a new text ────────┘
//! ```
//! The bytes that come out have been read back and compared with what was meant.
//!
//! # What is guaranteed
//! - A [`Document`] exists only if every value opened under its own path and the MAC over all of them is right; so does an
//!   [`Editor`].
//! - Reading is bounded in time and memory by [`Limits`], whatever the bytes are; nothing panics.
//! - No error text holds a value, a key or a parser's own message.
//! - Values and keys live in memory that is zeroed, but for what parsers hold while they read, and for the digits of numbers
//!   while they are printed.
//! - What an edit does not change keeps its ciphertext and its place in the text. What this module does not know, such as
//!   PGP keys and fields of later versions, stays in the metadata.
//! - No clock, no environment, no files: bytes come in and go out, and the time is an argument.
//!
//! # What the format does not protect
//! Keys, nulls, empty texts, empty maps and lists and comments are in the clear and outside the MAC, which is over the
//! plaintexts one after the other, without keys or bounds. Who can change a file can therefore add `name: ""`, or rename
//! a key whose value is empty or not encrypted, and no reader of SOPS files notices. An encrypted value cannot be moved to
//! another key, removed or added, and its text cannot be changed, but its `type:` can where the text is the same in both: it
//! is neither in the value's additional data nor in the MAC. The text `True` retagged `bool` opens as true, the text `5`
//! retagged `int` as a number.
//!
//! # Against the reference
//! The reference is `sops` 3.13 (`sops.go`, `aes/cipher.go`, `stores/`, `config/`), and the tests hold this module against
//! that binary.
//!
//! Stricter than it: a key that stands twice in a map is an error in every format, as is text after a JSON object or after an
//! `ENC[…]` value, and an initialisation vector is 32 or 12 bytes long. A master key that failed is not asked again for the
//! same group, and none is once 50 have failed. Expressions with `\B` or `\Q…\E` are refused. A value is not written where
//! `sops` would lose it or not read it back: integers beyond 64 bits, an encrypted comment between a marking comment and an
//! element of a list.
//!
//! Wider: keys of YAML maps that are bare numbers, which `sops` refuses to write, are read by their text, and so is a list in
//! which an encrypted comment stands between a comment that marks (`encrypted_comment_regex`) and the value, which `sops`
//! writes but cannot read. dotenv files whose lines all end as on Windows are read without the carriage returns. A comment
//! right of a value stays there through any number of edits, where `sops` moves it above.

mod block;
mod cipher;
mod compare;
mod creation;
mod creation_rules;
mod decrypt;
mod document;
mod edit;
mod emit;
mod encrypt;
mod encrypted;
mod error;
mod expression;
mod fields;
mod flat;
mod format;
mod indents;
mod keys;
mod layout;
mod limits;
mod mac;
mod metadata;
mod path;
mod plain;
mod read;
mod rules;
mod scalar;
mod shamir;
mod tree;
mod write;

#[cfg(test)]
mod tests;

pub use self::creation::{Creation, Selection};
pub use self::creation_rules::CreationRules;
pub use self::document::Document;
pub use self::edit::{Editor, update_keys};
pub use self::encrypted::Encrypted;
pub use self::error::Error;
pub use self::format::Format;
pub use self::indents::Indents;
pub use self::keys::{
    AgeKeys, AgeRecipients, AwsKmsKey, KeyChanges, KeyGroups, KeySource, KeyWrapper, MasterKey, MasterKeyKind,
    Recipient, Wrapped,
};
pub use self::limits::Limits;
pub use self::path::Path;
pub use self::plain::{Plain, Value};
