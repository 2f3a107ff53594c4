//! `.sops.yaml`: which rule is for a file, and what it says about recipients and encryption, as `sops` resolves it.
//!
//! See `config/config.go` of the reference. The first rule counts whose `path_regex` matches the file's path, or that has
//! none. `key_groups` win over the lists beside them. Lists are text with commas or YAML lists. Aliases and merge keys
//! (`<<`) work as in YAML; `merge` in a key group takes over the keys of other groups. What `stores` say of indentation is for
//! new files of every rule.

use super::creation::{Creation, Selection};
use super::error::Error;
use super::expression::Expression;
use super::fields::{Fields, Origin};
use super::format::Format;
use super::indents::Indents;
use super::keys::{AwsKmsKey, KeyGroups, Recipient};
use super::limits::Limits;
use super::read;
use super::tree::{self, Item, Map, Node};

/// How deep `merge` may lead from one key group to another.
const MOST_MERGES: usize = 20;

/// Keys that one rule may name, after merging.
const MOST_KEYS: usize = 1_000;

/// The creation rules of a `.sops.yaml`.
pub struct CreationRules {
    rules: Option<Vec<Map>>,
    indents: Indents,
}

impl CreationRules {
    /// Reads the text of a `.sops.yaml`. Rules are looked at when they are needed, as in `sops`: one that is not valid and
    /// not reached does no harm.
    ///
    /// # Errors
    /// Text that is not YAML, [`Error::BadCreationRules`] where `creation_rules` is not a list of maps, or `stores` is not
    /// as it should be.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let document = read::documents(Format::Yaml, text, &Limits::default())?.into_iter().next().unwrap_or_default();
        let field = "creation_rules";
        let indents = Indents::of_config(&document)?;
        let fields = Fields::of(Origin::CreationRules, &document);
        let items = match fields.get(field) {
            None | Some(Node::Null) => return Ok(Self { rules: None, indents }),
            Some(Node::List(items)) => items,
            Some(Node::Scalar(_) | Node::Map(_)) => return Err(fields.bad(field, "is not a list")),
        };
        let rules = items.iter().filter_map(|item| match item {
            Item::Comment(_) => None,
            Item::Value(Node::Map(map)) => Some(Ok(tree::copy(map))),
            // A rule without anything is for every file, and has no keys.
            Item::Value(Node::Null) => Some(Ok(Map::new())),
            Item::Value(Node::Scalar(_) | Node::List(_)) => {
                Some(Err(fields.bad(field, "holds something that is not a map")))
            }
        });
        Ok(Self { rules: Some(rules.collect::<Result<_, _>>()?), indents })
    }

    /// What the rule for a file says; none where the text has no rules at all. `path` is the file's path relative to the
    /// folder that holds the `.sops.yaml`, with `/` between its parts (for a file outside of that folder: the whole path).
    ///
    /// The recipients are taken as they are written; encrypting to them tells whether they are valid.
    ///
    /// # Errors
    /// [`Error::NoCreationRule`], [`Error::BadCreationRules`] with the field.
    pub fn for_file(&self, path: &str) -> Result<Option<Creation>, Error> {
        let Some(rules) = &self.rules else { return Ok(None) };
        let document = Map::new();
        let document = Fields::of(Origin::CreationRules, &document);
        for (index, rule) in rules.iter().enumerate() {
            let fields = document.below("creation_rules", Some(index), rule);
            let matches = match fields.filled("path_regex")? {
                None => true,
                Some(regex) => Expression::new(&regex)
                    .ok_or_else(|| fields.bad("path_regex", "is not a regular expression, or too large a one"))?
                    .is_match(path),
            };
            if matches {
                return creation(&fields, self.indents).map(Some);
            }
        }
        Err(Error::NoCreationRule { path: path.to_owned(), rules: rules.len() })
    }
}

