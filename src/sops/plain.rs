//! Plain documents: read from a plain file or begun empty, changed value by value, and encrypted as a new file.

use jiff::Timestamp;

use super::block;
use super::cipher::{Cipher, DATA_KEY_BYTES, fill_random};
use super::creation::{Creation, Selection};
use super::document::Document;
use super::emit::Style;
use super::encrypt::{Reuse, encrypt};
use super::error::Error;
use super::format::Format;
use super::keys::{self, KeyWrapper};
use super::limits::Limits;
use super::metadata::KEY;
use super::path::Path;
use super::read;
use super::scalar::canonical_float;
use super::scalar::canonical_time;
use super::tree::{self, Entry, Item, Kind, Map, Node, Scalar};
use super::write::{self, Base};
use crate::value::SecretValue;

/// The key that holds the bytes of a binary file.
pub(super) const BINARY_KEY: &str = "data";

/// A value to be put into a document.
pub struct Value(pub(super) Node);

impl Value {
    /// Text, which need not be UTF-8 where it is encrypted.
    #[must_use]
    pub fn text(text: SecretValue) -> Self {
        Self(Node::Scalar(Scalar::of(Kind::Text, text)))
    }

    /// An integer.
    #[must_use]
    pub fn integer(value: i64) -> Self {
        Self(Node::Scalar(Scalar::new(Kind::Integer, value.to_string())))
    }

    /// A float; none for those that are no numbers.
    #[must_use]
    pub fn float(value: f64) -> Option<Self> {
        canonical_float(&format!("{value:e}")).map(|text| Self(Node::Scalar(Scalar::new(Kind::Float, text))))
    }

    /// A truth value.
    #[must_use]
    pub fn boolean(value: bool) -> Self {
        Self(Node::Scalar(Scalar::new(Kind::Boolean, value.to_string())))
    }

    /// A time as RFC 3339 writes it; none where the text is not one.
    #[must_use]
    pub fn time(text: &str) -> Option<Self> {
        canonical_time(text).map(|text| Self(Node::Scalar(Scalar::new(Kind::Time, text))))
    }

    /// Null, which is never encrypted.
    #[must_use]
    pub fn null() -> Self {
        Self(Node::Null)
    }

    /// Any value that is written in JSON, as `sops set` takes it.
    ///
    /// # Errors
    /// Text that is not JSON, or passes the default limits.
    pub fn json(text: &SecretValue) -> Result<Self, Error> {
        let problem = "it is not UTF-8 text";
        let text = std::str::from_utf8(text.expose()).map_err(|_| Error::Unparsable {
            format: Format::Json,
            line: 1,
            problem,
        })?;
        read::json_value(text, &Limits::default()).map(Self)
    }
}

/// Plain documents, with their comments.
pub struct Plain {
    pub(super) format: Format,
    pub(super) documents: Vec<Map>,
}

