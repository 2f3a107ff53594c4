//! `keygen`: a new age key: its private half where it is kept, its public half into the rules of the files.

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::context::{Cluster, ClusterArgs};
use super::exit::{Exit, Failure};
use super::identities;
use super::local::replace::{self, PRIVATE, PUBLIC};
use super::local::{not_replaced, rules};
use super::printer::Printer;
use super::process;
use super::sops_stores::{self, SopsStore};
use crate::api::Reason;
use crate::api::store::{SecretKey, Sops, SopsAge};
use crate::backend;
use crate::cluster::{self, KeyChange, Metadata, OPAQUE, Objects, SecretDraft};
use crate::model::store_file_regex;
use crate::sops::{AgeKeys, CreationRules};
use crate::value::SecretValue;

/// Make an age key for a sops store: the private half is kept, the public half is printed and goes into .sops.yaml
///
/// The private half goes into the Secret that the Store names (`sops.age.keys`), or into a file. It is appended: keys that
/// are there stay. Nothing is made where there is a key already, unless --force is given. The public half, an age
/// recipient, may be committed; the private half may not.
#[derive(Args, Debug)]
pub struct KeygenArgs {
    /// The Store, or ClusterStore/NAME; may be left out if the namespace has only one of kind sops
    store: Option<String>,
    /// Keep the private half in this file instead of the cluster
    #[arg(long, value_name = "FILE", conflicts_with = "local")]
    file: Option<PathBuf>,
    /// Keep the private half where your own keys are: SOPS_AGE_KEY_FILE, else sops/age/keys.txt in your configuration
    /// folder
    #[arg(long)]
    local: bool,
    /// The rules that the public half goes into [default: the nearest .sops.yaml from the current folder upwards, else a
    /// new one here]
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Write no rules
    #[arg(long, conflicts_with = "rules")]
    no_rules: bool,
    /// Make another key where there is one already
    #[arg(short, long)]
    force: bool,
    /// The operator's namespace, where the keys of a ClusterStore lie
    #[arg(
        long,
        env = "ATMOS_OPERATOR_NAMESPACE",
        value_name = "NAME",
        default_value = "atmos-secrets",
        help_heading = "Stores"
    )]
    operator_namespace: String,
}

/// Where a private half is kept.
enum Sink {
    File(PathBuf),
    Secret { objects: Objects, namespace: String, place: SecretKey },
}

/// Runs the verb.
///
/// # Errors
/// Usage; access to the cluster; a file that cannot be written.
pub async fn run(cluster: &ClusterArgs, args: &KeygenArgs, printer: &mut Printer) -> Result<Exit, Failure> {
    let file = own_file(args)?;
    let mut store = None;
    let sink = match file {
        Some(file) => {
            if args.store.is_some() {
                let cluster = Cluster::connect(cluster).await?;
                store = Some(sops_stores::choose(&cluster, args.store.as_deref(), &args.operator_namespace).await?);
            }
            Sink::File(file)
        }
        None => {
            let cluster = Cluster::connect(cluster).await?;
            let found = sops_stores::choose(&cluster, args.store.as_deref(), &args.operator_namespace).await?;
            let place = named_secret(&found)?;
            let objects = Objects::new(cluster.client);
            let namespace = found.namespace.clone();
            store = Some(found);
            Sink::Secret { objects, namespace, place }
        }
    };
    let (private, recipient) = AgeKeys::generate();
    if !sink.keep(&private, &recipient, args.force, printer).await? {
        return Ok(Exit::Ok);
    }
    printer.line(&recipient);
    let spec = store.as_ref().map(|store| &store.sops);
    if spec.is_some_and(|sops| !sops.allowed_recipients.is_empty() && !sops.allowed_recipients.contains(&recipient)) {
        printer.warning("the Store has allowedRecipients: add the new one, or files for it are refused");
    }
    if !args.no_rules {
        into_rules(args, spec, &recipient, printer)?;
    }
    printer.info("the public half (age1…) may be committed; the private half must not leave where it is");
    Ok(Exit::Ok)
}

