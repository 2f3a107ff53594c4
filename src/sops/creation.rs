//! What a new file is made with: for whom, and which of its values are encrypted.

use super::error::Error;
use super::indents::Indents;
use super::keys::KeyGroups;
use super::path::Path;
use super::rules::Rule;

/// How a new file is encrypted. A creation rule of `.sops.yaml` gives one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Creation {
    /// Who can open the file.
    pub keys: KeyGroups,
    /// Which values are encrypted. None: all but those below keys that end in `_unencrypted`.
    pub selection: Option<Selection>,
    /// Whether the MAC leaves out what is not encrypted, so that it can be changed by hand.
    pub mac_only_encrypted: bool,
    /// How deep its levels are indented.
    pub indents: Indents,
}

impl Creation {
    /// Whether the value at `path` of a new file is encrypted, as far as keys say it; `None` where comments do.
    ///
    /// # Errors
    /// An expression that is none, or too large.
    pub fn encrypts(&self, path: &Path) -> Result<Option<bool>, Error> {
        let rule = match &self.selection {
            Some(selection) => selection.rule()?,
            None => Rule::default_rule(),
        };
        Ok(rule.encrypts(path))
    }
}

/// Which values are encrypted. A rule that matches a key holds for everything below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All but those whose key ends so.
    UnencryptedSuffix(String),
    /// Those alone whose key ends so.
    EncryptedSuffix(String),
    /// All but those whose key matches the expression.
    UnencryptedRegex(String),
    /// Those alone whose key matches the expression.
    EncryptedRegex(String),
    /// All but those below a comment that matches the expression.
    UnencryptedCommentRegex(String),
    /// Those alone below a comment that matches the expression.
    EncryptedCommentRegex(String),
}

impl Selection {
    /// The field of the metadata, and of a creation rule, that says so.
    #[must_use]
    pub fn field(&self) -> (&'static str, &str) {
        match self {
            Self::UnencryptedSuffix(text) => ("unencrypted_suffix", text),
            Self::EncryptedSuffix(text) => ("encrypted_suffix", text),
            Self::UnencryptedRegex(text) => ("unencrypted_regex", text),
            Self::EncryptedRegex(text) => ("encrypted_regex", text),
            Self::UnencryptedCommentRegex(text) => ("unencrypted_comment_regex", text),
            Self::EncryptedCommentRegex(text) => ("encrypted_comment_regex", text),
        }
    }

    /// The selection that a field says.
    pub(super) fn of_field(field: &str, text: String) -> Option<Self> {
        match field {
            "unencrypted_suffix" => Some(Self::UnencryptedSuffix(text)),
            "encrypted_suffix" => Some(Self::EncryptedSuffix(text)),
            "unencrypted_regex" => Some(Self::UnencryptedRegex(text)),
            "encrypted_regex" => Some(Self::EncryptedRegex(text)),
            "unencrypted_comment_regex" => Some(Self::UnencryptedCommentRegex(text)),
            "encrypted_comment_regex" => Some(Self::EncryptedCommentRegex(text)),
            _ => None,
        }
    }

    /// The rule that holds.
    ///
    /// # Errors
    /// The expression is none, or too large.
    pub(super) fn rule(&self) -> Result<Rule, Error> {
        let (field, text) = self.field();
        // As in `sops`, where an empty field is as good as none: taken by its letter, an empty suffix would be every key's.
        let fields = if text.is_empty() { Vec::new() } else { vec![(field, text.to_owned())] };
        Rule::from_fields(fields)
    }
}
