//! Which values of a file are encrypted: the one rule that its metadata names.

use super::expression::Expression;
use super::path::Path;

/// The rule of one file. SOPS allows one at most.
#[derive(Clone, Debug)]
pub(super) enum Rule {
    UnencryptedSuffix(String),
    EncryptedSuffix(String),
    UnencryptedRegex(Expression),
    EncryptedRegex(Expression),
    UnencryptedCommentRegex(Expression),
    EncryptedCommentRegex(Expression),
}

impl Rule {
    /// Whether comments say what is encrypted.
    pub(super) fn is_for_comments(&self) -> bool {
        match self {
            Rule::UnencryptedCommentRegex(_) | Rule::EncryptedCommentRegex(_) => true,
            Rule::UnencryptedSuffix(_)
            | Rule::EncryptedSuffix(_)
            | Rule::UnencryptedRegex(_)
            | Rule::EncryptedRegex(_) => false,
        }
    }

    /// Whether the value at `path` is encrypted, as far as keys say it; `None` where comments do.
    pub(super) fn encrypts(&self, path: &Path) -> Option<bool> {
        if self.is_for_comments() {
            return None;
        }
        let siblings = Siblings::default();
        Some(path.keys().fold(self.at_root(), |position, key| position.below(key, &siblings)).is_encrypted())
    }

    /// Where the walk stands at the root of a document.
    pub(super) fn at_root(&self) -> Position<'_> {
        Position { rule: self, marked: false }
    }
}

/// Whether the rule's mark (a suffix, a matching key, a matching comment) was met on the way to a place in the tree.
#[derive(Clone, Copy)]
pub(super) struct Position<'a> {
    rule: &'a Rule,
    marked: bool,
}

impl<'a> Position<'a> {
    /// The position of the value of `key`. `siblings` is the state of the comments above it.
    pub(super) fn below(self, key: &str, siblings: &Siblings) -> Position<'a> {
        let matches = match self.rule {
            Rule::UnencryptedSuffix(suffix) | Rule::EncryptedSuffix(suffix) => key.ends_with(suffix.as_str()),
            Rule::UnencryptedRegex(regex) | Rule::EncryptedRegex(regex) => regex.is_match(key),
            Rule::UnencryptedCommentRegex(_) | Rule::EncryptedCommentRegex(_) => siblings.marked,
        };
        Position { rule: self.rule, marked: self.marked || matches }
    }

    /// The position of an element of the list here.
    pub(super) fn element(self, siblings: &Siblings) -> Position<'a> {
        Position { rule: self.rule, marked: self.marked || siblings.marked }
    }

    /// Whether the value here is encrypted.
    pub(super) fn is_encrypted(self) -> bool {
        match self.rule {
            Rule::UnencryptedSuffix(_) | Rule::UnencryptedRegex(_) | Rule::UnencryptedCommentRegex(_) => !self.marked,
            Rule::EncryptedSuffix(_) | Rule::EncryptedRegex(_) | Rule::EncryptedCommentRegex(_) => self.marked,
        }
    }

    /// Whether the sealed text of a comment would be taken for a mark that its words are not. Where comments mark what is
    /// encrypted, a comment is only sealed below a mark, and another one makes no difference.
    pub(super) fn mistakes(self, sealed: &str) -> bool {
        match self.rule {
            Rule::UnencryptedCommentRegex(regex) => regex.is_match(sealed),
            Rule::EncryptedCommentRegex(_)
            | Rule::UnencryptedSuffix(_)
            | Rule::EncryptedSuffix(_)
            | Rule::UnencryptedRegex(_)
            | Rule::EncryptedRegex(_) => false,
        }
    }

    /// Takes note of a comment in the map or list here, and says whether the comment itself is encrypted.
    ///
    /// A comment holds for itself where it says "not encrypted", but not where it says "encrypted": it has to stay
    /// readable to be found again.
    pub(super) fn comment(self, text: &str, siblings: &mut Siblings) -> bool {
        match self.rule {
            Rule::UnencryptedCommentRegex(regex) => {
                siblings.marked |= regex.is_match(text);
                self.element(siblings).is_encrypted()
            }
            Rule::EncryptedCommentRegex(regex) => {
                let encrypted = self.element(siblings).is_encrypted();
                siblings.marked |= regex.is_match(text);
                encrypted
            }
            Rule::UnencryptedSuffix(_)
            | Rule::EncryptedSuffix(_)
            | Rule::UnencryptedRegex(_)
            | Rule::EncryptedRegex(_) => self.is_encrypted(),
        }
    }
}

/// Whether a matching comment stands above, with no value between, in the map or list that is walked.
#[derive(Default)]
pub(super) struct Siblings {
    marked: bool,
}

impl Siblings {
    /// Whether a comment above marks the next value, which nothing further up marks.
    pub(super) fn alone_mark_next(&self, position: Position<'_>) -> bool {
        self.marked && !position.marked
    }
}