/// The file that the private half goes into, if it is to be one.
fn own_file(args: &KeygenArgs) -> Result<Option<PathBuf>, Failure> {
    if let Some(file) = &args.file {
        return Ok(Some(file.clone()));
    }
    if !args.local {
        return Ok(None);
    }
    let found = process::variable("SOPS_AGE_KEY_FILE").map(PathBuf::from).or_else(identities::default_file_of_user);
    found.map(Some).ok_or_else(|| {
        Failure::usage("there is no configuration folder to keep the key in").hint("name a file with --file")
    })
}

/// The first Secret that a Store names for age keys.
fn named_secret(store: &SopsStore) -> Result<SecretKey, Failure> {
    let Sops { age, aws_kms, gcp_kms, azure_key_vault, vault_transit, source: _, file: _, allowed_recipients: _ } =
        &store.sops;
    if let Some(place) = age.iter().flat_map(|SopsAge { keys }| keys).next() {
        return Ok(place.clone());
    }
    let by: Vec<&str> = [
        (aws_kms.is_some(), "awsKms"),
        (gcp_kms.is_some(), "gcpKms"),
        (azure_key_vault.is_some(), "azureKeyVault"),
        (vault_transit.is_some(), "vaultTransit"),
    ]
    .into_iter()
    .filter_map(|(is_set, kind)| is_set.then_some(kind))
    .collect();
    let why = match by.is_empty() {
        true => "names no Secret for age keys".to_owned(),
        false => format!("opens its files with {}, whose keys are made there", by.join(" and ")),
    };
    Err(Failure::access(format!("{}: {} {why}", Reason::Unsupported, store.title))
        .hint("name a Secret under `sops.age.keys`; it need not exist yet"))
}

impl Sink {
    /// Keeps the private half; `false` if there is a key already.
    async fn keep(
        &self,
        private: &SecretValue,
        recipient: &str,
        force: bool,
        printer: &mut Printer,
    ) -> Result<bool, Failure> {
        match self {
            Self::File(path) => keep_in_file(path, private, recipient, force, printer),
            Self::Secret { objects, namespace, place } => {
                keep_in_secret(objects, namespace, place, private, recipient, force, printer).await
            }
        }
    }
}

fn keep_in_file(
    path: &Path,
    private: &SecretValue,
    recipient: &str,
    force: bool,
    printer: &mut Printer,
) -> Result<bool, Failure> {
    let shown = path.display();
    let before =
        replace::read(path).map_err(|error| Failure::access(format!("could not read {shown}: {}", error.kind())))?;
    if before.as_ref().is_some_and(|bytes| !bytes.is_empty()) && !force {
        printer.info(&format!("{shown} holds a key already: nothing was made; --force adds another one"));
        return Ok(false);
    }
    let after = appended(before.as_deref().map(Vec::as_slice).unwrap_or_default(), private, recipient);
    replace::replace(path, before.as_deref().map(Vec::as_slice), after.expose(), PRIVATE)
        .map_err(|error| not_written(&error, path))?;
    printer.info(&format!("the private half is in {shown}"));
    Ok(true)
}

fn not_written(error: &replace::NotReplaced, path: &Path) -> Failure {
    let message = not_replaced(error, path).message;
    match error {
        replace::NotReplaced::Locked => {
            Failure::lock_held(message).hint("another writer is at work, or hangs: try again")
        }
        replace::NotReplaced::Changed | replace::NotReplaced::Failed(..) => Failure::access(message),
    }
}

