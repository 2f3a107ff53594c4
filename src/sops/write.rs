//! Puts encrypted documents and metadata together as a file, in place where a file was, and reads it back before it is
//! handed out.

use super::compare::{same_map, same_values};
use super::emit::{self, Style, Text};
use super::error::Error;
use super::flat;
use super::format::Format;
use super::layout;
use super::limits::Limits;
use super::metadata::KEY;
use super::read;
use super::tree::{self, Entry, Map, Node};

/// What a file is made from.
pub(super) enum Base<'a> {
    /// Nothing: it is new, in this style.
    New(Style),
    /// The file as it was. What did not change stays as it is there, byte for byte, if the format and the change allow.
    Old(&'a str),
}

/// A file of `documents` with the metadata `block`.
///
/// # Errors
/// [`Error::Unwritable`] where the format cannot hold the documents, [`Error::TooLarge`] and its like where the file passes
/// a limit.
pub(super) fn encrypted(
    format: Format,
    base: Base<'_>,
    documents: Vec<Map>,
    block: &Map,
    limits: &Limits,
) -> Result<Vec<u8>, Error> {
    let source = match base {
        Base::Old(source) => source,
        Base::New(style) => {
            let documents = with_block(format, documents, block, &[])?;
            return whole(format, &documents, &style, comments_matter(block), limits).map(bytes);
        }
    };
    let old = read::documents(format, source.as_bytes(), limits)?;
    let documents = with_block(format, documents, block, &old)?;
    let style = style_of(format, source);
    let text = match in_place(format, source, &old, &documents, &style, limits) {
        Some(text) => text,
        None => whole(format, &documents, &style, comments_matter(block), limits)?,
    };
    Ok(bytes(text))
}

/// Whether the file's rule is one for comments, so that a comment in another place would be another rule.
fn comments_matter(block: &Map) -> bool {
    ["encrypted_comment_regex", "unencrypted_comment_regex"].iter().any(|field| tree::get(block, field).is_some())
}

/// A file of `documents` without metadata.
///
/// # Errors
/// As [`encrypted`].
pub(super) fn plain(format: Format, documents: &[Map], limits: &Limits) -> Result<Text, Error> {
    whole(format, documents, &Style::default(), false, limits)
}

/// A file of `documents` without metadata; what did not change stays as it is in `source`, if the change allows.
///
/// # Errors
/// As [`encrypted`].
pub(super) fn plain_in_place(format: Format, source: &str, documents: &[Map], limits: &Limits) -> Result<Text, Error> {
    let old = read::documents(format, source.as_bytes(), limits)?;
    let style = style_of(format, source);
    match in_place(format, source, &old, documents, &style, limits) {
        Some(text) => Ok(text),
        None => whole(format, documents, &style, false, limits),
    }
}

/// The text of `source` with the changes from `old` to `documents`, read back; none where they cannot be made in place.
fn in_place(
    format: Format,
    source: &str,
    old: &[Map],
    documents: &[Map],
    style: &Style,
    limits: &Limits,
) -> Option<Text> {
    let text = layout::splice(format, source, old, documents, style)?;
    let read = read::documents(format, text.as_bytes(), limits).ok()?;
    let is_meant =
        read.len() == documents.len() && read.iter().zip(documents).all(|(read, meant)| same_map(read, meant));
    is_meant.then_some(text)
}

fn bytes(mut text: Text) -> Vec<u8> {
    std::mem::take(&mut *text).into_bytes()
}

