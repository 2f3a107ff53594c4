//! From the spec of a Store to its files and their keys.

use std::sync::Arc;

use super::{ClusterSource, Keyring, NewFiles, Sops, Source, SourceKind, Writer, age_keys};
use crate::api::store::{self, SecretKey, SopsSource};
use crate::backend::credentials::{Credentials, References, Surroundings};
use crate::backend::{Error, ErrorKind};
use crate::cluster::Objects;
use crate::sops::AgeKeys;

/// How a person changes SOPS files.
pub struct FileAccess {
    /// Files of a folder, in place of the objects that the Store names.
    pub files: Option<Box<dyn Source>>,
    /// How a file that is not there yet is encrypted.
    pub new_files: NewFiles,
    /// Whether an object is written though a GitOps tool manages it, which will undo the change.
    pub overwrites_managed: bool,
}

/// Connects a store, and tells the public halves of the age identities that it holds. The Secrets that it names are read;
/// its files are not, and no service is asked.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`], and what keeps the credentials from being read.
pub async fn connect(
    spec: &store::Sops,
    objects: Objects,
    around: &Arc<Surroundings>,
    access: Option<FileAccess>,
) -> Result<(Sops, Vec<String>), Error> {
    let (kind, names) = sources(&spec.source)?;
    let keys = Arc::new(keyring(spec, around).await?);
    let recipients: Vec<String> = keys.recipients().map(str::to_owned).collect();
    let cluster = || Box::new(ClusterSource::new(objects, around.namespace.clone(), kind, names));
    let allowed = spec.allowed_recipients.iter().cloned();
    let Some(FileAccess { files, new_files, overwrites_managed }) = access else {
        return Ok((Sops::new(cluster(), Box::new(keys), allowed), recipients));
    };
    let new_files = match (new_files, &around.credentials) {
        // Whoever has the store's keys knows for whom its files are.
        (NewFiles::For(known), Credentials::OfStore(_)) if known.is_empty() => NewFiles::For(recipients.clone()),
        (known, Credentials::OfStore(_) | Credentials::OfUser(_)) => known,
    };
    let writer = Writer { wrapper: Box::new(Arc::clone(&keys)), new_files, overwrites_managed };
    let source = files.unwrap_or_else(|| cluster());
    Ok((Sops::new(source, Box::new(keys), allowed).with_writer(writer), recipients))
}

/// The objects that hold the files.
fn sources(source: &SopsSource) -> Result<(SourceKind, Vec<String>), Error> {
    let SopsSource { config_maps, secrets } = source;
    match (config_maps.is_empty(), secrets.is_empty()) {
        (false, true) => Ok((SourceKind::ConfigMap, config_maps.clone())),
        (true, false) => Ok((SourceKind::Secret, secrets.clone())),
        (true, true) | (false, false) => {
            Err(invalid("sops.source must name objects of exactly one kind: configMaps or secrets"))
        }
    }
}

/// Everything that may open the files: what the store names, or what a person has.
async fn keyring(spec: &store::Sops, around: &Arc<Surroundings>) -> Result<Keyring, Error> {
    let store::Sops {
        source: _,
        // The template of file names is the business of the model.
        file: _,
        age,
        aws_kms,
        gcp_kms,
        azure_key_vault,
        vault_transit,
        allowed_recipients: _,
    } = spec;
    // A person who has none of these credentials may well have an age key that opens the file.
    let (named, has_google, has_vault) = match &around.credentials {
        Credentials::OfUser(user) => {
            let given = age_keys(user.age.iter().map(|(name, text)| (name.as_str(), text)))?;
            (given, user.gcp.is_some(), user.vault.is_some())
        }
        Credentials::OfStore(_) => {
            let services = [aws_kms.is_some(), gcp_kms.is_some(), azure_key_vault.is_some(), vault_transit.is_some()];
            if age.is_none() && services == [false; 4] {
                return Err(invalid(
                    "the store names no keys: set sops.age, awsKms, gcpKms, azureKeyVault or vaultTransit",
                ));
            }
            let named = age.as_ref().map(|age| age.keys.as_slice()).unwrap_or_default();
            (age_keys_of(named, &around.references).await?, true, true)
        }
    };
    let mut keys = Keyring::new(named);
    if let Some(spec) = aws_kms {
        keys = keys.with_aws_kms(spec, around);
    }
    if let Some(spec) = gcp_kms.as_ref().filter(|_| has_google) {
        keys = keys.with_gcp_kms(spec, around).await?;
    }
    if let Some(spec) = azure_key_vault {
        keys = keys.with_azure_keys(spec, around);
    }
    if let Some(spec) = vault_transit.as_ref().filter(|_| has_vault) {
        keys = keys.with_vault_transit(spec, around).await?;
    }
    Ok(keys)
}

async fn age_keys_of(named: &[SecretKey], references: &References) -> Result<AgeKeys, Error> {
    let mut keys = AgeKeys::default();
    for reference in named {
        let name = format!("{}/{}", reference.secret, reference.key);
        let text = references.secret_key(reference).await?;
        keys.extend(age_keys([(name.as_str(), &text)])?);
    }
    Ok(keys)
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}
