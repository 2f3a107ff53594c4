//! What turns a stored value into the bytes of a target's key: `transforms`, `expose` and `extract` of a declaration.
//!
//! Unions are objects with `minProperties` and `maxProperties` 1: a rule in CEL inside a list would be estimated for each
//! element of each declaration and break the definition's budget.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::null;

/// One step that changes a value: exactly one of its fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct Transform {
    /// One leaf of a JSON document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_extract: Option<Leaf>,
    /// One leaf of a YAML document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yaml_extract: Option<Leaf>,
    /// One leaf of a TOML document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toml_extract: Option<Leaf>,
    /// Base64 to bytes; padding may be left out, white space is skipped.
    #[serde(default, deserialize_with = "null::present", skip_serializing_if = "Option::is_none")]
    pub base64_decode: Option<Base64>,
    /// Bytes to Base64 on one line.
    #[serde(default, deserialize_with = "null::present", skip_serializing_if = "Option::is_none")]
    pub base64_encode: Option<Base64>,
    /// Pairs of hexadecimal digits to bytes; white space is skipped.
    #[serde(default, deserialize_with = "null::present", skip_serializing_if = "Option::is_none")]
    pub hex_decode: Option<Bare>,
    /// Bytes to lower-case hexadecimal digits.
    #[serde(default, deserialize_with = "null::present", skip_serializing_if = "Option::is_none")]
    pub hex_encode: Option<Bare>,
    /// Takes ASCII white space off both ends.
    #[serde(default, deserialize_with = "null::present", skip_serializing_if = "Option::is_none")]
    pub trim: Option<Bare>,
    /// Lines to one text, or a text to lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<Lines>,
    /// Replaces a text wherever it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace: Option<Replace>,
    /// Replaces every match of a regular expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex_replace: Option<RegexReplace>,
    /// The items of a JSON list as one text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join: Option<Join>,
    /// The parts of a text: one of them, or all as a JSON list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// `upper` or `lower`, for all letters of Unicode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<Case>,
    /// A range of the characters of a text.
    #[serde(default, deserialize_with = "null::present", skip_serializing_if = "Option::is_none")]
    pub slice: Option<Slice>,
    /// Unpacks gzip.
    #[serde(default, deserialize_with = "null::present", skip_serializing_if = "Option::is_none")]
    pub gunzip: Option<Bare>,
    /// Blocks of a PEM bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pem: Option<Pem>,
    /// Escapes every byte but letters, digits, `-`, `.`, `_` and `~` as `%XX`.
    #[serde(default, deserialize_with = "null::present", skip_serializing_if = "Option::is_none")]
    pub url_encode: Option<Bare>,
}

/// A step that needs no words: `{}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bare {}

/// Which leaf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Leaf {
    /// As `path` of a declaration, such as `.credentials["user.name"][0]`.
    #[schemars(length(min = 1, max = 1024))]
    pub path: String,
}

/// Which Base64.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Base64 {
    /// `standard` (with `+` and `/`, written with padding) or `url` (with `-` and `_`, written without).
    /// Default: `standard`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<Base64Variant>,
}

/// The alphabets of RFC 4648.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::schema::leave_description_to_the_field)]
#[serde(rename_all = "lowercase")]
pub enum Base64Variant {
    /// Section 4.
    #[default]
    Standard,
    /// Section 5.
    Url,
}

/// What becomes of lines: exactly one of `join` and `split`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct Lines {
    /// Makes one text of the lines, with this between them.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join: Option<String>,
    /// Begins a line wherever this stands, in its place.
    #[schemars(length(min = 1, max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
}

/// What is replaced by what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Replace {
    /// The text to look for.
    #[schemars(length(min = 1, max = 1024))]
    pub from: String,
    /// What stands there afterwards.
    #[schemars(length(max = 1024))]
    pub to: String,
}

/// What is replaced by what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RegexReplace {
    /// A regular expression in the syntax of RE2, with named groups as `(?<name>...)`.
    #[schemars(length(min = 1, max = 256))]
    pub pattern: String,
    /// What stands there afterwards; `$1` and `${name}` are groups of the pattern, `$$` is a dollar.
    #[schemars(length(max = 1024))]
    pub replacement: String,
}

/// What stands between the items.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Join {
    /// Between two items.
    #[schemars(length(max = 64))]
    pub separator: String,
}

/// What stands between the parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Split {
    /// Between two parts.
    #[schemars(length(min = 1, max = 64))]
    pub separator: String,
    /// The part to take, from 0; a negative number counts from the end. Default: all, as a JSON list of texts.
    #[schemars(range(min = -1048576, max = 1048576))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<i64>,
}

/// A change of letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::schema::leave_description_to_the_field)]
#[serde(rename_all = "lowercase")]
pub enum Case {
    /// All to upper case.
    Upper,
    /// All to lower case.
    Lower,
}

/// A range of characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Slice {
    /// The first character, from 0; a negative number counts from the end. Default: 0.
    #[schemars(range(min = -1048576, max = 1048576))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<i64>,
    /// The first character that is left out. Default: the length of the text.
    #[schemars(range(min = -1048576, max = 1048576))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<i64>,
}

/// Which blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pem {
    /// `cert` (the first certificate), `chain` (those after it), `fullchain` (all certificates) or `key` (the private
    /// key).
    pub part: PemPart,
}

/// Parts of a bundle, by the names that certbot gives to its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::schema::leave_description_to_the_field)]
#[serde(rename_all = "lowercase")]
pub enum PemPart {
    /// The first certificate.
    Cert,
    /// The certificates after the first.
    Chain,
    /// All certificates.
    FullChain,
    /// The private key.
    Key,
}

/// Another version of the same value under a key of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExposedVersion {
    /// The version to read, as in `version` of a declaration.
    #[schemars(length(min = 1, max = 256))]
    pub version: String,
    /// The key in a target Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
    /// `true` leaves the key out while the store has no such version; else targets wait for it. Default: `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// Which members of a document become keys, and under which names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Extract {
    /// `json`, `yaml` or `toml`. Default: JSON or YAML, whichever the value is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<DocumentFormat>,
    /// Names at the top level of the document to take; `*` stands for any text. Those without `*` must be there.
    /// Default: all.
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Names to leave out; `*` stands for any text.
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Keys for names of the document that should have another one; `prefix` is not put before them.
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "string", "minLength": 1, "maxLength": 253}))]
    #[serde(default, deserialize_with = "null::empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub rename: BTreeMap<String, String>,
    /// What is put before every other name.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::schema::leave_description_to_the_field)]
#[serde(rename_all = "lowercase")]
pub enum DocumentFormat {
    /// RFC 8259.
    Json,
    /// YAML 1.2, with the merge keys of 1.1.
    Yaml,
    /// TOML 1.1.
    Toml,
}