/// The whole file, written anew.
fn whole(
    format: Format,
    documents: &[Map],
    style: &Style,
    comments_matter: bool,
    limits: &Limits,
) -> Result<Text, Error> {
    let unwritable = |problem| Error::Unwritable { path: String::new(), problem };
    let text = emit::file(format, documents, style).ok_or_else(|| {
        unwritable(match format {
            Format::Dotenv => "dotenv holds names and texts only: no maps, no lists, no null",
            Format::Ini => "INI holds sections of names and texts only: no other maps, no lists, no null",
            Format::Json | Format::Binary => {
                "JSON holds no infinite numbers and no text that is not UTF-8 outside of encryption"
            }
            Format::Yaml => "it is not a document",
        })
    })?;
    let read = read::documents(format, text.as_bytes(), limits)?;
    let is_same = |(read, meant)| if comments_matter { same_map(read, meant) } else { same_values(read, meant) };
    if read.len() != documents.len() || !read.iter().zip(documents).all(is_same) {
        return Err(unwritable(
            "a name, or a value that is not encrypted, has characters that the format cannot hold: it would be read back as something else",
        ));
    }
    Ok(text)
}

/// The documents with the metadata where the format has it, and where the old ones had it.
fn with_block(format: Format, mut documents: Vec<Map>, block: &Map, old: &[Map]) -> Result<Vec<Map>, Error> {
    let taken = documents.iter().flatten().any(|entry| matches!(entry, Entry::Pair(key, _) if format.reserves(key)));
    if taken {
        return Err(Error::Unwritable {
            path: KEY.to_owned(),
            problem: "the name is reserved for the metadata of SOPS; a file that is encrypted already is edited, not encrypted again",
        });
    }
    if documents.is_empty() {
        documents.push(Map::new());
    }
    for (index, document) in documents.iter_mut().enumerate() {
        let node = match format {
            Format::Yaml | Format::Json | Format::Binary => Node::Map(tree::copy(block)),
            Format::Ini => Node::Map(flat::escaped(flat::flatten(block, ""))),
            Format::Dotenv => {
                document.extend(flat::flatten(block, flat::PREFIX));
                continue;
            }
        };
        let behind = old.get(index).map_or(0, |old| entries_behind_block(old, document));
        document.insert(document.len() - behind, Entry::Pair(KEY.to_owned(), node));
    }
    Ok(documents)
}

/// How many entries stand behind the metadata in an old document and still stand at the end of the new one.
fn entries_behind_block(old: &Map, new: &Map) -> usize {
    let Some(place) = old.iter().position(|entry| matches!(entry, Entry::Pair(key, _) if key == KEY)) else { return 0 };
    let behind = old.get(place + 1..).unwrap_or_default();
    let same_place = |(old, new): (&Entry, &Entry)| match (old, new) {
        (Entry::Comment(_), Entry::Comment(_)) => true,
        (Entry::Pair(old, _), Entry::Pair(new, _)) => old == new,
        (Entry::Comment(_), Entry::Pair(..)) | (Entry::Pair(..), Entry::Comment(_)) => false,
    };
    let still_there = new.len() >= behind.len() && behind.iter().rev().zip(new.iter().rev()).all(same_place);
    if still_there { behind.len() } else { 0 }
}

/// How a file is laid out that is there already.
fn style_of(format: Format, source: &str) -> Style {
    let indented = |after: &str| {
        let line = source.split_inclusive('\n').skip_while(|line| !line.trim_end().ends_with(after)).nth(1)?;
        let blanks = line.len() - line.trim_start_matches([' ', '\t']).len();
        // The end of an empty object says nothing.
        line.get(..blanks).filter(|blanks| blanks.len() <= 16 && !line.trim_start().starts_with('}'))
    };
    let style = Style { windows: read::has_windows_line_ends(source), ..Style::default() };
    match format {
        Format::Yaml => {
            let lines = source.split_inclusive('\n').skip_while(|line| line.trim_end() != "sops:");
            let blanks =
                lines.skip(1).map(|line| line.len() - line.trim_start_matches(' ').len()).find(|blanks| *blanks > 0);
            Style { yaml_indent: blanks.filter(|blanks| *blanks >= 2).unwrap_or(4), ..style }
        }
        Format::Json | Format::Binary => {
            Style { json_indent: indented("{").map_or_else(|| "\t".to_owned(), str::to_owned), ..style }
        }
        Format::Dotenv | Format::Ini => style,
    }
}
