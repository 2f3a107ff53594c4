//! `rekey`: who can open the files of a sops store: recipients added and removed, data keys made anew.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::compiled::access;
use super::context::{Cluster, ClusterArgs, StoreArgs};
use super::credentials;
use super::exit::{Exit, Failure};
use super::local::{FileArgs, LocalFiles, replace, rules, sops_files};
use super::printer::Printer;
use super::set::{store_failed, write_failed};
use super::sops_stores::{self, SopsStore};
use crate::api::Reason;
use crate::backend;
use crate::backend::connect::{self, Changes, ConnectRequest, FileAccess, Recipients, Rekey, Rekeyed, Sops};
use crate::backend::credentials::{Credentials, StoreRights};
use crate::cluster::Objects;
use crate::sops::{Encrypted, Format, KeyGroups, MasterKeyKind, Recipient};

/// Add and remove recipients of the SOPS files of a store, and give them new data keys
///
/// A recipient that is added can open the files as they are. One that is removed cannot, but may have kept the data key:
/// --rotate makes a new one, which seals what is written from now on. Only new values shut somebody out of the old ones.
/// Nothing is written unless every file can be opened and changed.
///
/// With --local and neither --add, --rm nor --rotate, every file gets the recipients that a new file of its name would have by
/// .sops.yaml, as with `sops updatekeys`.
#[derive(Args, Debug)]
pub struct RekeyArgs {
    /// The Store, or ClusterStore/NAME; may be left out if the namespace has only one of kind sops, and with --local
    store: Option<String>,
    /// A recipient that can open the files, too, as .sops.yaml would have it: age1…, an ARN, a URL; may be given again
    #[arg(long, value_name = "RECIPIENT")]
    add: Vec<String>,
    /// The key group that --add is for, counted from 1; needed where a file has several
    #[arg(long, value_name = "NUMBER", requires = "add", value_parser = clap::value_parser!(u8).range(1..))]
    group: Option<u8>,
    /// A recipient that can open them no more, as the files name it; may be given again
    #[arg(long, value_name = "RECIPIENT")]
    rm: Vec<String>,
    /// Give every file a new data key
    #[arg(long)]
    rotate: bool,
    /// Write also into objects that a GitOps tool manages, which will undo it
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    stores: StoreArgs,
}

/// Runs the verb.
///
/// # Errors
/// Usage; access to the cluster, or a file that cannot be opened or written.
pub async fn run(cluster: &ClusterArgs, args: &RekeyArgs, printer: &mut Printer) -> Result<Exit, Failure> {
    args.files.check()?;
    args.add.iter().chain(&args.rm).try_for_each(|text| refuse_private(text))?;
    let rekey = wanted(args)?;
    if let Some(both) = args.add.iter().find(|added| args.rm.contains(added)) {
        return Err(Failure::usage(format!("{both} is given with --add and with --rm")));
    }
    let files = open(cluster, args, &rekey).await?;
    let mut done = Vec::new();
    let result = files.rekey(&rekey, |file| done.push(file)).await;
    report(&done, printer);
    if let Err(error) = result {
        let failure = write_failed(&error, "changed", &args.files);
        return Err(match (failure.hint.is_some(), done.is_empty()) {
            (true, _) => failure,
            (false, true) => failure.hint("nothing was written"),
            (false, false) => failure.hint("the files named above are done, the others are not: run it again"),
        });
    }
    advise(args, &rekey, &done, printer);
    Ok(Exit::Ok)
}

fn wanted(args: &RekeyArgs) -> Result<Rekey, Failure> {
    let RekeyArgs { store: _, add, group, rm, rotate, force: _, files, stores: _ } = args;
    let rotate = *rotate;
    if add.is_empty() && rm.is_empty() && !rotate {
        return match files.folder_named() {
            Some(_) => Ok(Rekey { recipients: Recipients::ByRules, rotate }),
            None => Err(Failure::usage("nothing is asked for: give --add, --rm or --rotate")
                .hint("with --local DIR and none of them, files get the recipients that .sops.yaml says")),
        };
    }
    let changes = Changes {
        add: add.iter().map(|text| recipient(text)).collect::<Result<_, _>>()?,
        remove: rm.iter().map(|text| text.trim().to_owned()).collect(),
        group: group.map(usize::from),
    };
    Ok(Rekey { recipients: Recipients::Changed(changes), rotate })
}