fn creation(fields: &Fields<'_>, indents: Indents) -> Result<Creation, Error> {
    let selection = Selection::read(fields)?.map(|(selection, _)| selection);
    let threshold = match fields.text("shamir_threshold")? {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| fields.bad("shamir_threshold", "is not a count"))?),
    };
    let groups = fields.maps("key_groups")?;
    let groups: Vec<Vec<Recipient>> = if groups.is_empty() {
        vec![listed(fields)?]
    } else {
        groups.iter().map(|group| key_group(group, 0)).collect::<Result<_, _>>()?
    };
    if groups.iter().map(Vec::len).sum::<usize>() > MOST_KEYS {
        return Err(fields.bad("age", "and the other keys of the rule are more than 1,000"));
    }
    Ok(Creation {
        keys: KeyGroups { groups: groups.into_iter().map(deduplicated).collect(), threshold },
        selection,
        mac_only_encrypted: fields.truth("mac_only_encrypted")?,
        indents,
    })
}

/// The keys of a rule that has no key groups.
fn listed(fields: &Fields<'_>) -> Result<Vec<Recipient>, Error> {
    let mut keys = Vec::new();
    let profile = fields.filled("aws_profile")?;
    keys.extend(fields.list("age")?.into_iter().map(|recipient| Recipient::Age(recipient.trim().to_owned())));
    keys.extend(fields.list("pgp")?.into_iter().map(pgp));
    for arn in fields.list("kms")? {
        keys.push(aws_kms(&arn, profile.clone()));
    }
    keys.extend(fields.list("gcp_kms")?.into_iter().map(gcp_kms));
    keys.extend(
        fields.list("hckms")?.into_iter().map(|key_id| Recipient::HuaweiKms { key_id: key_id.trim().to_owned() }),
    );
    for url in fields.list("azure_keyvault")? {
        let key = azure_key(&url);
        keys.push(key.ok_or_else(|| {
            fields.bad("azure_keyvault", "is not of the form https://NAME.vault.azure.net/keys/KEY/VERSION")
        })?);
    }
    for uri in fields.list("hc_vault_transit_uri")? {
        let key = vault_key(&uri);
        keys.push(key.ok_or_else(|| fields.bad("hc_vault_transit_uri", VAULT_FORM))?);
    }
    Ok(keys)
}

const VAULT_FORM: &str = "is not of the form https://HOST:8200/v1/MOUNT/keys/KEY";

/// The keys of one group, in the order of `sops`.
fn key_group(fields: &Fields<'_>, depth: usize) -> Result<Vec<Recipient>, Error> {
    if depth > MOST_MERGES {
        return Err(fields.bad("merge", "leads too deep"));
    }
    let mut keys = Vec::new();
    for group in fields.maps("merge")? {
        keys.extend(key_group(&group, depth + 1)?);
        if keys.len() > MOST_KEYS {
            return Err(fields.bad("merge", "leads to more than 1,000 keys"));
        }
    }
    for recipients in fields.texts("age")? {
        keys.extend(recipients.split(',').map(|recipient| Recipient::Age(recipient.trim().to_owned())));
    }
    keys.extend(fields.texts("pgp")?.into_iter().map(pgp));
    for key in fields.maps("kms")? {
        keys.push(Recipient::AwsKms(AwsKmsKey {
            arn: key.part("arn")?,
            role: key.filled("role")?,
            context: key.named_texts("context")?,
            profile: key.filled("aws_profile")?,
        }));
    }
    for key in fields.maps("gcp_kms")? {
        keys.push(gcp_kms(key.part("resource_id")?));
    }
    for key in fields.maps("hckms")? {
        keys.push(Recipient::HuaweiKms { key_id: key.part("key_id")? });
    }
    for key in fields.maps("azure_keyvault")? {
        keys.push(Recipient::AzureKeyVault {
            vault_url: key.part("vaultUrl")?,
            name: key.part("key")?,
            version: key.part("version")?,
        });
    }
    for uri in fields.texts("hc_vault")? {
        keys.push(vault_key(&uri).ok_or_else(|| fields.bad("hc_vault", VAULT_FORM))?);
    }
    Ok(keys)
}

