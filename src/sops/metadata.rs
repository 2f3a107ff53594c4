//! The `sops` block of a file: who can open it, which values are encrypted, and the MAC.

use super::creation::Selection;
use super::error::Error;
use super::fields::{Fields, Origin};
use super::flat;
use super::format::Format;
use super::keys::{AwsKmsKey, MasterKey, MasterKeyKind, Recipient};
use super::rules::Rule;
use super::scalar::canonical_time_to_the_second;
use super::tree::{self, Entry, Map, Node};

/// The key under which a file holds its metadata.
pub(super) const KEY: &str = "sops";

/// Master keys that one file may list; SOPS files have a handful, and each may cost a call.
const MOST_MASTER_KEYS: usize = 1_000;

/// What reading needs of the metadata. Fields that are not known are passed over, and stay in the block.
pub(super) struct Metadata {
    /// Groups of master keys. Every key of a group opens the same thing: the data key, or with several groups a share of it.
    pub(super) groups: Vec<Vec<Listed>>,
    /// How many groups are needed, where there are several.
    pub(super) threshold: usize,
    /// The encrypted MAC, and the additional data with which it was encrypted.
    pub(super) mac: Option<String>,
    pub(super) last_modified: String,
    pub(super) mac_only_encrypted: bool,
    pub(super) rule: Rule,
    /// The whole block, as it was.
    pub(super) block: Map,
}

/// A master key, and the entry of the metadata that it was read from.
pub(super) struct Listed {
    pub(super) key: MasterKey,
    pub(super) entry: Map,
}

impl Metadata {
    /// Takes the metadata out of the documents of a file. Each document of a YAML stream has a copy, the first one counts.
    ///
    /// # Errors
    /// [`Error::NotEncrypted`] where there is none, [`Error::BadMetadata`] where a field is missing or wrong.
    pub(super) fn take_from(documents: &mut [Map], format: Format) -> Result<Self, Error> {
        let block = match format {
            Format::Yaml | Format::Json | Format::Binary => take_block(documents),
            Format::Ini => match take_block(documents) {
                Some(Node::Map(map)) => Some(Node::Map(flat::unflatten(flat::unescaped(map))?)),
                other => other,
            },
            Format::Dotenv => {
                let mut found = Map::new();
                for document in documents {
                    found.extend(flat::take_prefixed(document));
                }
                if found.is_empty() { None } else { Some(Node::Map(flat::unflatten(found)?)) }
            }
        };
        match block {
            Some(Node::Map(map)) => Self::from_block(map),
            // An application may have a setting of that name; SOPS's own is always a map.
            Some(Node::Null | Node::Scalar(_) | Node::List(_)) | None => Err(Error::NotEncrypted),
        }
    }

    /// Reads a block of metadata.
    pub(super) fn from_block(block: Map) -> Result<Self, Error> {
        let fields = &Fields::of(Origin::Metadata, &block);
        let last_modified = fields.text("lastmodified")?.ok_or_else(|| fields.bad("lastmodified", "is missing"))?;
        let last_modified = canonical_time_to_the_second(&last_modified)
            .ok_or_else(|| fields.bad("lastmodified", "is not a time of the form 2006-01-02T15:04:05Z"))?;
        let rule = match Selection::read(fields)? {
            Some((_, rule)) => rule,
            None => Selection::default().rule()?,
        };
        let groups = groups(fields)?;
        let threshold = match fields.text("shamir_threshold")? {
            None => 0,
            Some(text) => text.parse().map_err(|_| fields.bad("shamir_threshold", "is not a count"))?,
        };
        if threshold > groups.len() && groups.len() > 1 {
            return Err(fields.bad("shamir_threshold", "is larger than the number of key groups"));
        }
        Ok(Self {
            threshold: match groups.len() {
                // SOPS copies the threshold of a creation rule here, and looks at it where there is something to share.
                1 => 1,
                // SOPS writes the number of groups where no threshold was asked for; 1 would be no sharing at all.
                count if threshold < 2 => count,
                _ => threshold,
            },
            groups,
            mac: fields.filled("mac")?,
            last_modified,
            mac_only_encrypted: fields.truth("mac_only_encrypted")?,
            rule,
            block,
        })
    }
}

/// Takes the key `sops` out of every document, and gives that of the first one.
fn take_block(documents: &mut [Map]) -> Option<Node> {
    let mut block = None;
    for (index, document) in documents.iter_mut().enumerate() {
        let position = document.iter().position(|entry| matches!(entry, Entry::Pair(key, _) if key == KEY));
        let Some(position) = position else { continue };
        if let Entry::Pair(_, node) = document.remove(position)
            && index == 0
        {
            block = Some(node);
        }
    }
    block
}

/// The key groups: keys beside the other fields are one group and win over `key_groups`, as in SOPS.
fn groups(fields: &Fields<'_>) -> Result<Vec<Vec<Listed>>, Error> {
    let mut left = MOST_MASTER_KEYS;
    let single = group(fields, &mut left)?;
    if !single.is_empty() {
        return Ok(vec![single]);
    }
    let groups = fields.maps("key_groups")?;
    if groups.is_empty() {
        return Err(fields.bad("age", "is missing, and so is every other list of master keys"));
    }
    // A share's number is one byte.
    if groups.len() > 255 {
        return Err(fields.bad("key_groups", "has more than 255 groups"));
    }
    groups.iter().map(|fields| group(fields, &mut left)).collect()
}

/// The master keys of one group, age first: those open without a call.
fn group(fields: &Fields<'_>, left: &mut usize) -> Result<Vec<Listed>, Error> {
    let mut keys = Vec::new();
    for kind in MasterKeyKind::ALL {
        for entry in fields.maps(kind.field())? {
            *left = left.checked_sub(1).ok_or_else(|| fields.bad(kind.field(), "lists more than 1,000 master keys"))?;
            let key = MasterKey { recipient: recipient(kind, &entry)?, encrypted: entry.part("enc")? };
            keys.push(Listed { key, entry: tree::copy(entry.map()) });
        }
    }
    Ok(keys)
}

fn recipient(kind: MasterKeyKind, entry: &Fields<'_>) -> Result<Recipient, Error> {
    let part = |name: &str| entry.part(name);
    Ok(match kind {
        MasterKeyKind::Age => Recipient::Age(part("recipient")?),
        MasterKeyKind::AwsKms => Recipient::AwsKms(AwsKmsKey {
            arn: part("arn")?,
            role: entry.filled("role")?,
            context: entry.named_texts("context")?,
            profile: entry.filled("aws_profile")?,
        }),
        MasterKeyKind::GcpKms => Recipient::GcpKms { resource_id: part("resource_id")? },
        MasterKeyKind::AzureKeyVault => {
            Recipient::AzureKeyVault { vault_url: part("vault_url")?, name: part("name")?, version: part("version")? }
        }
        MasterKeyKind::VaultTransit => Recipient::VaultTransit {
            address: part("vault_address")?,
            engine_path: part("engine_path")?,
            key_name: part("key_name")?,
        },
        MasterKeyKind::HuaweiKms => Recipient::HuaweiKms { key_id: part("key_id")? },
        MasterKeyKind::Pgp => Recipient::Pgp { fingerprint: part("fp")? },
    })
}