/// The files: those of a folder, which need no cluster unless a Store is named, or those of a Store.
async fn open(cluster: &ClusterArgs, args: &RekeyArgs, rekey: &Rekey) -> Result<Sops, Failure> {
    let names = args.files.folder_named().map(sops_files).transpose()?;
    if let (Some(names), Some(folder)) = (&names, args.files.folder_named())
        && args.store.is_none()
        && !args.files.cluster_key
    {
        return open_folder(folder, names, args, rekey).await.map_err(|error| store_failed(&error));
    }
    let cluster = Cluster::connect(cluster).await?;
    let store = sops_stores::choose(&cluster, args.store.as_deref(), &args.stores.operator_namespace).await?;
    let SopsStore { title, namespace, connection, sops, recipients } = store;
    let credentials = match args.files.cluster_key {
        true => Credentials::OfStore(StoreRights::default()),
        false => Credentials::OfUser(credentials::for_files(&sops).map_err(|error| store_failed(&error))?),
    };
    let request = ConnectRequest {
        store: title,
        namespace: &namespace,
        connection: &connection,
        kubernetes: false,
        objects: &Objects::new(cluster.client),
        network: &args.stores.network(sops.azure_key_vault.is_some()).map_err(|error| store_failed(&error))?,
        credentials,
        observer: Arc::new(|_, _: &'static str, _: Duration| {}),
    };
    let access = access(&args.files, names.unwrap_or_default().into_iter(), recipients, args.force);
    connect::sops_files(request, access).await.map_err(|error| store_failed(&error))
}

/// The files of a folder where no Store says anything about keys: all that they are under, and are to be under, are used with the
/// person's own credentials.
async fn open_folder(folder: &Path, names: &[String], args: &RekeyArgs, rekey: &Rekey) -> Result<Sops, backend::Error> {
    let mut kinds = Vec::new();
    let mut note = |groups: &KeyGroups| {
        for recipient in groups.groups.iter().flatten() {
            if !kinds.contains(&recipient.kind()) {
                kinds.push(recipient.kind());
            }
        }
    };
    for name in names {
        let path = folder.join(name);
        // What keeps a file from being read is told when it is opened.
        let bytes = replace::read(&path).ok().flatten().unwrap_or_default();
        let format = Format::from_file_name(name);
        if let Some(Ok(file)) = format.map(|format| Encrypted::parse(format, &bytes)) {
            note(&file.key_groups());
        }
        if let (Recipients::ByRules, Ok(creation)) = (&rekey.recipients, rules::creation(&path)) {
            note(&creation.keys);
        }
    }
    if let Recipients::Changed(Changes { add, remove: _, group: _ }) = &rekey.recipients {
        note(&KeyGroups::single(add.clone()));
    }
    let azure = kinds.contains(&MasterKeyKind::AzureKeyVault);
    let network = args.stores.network_with(azure, credentials::key_services(&kinds)?)?;
    let FileAccess { files, new_files, overwrites_managed: _ } =
        access(&args.files, names.iter().cloned(), Vec::new(), false);
    let source = files.unwrap_or_else(|| Box::new(LocalFiles::new(folder, [])));
    connect::local_files(credentials::for_keys(&kinds)?, &kinds, &network, source, new_files).await
}

fn report(done: &[Rekeyed], printer: &mut Printer) {
    for file in done {
        let Rekeyed { file: name, added, removed, regrouped, rotated } = file;
        if !file.is_changed() {
            printer.info(&format!("{name} stays as it is"));
            continue;
        }
        let mut changes = Vec::new();
        changes.extend((!added.is_empty()).then(|| format!("added {}", names(added))));
        changes.extend((!removed.is_empty()).then(|| format!("removed {}", names(removed))));
        changes.extend(regrouped.then(|| "other key groups".to_owned()));
        changes.extend(rotated.then(|| "new data key".to_owned()));
        printer.info(&format!("{name}: {}", changes.join("; ")));
    }
}

fn names(recipients: &[Recipient]) -> String {
    recipients.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What the person should know and do next.
fn advise(args: &RekeyArgs, rekey: &Rekey, done: &[Rekeyed], printer: &mut Printer) {
    if done.is_empty() {
        printer.warning("there is no SOPS file");
    }
    let removed = |gone: &str| done.iter().flat_map(|file| &file.removed).any(|recipient| recipient.is_called(gone));
    for gone in args.rm.iter().filter(|gone| !removed(gone)) {
        printer.warning(&format!("no file had the recipient {gone}"));
    }
    if done.iter().any(|file| !file.removed.is_empty()) {
        printer.warning(match args.rotate {
            true => {
                "who was removed may have kept the values and older revisions of the files: give those values anew that \
                 they must not know"
            }
            false => {
                "who was removed may have kept the data key, which is still in use, and the values: rotate it with \
                 --rotate, and give those values anew that they must not know"
            }
        });
    }
    let is_changed = done.iter().any(|file| !file.added.is_empty() || !file.removed.is_empty());
    if is_changed && rekey.recipients != Recipients::ByRules {
        printer.info("new files are made by .sops.yaml: change it in the same way");
    }
}

/// Refuses the private half of a key, also where it stands in a whole file: it must not be repeated, and not be used either,
/// since the command line has shown it.
fn refuse_private(text: &str) -> Result<(), Failure> {
    let upper = text.to_ascii_uppercase();
    if ["AGE-SECRET-KEY-", "AGE-PLUGIN-", "PRIVATE KEY"].iter().any(|part| upper.contains(part)) {
        let message = format!("{}: that holds the private half of a key, which is not repeated", Reason::Unsupported);
        return Err(Failure::usage(message).hint(
            "name the public half, age1… or ssh-…; the command line has shown the private one: make another key",
        ));
    }
    Ok(())
}

/// A recipient by its text.
fn recipient(text: &str) -> Result<Recipient, Failure> {
    let text = text.trim();
    Recipient::parse(text).ok_or_else(|| {
        let shown = Recipient::Age(text.to_owned());
        Failure::usage(format!("{shown} is no recipient that can be added here")).hint(
            "age1…, ssh-ed25519 …, ssh-rsa …, arn:aws:kms:…, projects/…/cryptoKeys/…, https://….vault.azure.net/keys/…, or \
             https://…/v1/MOUNT/keys/KEY of Vault's transit engine",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_of_every_kind_are_told_apart() {
        for (text, kind) in [
            ("age1lzd99uklcjnc0e7d860axevet2cz99ce9pq6tzuzd05l5nr28ams36nvun", Some(MasterKeyKind::Age)),
            ("ssh-ed25519 AAAA me@host", Some(MasterKeyKind::Age)),
            (
                "arn:aws:kms:us-east-1:123456789012:key/0f1e+arn:aws:iam::123456789012:role/r",
                Some(MasterKeyKind::AwsKms),
            ),
            ("projects/p/locations/global/keyRings/r/cryptoKeys/k", Some(MasterKeyKind::GcpKms)),
            ("https://name.vault.azure.net/keys/k/0f1e", Some(MasterKeyKind::AzureKeyVault)),
            ("https://vault.example.com:8200/v1/transit/keys/k", Some(MasterKeyKind::VaultTransit)),
            ("FBC7B9E2A4F9289AC0C1D4843D16CEE4A27381B4", None),
            ("https://example.com/", None),
            ("", None),
        ] {
            assert_eq!(recipient(text).ok().map(|recipient| recipient.kind()), kind, "{text}");
        }
        for (key, name, is_meant) in [
            ("arn:aws:kms:us-east-1:1:key/a", "arn:aws:kms:us-east-1:1:key/a", true),
            ("arn:aws:kms:us-east-1:1:key/a+arn:aws:iam::1:role/r", " arn:aws:kms:us-east-1:1:key/a", true),
            ("arn:aws:kms:us-east-1:1:key/a", "arn:aws:kms:us-east-1:1:key/b", false),
            ("https://name.vault.azure.net/keys/k/0f1e", "https://name.vault.azure.net/keys/k", true),
            ("https://name.vault.azure.net/keys/k/0f1e", "https://name.vault.azure.net/keys/k/1f1e", false),
            ("https://vault.example.com/v1/transit/keys/k", "https://vault.example.com/v1/transit/keys/k/", true),
            ("ssh-ed25519 AAAA me@host", "ssh-ed25519 AAAA", true),
            ("age1abc", "AGE1ABC", true),
        ] {
            let key = recipient(key).map_err(|failure| failure.message);
            assert_eq!(key.map(|key| key.is_called(name)), Ok(is_meant), "{name}");
        }
    }

    #[test]
    fn the_private_half_of_a_key_is_refused_and_not_repeated() {
        for private in [
            "AGE-SECRET-KEY-1CANARY",
            "age-secret-key-1canary",
            "# created: 2026-01-01T00:00:00Z\n# public key: age1abc\nAGE-SECRET-KEY-1CANARY\n",
            "AGE-PLUGIN-YUBIKEY-1CANARY",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nCANARY",
        ] {
            let said = refuse_private(private).err().map(|failure| failure.message).unwrap_or_default();
            assert!(said.contains("private half") && !said.to_lowercase().contains("canary"), "{said}");
        }
        for public in ["age1abc", "ssh-ed25519 AAAA me@host", "arn:aws:kms:us-east-1:1:key/a"] {
            assert_eq!(refuse_private(public), Ok(()), "{public}");
        }
    }
}
