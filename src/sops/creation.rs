//! What a new file is made with: for whom, and which of its values are encrypted.

use super::error::Error;
use super::expression::Expression;
use super::fields::Fields;
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
        Ok(self.selection().rule()?.encrypts(path))
    }

    /// The selection that holds. As in `sops`, an empty field is as good as none: taken by its letter, an empty suffix would
    /// be every key's.
    pub(super) fn selection(&self) -> Selection {
        let named = self.selection.as_ref().filter(|selection| !selection.field().1.is_empty());
        named.cloned().unwrap_or_default()
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

    /// Every kind, by what makes one of a field's text.
    const ALL: [fn(String) -> Self; 6] = [
        Self::UnencryptedSuffix,
        Self::EncryptedSuffix,
        Self::UnencryptedRegex,
        Self::EncryptedRegex,
        Self::UnencryptedCommentRegex,
        Self::EncryptedCommentRegex,
    ];

    /// The selection that metadata or a creation rule says, with its rule; none where every field is empty.
    ///
    /// # Errors
    /// Two of the fields are set, or an expression is none or too large.
    pub(super) fn read(fields: &Fields<'_>) -> Result<Option<(Self, Rule)>, Error> {
        let mut found = None;
        for kind in Self::ALL {
            let (name, _) = kind(String::new()).field();
            let Some(text) = fields.filled(name)? else { continue };
            if found.is_some() {
                return Err(fields.bad(name, "is set beside another rule, where SOPS allows one"));
            }
            let selection = kind(text);
            let rule = selection.rule_or(|| fields.bad(name, NO_EXPRESSION))?;
            found = Some((selection, rule));
        }
        Ok(found)
    }

    /// The selection that one field says.
    #[cfg(test)]
    pub(super) fn of_field(field: &str, text: String) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind(String::new()).field().0 == field).map(|kind| kind(text))
    }

    /// The rule that holds.
    ///
    /// # Errors
    /// The expression is none, or too large.
    pub(super) fn rule(&self) -> Result<Rule, Error> {
        let field = self.field().0.to_owned();
        self.rule_or(|| Error::BadMetadata { field, problem: NO_EXPRESSION })
    }

    fn rule_or(&self, error: impl FnOnce() -> Error) -> Result<Rule, Error> {
        let expression = |text: &str| Expression::new(text).ok_or_else(error);
        Ok(match self {
            Self::UnencryptedSuffix(suffix) => Rule::UnencryptedSuffix(suffix.clone()),
            Self::EncryptedSuffix(suffix) => Rule::EncryptedSuffix(suffix.clone()),
            Self::UnencryptedRegex(text) => Rule::UnencryptedRegex(expression(text)?),
            Self::EncryptedRegex(text) => Rule::EncryptedRegex(expression(text)?),
            Self::UnencryptedCommentRegex(text) => Rule::UnencryptedCommentRegex(expression(text)?),
            Self::EncryptedCommentRegex(text) => Rule::EncryptedCommentRegex(expression(text)?),
        })
    }
}

/// What SOPS takes where nothing is said: keys that end in `_unencrypted` stay readable.
impl Default for Selection {
    fn default() -> Self {
        Self::UnencryptedSuffix("_unencrypted".to_owned())
    }
}

const NO_EXPRESSION: &str = "is not a regular expression, or too large a one";
