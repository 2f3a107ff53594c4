//! The `transforms` of a declaration: checked when the Stack is compiled, applied to what was read within bounds.
//!
//! No step runs longer than its input allows: there is no loop that a user writes, results end at 1 MiB while they are
//! made, and regular expressions are matched without backtracking on a budget. What goes wrong is told by the step's
//! number and kind and a place in its input, never by what stands there.

mod encoding;
mod gzip;
mod output;
mod pem;
mod regex;
mod text;

use std::sync::Arc;

use crate::api::Reason;
use crate::api::transform::{Base64Variant, Case, Leaf, Lines, PemPart, Slice, Split, Transform};
use crate::model::Problem;
use crate::model::document::{Format, MAX_BYTES};
use crate::model::path::{LeafError, Path};
use crate::value::SecretValue;

/// The most steps of one declaration; the schema says the same.
const MOST_STEPS: usize = 16;

/// Checked steps, in order.
#[derive(Clone, Debug, Default)]
pub struct Transforms(Arc<[Step]>);

/// One checked step.
#[derive(Debug)]
enum Step {
    Leaf(Format, Path),
    Base64Decode(Base64Variant),
    Base64Encode(Base64Variant),
    HexDecode,
    HexEncode,
    Trim,
    JoinLines(String),
    SplitLines(String),
    Replace { from: String, to: String },
    RegexReplace(Box<regex::Replacement>),
    Join(String),
    Split { separator: String, index: Option<i64> },
    Case(Case),
    Slice { start: i64, end: Option<i64> },
    Gunzip,
    Pem(PemPart),
    UrlEncode,
}

/// Why a step cannot be done.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    /// The value is not what the step works on.
    Unfit {
        /// A clause about the value.
        why: &'static str,
        /// Where, in bytes from the start of the step's input.
        offset: Option<usize>,
    },
    /// There is no such leaf.
    Leaf(LeafError),
    /// The input or the result is larger than a Secret may be.
    TooLarge,
}

impl Failure {
    fn unfit(why: &'static str) -> Self {
        Self::Unfit { why, offset: None }
    }

    fn at(offset: usize, why: &'static str) -> Self {
        Self::Unfit { why, offset: Some(offset) }
    }
}

impl Transforms {
    /// Checks the steps as they are written.
    ///
    /// # Errors
    /// What is wrong with which step, for people.
    pub fn parse(steps: &[Transform]) -> Result<Self, String> {
        if steps.len() > MOST_STEPS {
            return Err(format!("`transforms` has {} steps, at most {MOST_STEPS} are allowed", steps.len()));
        }
        let checked = steps.iter().enumerate().map(|(index, transform)| {
            step(transform).map_err(|message| format!("`transforms[{index}]` cannot be used: {message}"))
        });
        checked.collect::<Result<Vec<Step>, String>>().map(|steps| Self(steps.into()))
    }

    /// Whether there is any step.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The kinds of the steps, as they are written in a declaration.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(Step::kind)
    }

    /// The value after all steps.
    ///
    /// # Errors
    /// `PathNotFound` counts as a missing value, everything else as an error. The problem's message names the step and,
    /// where there is one, an offset in its input.
    pub fn apply(&self, value: &Arc<SecretValue>) -> Result<Arc<SecretValue>, Problem> {
        let mut value = Arc::clone(value);
        for (index, step) in self.0.iter().enumerate() {
            let result = match value.expose().len() > MAX_BYTES {
                true => Err(Failure::TooLarge),
                false => step.apply(&value),
            };
            value = Arc::new(result.map_err(|failure| problem(index, step.kind(), &failure))?);
        }
        Ok(value)
    }
}

fn problem(index: usize, kind: &str, failure: &Failure) -> Problem {
    let step = format!("`transforms[{index}]` ({kind})");
    match failure {
        Failure::Unfit { why, offset: None } => {
            Problem::new(Reason::TransformFailed, format!("{step} cannot be done: its input {why}"))
        }
        Failure::Unfit { why, offset: Some(offset) } => {
            Problem::new(Reason::TransformFailed, format!("{step} cannot be done: its input {why} at offset {offset}"))
        }
        Failure::Leaf(LeafError::NotStructured) => {
            Problem::new(Reason::NotStructured, format!("{step} cannot be done: its input is no such document"))
        }
        Failure::Leaf(LeafError::NotFound { at, siblings }) => {
            Problem::new(Reason::PathNotFound, format!("{step} finds nothing at {at}{}", beside(siblings)))
        }
        Failure::Leaf(LeafError::TooLarge) | Failure::TooLarge => {
            Problem::new(Reason::ValueTooLarge, format!("the input or the result of {step} is larger than 1 MiB"))
        }
    }
}

/// The keys beside one that is not there, as the end of a sentence.
pub(crate) fn beside(siblings: &[String]) -> String {
    match siblings.is_empty() {
        true => String::new(),
        false => format!("; beside it are {}", siblings.join(", ")),
    }
}