fn deduplicated(keys: Vec<Recipient>) -> Vec<Recipient> {
    let mut unique: Vec<Recipient> = Vec::new();
    for key in keys {
        if !unique.contains(&key) {
            unique.push(key);
        }
    }
    unique
}

fn pgp(fingerprint: String) -> Recipient {
    Recipient::Pgp { fingerprint: fingerprint.replace(' ', "") }
}

fn gcp_kms(resource_id: String) -> Recipient {
    Recipient::GcpKms { resource_id: resource_id.replace(' ', "") }
}

/// `ARN` or `ARN+ROLE`.
fn aws_kms(text: &str, profile: Option<String>) -> Recipient {
    let text = text.replace(' ', "");
    let (arn, role) = match text.find("+arn:").filter(|place| *place > 0).and_then(|place| text.split_at_checked(place))
    {
        Some((arn, role)) => (arn.to_owned(), Some(role.trim_start_matches('+').to_owned())),
        None => (text, None),
    };
    Recipient::AwsKms(AwsKmsKey { arn, role, context: std::collections::BTreeMap::new(), profile })
}

/// `https://NAME.vault.azure.net/keys/KEY`, with `/VERSION` or without.
fn azure_key(url: &str) -> Option<Recipient> {
    let url = url.trim();
    let (vault_url, key) = url.split_once("/keys/")?;
    let host = vault_url.strip_prefix("https://")?;
    let (name, version) = key.split_once('/').unwrap_or((key, ""));
    let good = !host.is_empty() && !host.contains('/') && !name.is_empty() && !version.contains('/');
    good.then(|| Recipient::AzureKeyVault {
        vault_url: vault_url.to_owned(),
        name: name.to_owned(),
        version: version.to_owned(),
    })
}

/// `https://HOST:PORT/v1/MOUNT/keys/KEY`.
fn vault_key(uri: &str) -> Option<Recipient> {
    let uri = uri.trim();
    let (scheme, rest) = uri.split_once("://")?;
    let (host, path) = rest.split_once('/')?;
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let [version, mount @ .., keys, key_name] = parts.as_slice() else { return None };
    let is_version = version
        .strip_prefix('v')
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
    let good = is_version && !mount.is_empty() && !keys.is_empty() && !key_name.is_empty() && !host.is_empty();
    good.then(|| Recipient::VaultTransit {
        address: format!("{scheme}://{host}"),
        engine_path: mount.join("/"),
        key_name: (*key_name).to_owned(),
    })
}

impl Recipient {
    /// A recipient by the text that a creation rule has for it: `age1…`, `ssh-…`, an ARN of AWS KMS (with `+` and the ARN
    /// of a role, or without), a resource id of Google Cloud KMS, the URL of a key in Azure Key Vault or in Vault's transit
    /// engine. None for what is no such text; whether the key exists is not known.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.starts_with("age1") || text.starts_with("ssh-") {
            return Some(Self::Age(text.to_owned()));
        }
        if text.starts_with("arn:") {
            return Some(aws_kms(text, None));
        }
        if text.starts_with("projects/") && text.contains("/cryptoKeys/") {
            return Some(gcp_kms(text.to_owned()));
        }
        vault_key(text).or_else(|| azure_key(text))
    }

    /// Whether somebody who writes `name` means this: as it is displayed, as [`Recipient::parse`] takes it (an Azure key
    /// without a version is any version, an ARN without a role any role), or the fingerprint of a PGP key.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        let name = name.trim();
        let same = |other: Self| self.is_same_key(&other);
        self.to_string() == name
            || same(Self::Age(name.to_owned()))
            || same(pgp(name.to_owned()))
            || Self::parse(name).is_some_and(same)
    }
}