async fn keep_in_secret(
    objects: &Objects,
    namespace: &str,
    SecretKey { secret, key }: &SecretKey,
    private: &SecretValue,
    recipient: &str,
    force: bool,
    printer: &mut Printer,
) -> Result<bool, Failure> {
    let title = format!("Secret {namespace}/{secret}");
    let failed = |tried: &str, error: &cluster::Error| {
        let failure = Failure::access(format!("could not {tried} {title}: {error}"));
        let is_denied = error.refusal().is_some_and(|refusal| refusal.status == 403);
        match is_denied {
            true => failure.hint("keep the private half in a file of yours with --local or --file"),
            false => failure,
        }
    };
    let found = objects.get_secret(namespace, secret).await.map_err(|error| failed("read", &error))?;
    let before = found.as_ref().and_then(|found| found.data.get(key));
    if before.is_some() && !force {
        printer.info(&format!("{title} holds a key {key} already: nothing was made; --force adds another one"));
        return Ok(false);
    }
    if let Some(tool) = found.as_ref().and_then(|found| found.metadata.managed_by()).filter(|_| !force) {
        return Err(Failure::access(format!("{title} is managed by {tool}, which would undo the change")).hint(
            "make the key in a file with --file and bring it there by git, or write it all the same with --force",
        ));
    }
    let after = appended(before.map(SecretValue::expose).unwrap_or_default(), private, recipient);
    let written = match &found {
        Some(found) => {
            let change = KeyChange {
                namespace,
                name: secret,
                resource_version: &found.metadata.resource_version,
                key,
                value: Some(&after),
                field_manager: "kubectl-atmos-secret",
            };
            objects.change_secret(&change).await
        }
        None => {
            let metadata = Metadata { namespace: namespace.to_owned(), name: secret.clone(), ..Metadata::default() };
            let data = [(key.as_str(), &after)].into();
            let draft = SecretDraft { metadata: &metadata, secret_type: OPAQUE, immutable: false, data };
            objects.create_secret(&draft).await
        }
    };
    written.map_err(|error| failed("write", &error))?;
    printer.info(&format!("the private half is in {title}, key {key}"));
    Ok(true)
}

/// The text of a file of keys with one more.
fn appended(before: &[u8], private: &SecretValue, recipient: &str) -> SecretValue {
    let about = format!("# created: {}\n# public key: {recipient}\n", Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ"));
    let room = before.len() + about.len() + private.expose().len() + 2;
    let mut text = Zeroizing::new(Vec::with_capacity(room));
    text.extend_from_slice(before);
    if text.last().is_some_and(|last| *last != b'\n') {
        text.push(b'\n');
    }
    text.extend_from_slice(about.as_bytes());
    text.extend_from_slice(private.expose());
    text.push(b'\n');
    SecretValue::new(std::mem::take(&mut *text))
}

/// Puts the public half into the rule of the store's files.
fn into_rules(args: &KeygenArgs, sops: Option<&Sops>, recipient: &str, printer: &mut Printer) -> Result<(), Failure> {
    let (regex, sample) = store_file_regex(sops.and_then(|sops| sops.file.as_deref()));
    let path = match &args.rules {
        Some(path) => path.clone(),
        None => {
            let here = std::path::absolute(".")
                .map_err(|error| Failure::access(format!("no current folder: {}", error.kind())))?;
            rules::nearest(&here).unwrap_or_else(|| PathBuf::from(rules::FILE))
        }
    };
    let shown = path.display();
    let before =
        replace::read(&path).map_err(|error| Failure::access(format!("could not read {shown}: {}", error.kind())))?;
    let before = before.as_deref().map(Vec::as_slice);
    let changed = rules::with_recipient(before, &regex, recipient)
        .map_err(|message| Failure::access(format!("the public half is not in {shown}: {message}")))?;
    let Some(after) = changed else {
        printer.info(&format!("{shown} has the recipient already"));
        return Ok(());
    };
    replace::replace(&path, before, &after, PUBLIC).map_err(|error| not_written(&error, &path))?;
    printer.info(&format!("the public half is in {shown}, in the rule for {regex}"));
    let names = |text: &[u8]| -> Result<Vec<String>, backend::ErrorKind> {
        let unknown = |_| backend::ErrorKind::Undecodable;
        let creation = CreationRules::parse(text).map_err(unknown)?.for_file(&sample).map_err(unknown)?;
        let groups = creation.map(|creation| creation.keys.groups).unwrap_or_default();
        Ok(groups.iter().flatten().map(ToString::to_string).collect())
    };
    if !names(&after).is_ok_and(|names| names.iter().any(|name| name == recipient)) {
        printer.warning(&format!(
            "another rule of {shown} comes first for files such as {sample}: put this one before it"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_appended_on_a_line_of_their_own() {
        let private = || SecretValue::new(b"AGE-SECRET-KEY-1X".to_vec());
        for (before, start) in [(&b""[..], "# created: "), (b"OLD", "OLD\n# created: "), (b"OLD\n", "OLD\n# created: ")]
        {
            let after = appended(before, &private(), "age1x");
            let text = String::from_utf8_lossy(after.expose()).into_owned();
            assert!(text.starts_with(start), "{text}");
            assert!(text.ends_with("\n# public key: age1x\nAGE-SECRET-KEY-1X\n"), "{text}");
        }
    }
}
