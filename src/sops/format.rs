//! The formats of files, and how the name of a file tells them.

use std::fmt;

use super::flat;
use super::metadata::KEY;

/// The formats of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// YAML, also of several documents.
    Yaml,
    /// JSON: one object.
    Json,
    /// Lines `NAME=value`.
    Dotenv,
    /// Sections of keys. Keys above the first section belong to the section `DEFAULT`.
    Ini,
    /// Any bytes: the encrypted file is JSON that holds them under the key `data`.
    Binary,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 5] = [Self::Yaml, Self::Json, Self::Dotenv, Self::Ini, Self::Binary];

    /// The format of a file by its name, as `sops` takes it: binary where the end of the name says nothing.
    #[must_use]
    pub fn of_file(name: &str) -> Self {
        Self::from_file_name(name).unwrap_or(Self::Binary)
    }

    /// The format that the end of a file's name says: `.yaml`, `.yml`, `.json`, `.env`, `.ini`. None for other names, which
    /// anything may have; see [`Format::of_file`].
    #[must_use]
    pub fn from_file_name(name: &str) -> Option<Self> {
        match name.rsplit_once('.')?.1 {
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            "env" => Some(Self::Dotenv),
            "ini" => Some(Self::Ini),
            _ => None,
        }
    }

    /// Whether a top-level name is the metadata's.
    pub(super) fn reserves(self, name: &str) -> bool {
        match self {
            Self::Yaml | Self::Json | Self::Ini | Self::Binary => name == KEY,
            Self::Dotenv => name.starts_with(flat::PREFIX),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Yaml => "YAML",
            Self::Json => "JSON",
            Self::Dotenv => "dotenv",
            Self::Ini => "INI",
            Self::Binary => "binary",
        })
    }
}