/// The one step that an object says.
fn step(transform: &Transform) -> Result<Step, String> {
    let Transform {
        json_extract,
        yaml_extract,
        toml_extract,
        base64_decode,
        base64_encode,
        hex_decode,
        hex_encode,
        trim,
        lines,
        replace,
        regex_replace,
        join,
        split,
        case,
        slice,
        gunzip,
        pem,
        url_encode,
    } = transform;
    let leaf =
        |format, leaf: &Option<Leaf>| leaf.as_ref().map(|leaf| path(&leaf.path).map(|path| Step::Leaf(format, path)));
    let said = [
        leaf(Format::Json, json_extract),
        leaf(Format::Yaml, yaml_extract),
        leaf(Format::Toml, toml_extract),
        base64_decode.as_ref().map(|step| Ok(Step::Base64Decode(step.variant.unwrap_or_default()))),
        base64_encode.as_ref().map(|step| Ok(Step::Base64Encode(step.variant.unwrap_or_default()))),
        hex_decode.as_ref().map(|_| Ok(Step::HexDecode)),
        hex_encode.as_ref().map(|_| Ok(Step::HexEncode)),
        trim.as_ref().map(|_| Ok(Step::Trim)),
        lines.as_ref().map(lines_step),
        replace.as_ref().map(|step| {
            let from = not_empty("from", &step.from)?;
            Ok(Step::Replace { from, to: step.to.clone() })
        }),
        regex_replace.as_ref().map(|step| {
            regex::Replacement::parse(&step.pattern, &step.replacement).map(|step| Step::RegexReplace(Box::new(step)))
        }),
        join.as_ref().map(|step| Ok(Step::Join(step.separator.clone()))),
        split.as_ref().map(|Split { separator, index }| {
            Ok(Step::Split { separator: not_empty("separator", separator)?, index: *index })
        }),
        case.map(|case| Ok(Step::Case(case))),
        slice.as_ref().map(slice_step),
        gunzip.as_ref().map(|_| Ok(Step::Gunzip)),
        pem.as_ref().map(|step| Ok(Step::Pem(step.part))),
        url_encode.as_ref().map(|_| Ok(Step::UrlEncode)),
    ];
    let mut said = said.into_iter().flatten();
    match (said.next(), said.next()) {
        (Some(step), None) => step,
        (Some(_) | None, _) => {
            Err("an entry of the list is exactly one step of a kind that this version knows".to_owned())
        }
    }
}

fn path(text: &str) -> Result<Path, String> {
    Path::parse(text).map_err(|error| format!("`path` cannot be read {error}"))
}

fn not_empty(field: &str, text: &str) -> Result<String, String> {
    match text.is_empty() {
        true => Err(format!("`{field}` is empty")),
        false => Ok(text.to_owned()),
    }
}

fn lines_step(lines: &Lines) -> Result<Step, String> {
    match (&lines.join, &lines.split) {
        (Some(separator), None) => Ok(Step::JoinLines(separator.clone())),
        (None, Some(separator)) => not_empty("split", separator).map(Step::SplitLines),
        (Some(_), Some(_)) | (None, None) => Err("`lines` needs `join` or `split`, and not both".to_owned()),
    }
}

fn slice_step(slice: &Slice) -> Result<Step, String> {
    let Slice { start, end } = *slice;
    let from = start.unwrap_or(0);
    match end {
        None if start.is_none() => Err("`slice` needs `start`, `end` or both".to_owned()),
        Some(end) if (from < 0) == (end < 0) && end <= from => Err("`end` of `slice` is not after `start`".to_owned()),
        None | Some(_) => Ok(Step::Slice { start: from, end }),
    }
}

impl Step {
    /// As it is written in a declaration.
    fn kind(&self) -> &'static str {
        match self {
            Self::Leaf(Format::Detected | Format::Json, _) => "jsonExtract",
            Self::Leaf(Format::Yaml, _) => "yamlExtract",
            Self::Leaf(Format::Toml, _) => "tomlExtract",
            Self::Base64Decode(_) => "base64Decode",
            Self::Base64Encode(_) => "base64Encode",
            Self::HexDecode => "hexDecode",
            Self::HexEncode => "hexEncode",
            Self::Trim => "trim",
            Self::JoinLines(_) | Self::SplitLines(_) => "lines",
            Self::Replace { .. } => "replace",
            Self::RegexReplace(_) => "regexReplace",
            Self::Join(_) => "join",
            Self::Split { .. } => "split",
            Self::Case(_) => "case",
            Self::Slice { .. } => "slice",
            Self::Gunzip => "gunzip",
            Self::Pem(_) => "pem",
            Self::UrlEncode => "urlEncode",
        }
    }

    fn apply(&self, value: &SecretValue) -> Result<SecretValue, Failure> {
        let bytes = value.expose();
        match self {
            Self::Leaf(format, path) => path.leaf_of(value, *format).map_err(Failure::Leaf),
            Self::Base64Decode(variant) => encoding::base64_decode(bytes, *variant),
            Self::Base64Encode(variant) => encoding::base64_encode(bytes, *variant),
            Self::HexDecode => encoding::hex_decode(bytes),
            Self::HexEncode => encoding::hex_encode(bytes),
            Self::Trim => Ok(SecretValue::new(bytes.trim_ascii().to_vec())),
            Self::JoinLines(separator) => text::join_lines(text::of(bytes)?, separator),
            Self::SplitLines(separator) => text::replace(text::of(bytes)?, separator, "\n"),
            Self::Replace { from, to } => text::replace(text::of(bytes)?, from, to),
            Self::RegexReplace(replacement) => replacement.apply(text::of(bytes)?),
            Self::Join(separator) => text::join(value, separator),
            Self::Split { separator, index } => text::split(text::of(bytes)?, separator, *index),
            Self::Case(case) => text::case(text::of(bytes)?, *case),
            Self::Slice { start, end } => text::slice(text::of(bytes)?, *start, *end),
            Self::Gunzip => gzip::unpack(bytes),
            Self::Pem(part) => pem::part(text::of(bytes)?, *part),
            Self::UrlEncode => encoding::url_encode(bytes),
        }
    }
}

#[cfg(test)]
mod tests;