impl Plain {
    /// An empty document.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, documents: vec![Map::new()] }
    }

    /// Reads a plain file within the default [`Limits`].
    ///
    /// # Errors
    /// As for an encrypted file; [`Error::Unwritable`] for one that has metadata of SOPS already.
    pub fn parse(format: Format, bytes: &SecretValue) -> Result<Self, Error> {
        if format == Format::Binary {
            let limit = Limits::default().file_bytes;
            if bytes.expose().len() > limit {
                return Err(Error::TooLarge { limit, expanded: false });
            }
            let data = Node::Scalar(Scalar::of(Kind::Text, SecretValue::new(bytes.expose().to_vec())));
            return Ok(Self { format, documents: vec![vec![Entry::Pair(BINARY_KEY.to_owned(), data)]] });
        }
        let documents = read::documents(format, bytes.expose(), &Limits::default())?;
        let plain = Self { format, documents };
        let reserved = plain.documents.iter().flatten().find_map(|entry| match entry {
            Entry::Pair(key, _) if format.reserves(key) => Some(()),
            Entry::Pair(..) | Entry::Comment(_) => None,
        });
        match reserved {
            None => Ok(plain),
            Some(()) => Err(Error::Unwritable {
                path: KEY.to_owned(),
                problem: "the name is reserved for the metadata of SOPS: the file seems to be encrypted already",
            }),
        }
    }

    /// The file's format.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether there is a value, or null, at `path` in the first document.
    #[must_use]
    pub fn contains(&self, path: &Path) -> bool {
        self.documents.first().is_some_and(|document| path.find(document).is_some())
    }

    /// Puts a value into the first document: in place where there is one, else at the end of its map. Maps that are missing
    /// on the way are made. Says whether that changed anything.
    ///
    /// dotenv and INI know text alone: numbers, truth values and times become their texts there.
    ///
    /// # Errors
    /// [`Error::BadPath`] for a place that there cannot be.
    pub fn set(&mut self, path: &Path, value: Value) -> Result<bool, Error> {
        let Value(node) = value;
        let node = match self.format {
            Format::Yaml | Format::Json => node,
            Format::Dotenv | Format::Ini | Format::Binary => as_text(node),
        };
        self.check(path, &node)?;
        if self.documents.is_empty() {
            self.documents.push(Map::new());
        }
        match self.documents.first_mut() {
            Some(document) => path.set(document, node),
            None => Ok(false),
        }
    }

    /// Removes the value at `path` from the first document. Says whether there was one.
    pub fn unset(&mut self, path: &Path) -> bool {
        self.documents.first_mut().is_some_and(|document| path.unset(document))
    }

    /// The plain file.
    ///
    /// # Errors
    /// [`Error::Unwritable`] where the format cannot hold the values.
    pub fn to_file(&self) -> Result<SecretValue, Error> {
        if self.format == Format::Binary {
            let data = self.documents.first().and_then(|document| tree::get(document, BINARY_KEY));
            return match data {
                Some(Node::Scalar(data)) => Ok(SecretValue::new(data.text.expose().to_vec())),
                Some(Node::Null | Node::List(_) | Node::Map(_)) | None => Err(Error::Unwritable {
                    path: BINARY_KEY.to_owned(),
                    problem: "a binary file holds its bytes there",
                }),
            };
        }
        let mut text = write::plain(self.format, &self.documents, &Limits::default())?;
        Ok(SecretValue::from(std::mem::take(&mut *text)))
    }

    /// The plain file as an edit of `source`, from which it was read: what did not change stays as it is there.
    ///
    /// # Errors
    /// As [`Plain::to_file`].
    pub fn to_edited_file(&self, source: &SecretValue) -> Result<SecretValue, Error> {
        let Ok(source) = std::str::from_utf8(source.expose()) else { return self.to_file() };
        if self.format == Format::Binary {
            return self.to_file();
        }
        let mut text = write::plain_in_place(self.format, source, &self.documents, &Limits::default())?;
        Ok(SecretValue::from(std::mem::take(&mut *text)))
    }

    /// The values as they are now.
    #[must_use]
    pub fn document(&self) -> Document {
        Document::new(self.documents.first().map(super::tree::copy).unwrap_or_default())
    }

    /// Encrypts as a new file: with a new data key, for the recipients and by the rule of `creation`. `now` is what the file
    /// says about when it was written.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`Error::BadKeyGroups`], [`Error::BadRecipient`], [`Error::Unwritable`], or what the wrapper reports.
    pub async fn encrypt(
        &self,
        creation: &Creation,
        wrapper: &dyn KeyWrapper,
        now: Timestamp,
    ) -> Result<Vec<u8>, Error> {
        let Creation { keys, selection: _, mac_only_encrypted, indents } = creation;
        let needed = keys.needed(keys.groups.len())?;
        // The one key of a binary file is encrypted whatever the rules say.
        let is_binary = self.format == Format::Binary;
        let selection = if is_binary { Selection::default() } else { creation.selection() };
        let mac_only_encrypted = *mac_only_encrypted && !is_binary;
        let rule = selection.rule()?;
        let data_key = new_data_key()?;
        let cipher = Cipher::of(&data_key)?;
        let sealed = encrypt(&self.documents, &rule, mac_only_encrypted, &cipher, Reuse::Nothing)?;
        let now = time(now);
        let groups = keys.groups.iter().map(|group| group.iter().map(|recipient| (recipient.clone(), None)).collect());
        let wrapped = keys::wrap(groups.collect(), needed, &data_key, wrapper, &now).await?;
        let mut block = block::fresh((!is_binary).then_some(&selection), mac_only_encrypted);
        block::set_groups(&mut block, wrapped)?;
        block::set_mac(&mut block, &now, cipher.seal(&sealed.mac, &now)?);
        let base = Base::New(Style::of_new(self.format, *indents));
        write::encrypted(self.format, base, sealed.documents, &block, &Limits::default())
    }

    /// Refuses what the format has no place for.
    fn check(&self, path: &Path, node: &Node) -> Result<(), Error> {
        if path.keys().next().is_some_and(|key| self.format.reserves(key)) {
            return Err(path.bad("the name is reserved for the metadata of SOPS"));
        }
        let is_text = matches!(node, Node::Scalar(_));
        match self.format {
            Format::Yaml | Format::Json => Ok(()),
            Format::Binary if path.single_key() == Some(BINARY_KEY) && is_text => Ok(()),
            Format::Binary => Err(path.bad("a binary file has one value, at `data`")),
            Format::Dotenv if path.single_key().is_some() && is_text => Ok(()),
            Format::Dotenv => Err(path.bad("dotenv holds names and texts only: no maps, no lists, no null")),
            Format::Ini if path.length() == 2 && path.keys().count() == 2 && is_text => Ok(()),
            Format::Ini => Err(path.bad("INI holds texts under a section and a name only")),
        }
    }
}

/// A value as it stands in formats that know text alone.
fn as_text(node: Node) -> Node {
    match node {
        Node::Scalar(scalar) => Node::Scalar(Scalar { kind: Kind::Text, ..scalar }),
        Node::Null => Node::Null,
        Node::List(items) => Node::List(
            items
                .into_iter()
                .map(|item| match item {
                    Item::Value(node) => Item::Value(as_text(node)),
                    Item::Comment(comment) => Item::Comment(comment),
                })
                .collect(),
        ),
        Node::Map(map) => Node::Map(
            map.into_iter()
                .map(|entry| match entry {
                    Entry::Pair(key, node) => Entry::Pair(key, as_text(node)),
                    Entry::Comment(comment) => Entry::Comment(comment),
                })
                .collect(),
        ),
    }
}

/// 32 bytes that nobody knows.
pub(super) fn new_data_key() -> Result<SecretValue, Error> {
    let mut key = zeroize::Zeroizing::new(vec![0; DATA_KEY_BYTES]);
    fill_random(&mut key)?;
    Ok(SecretValue::new(std::mem::take(&mut *key)))
}

/// A time as the metadata holds it: RFC 3339 in UTC, to the second.
pub(super) fn time(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
