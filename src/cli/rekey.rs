//! `rekey`: who can open the files of a sops store: recipients added and removed, data keys made anew.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::compiled::access;
use super::context::{Cluster, ClusterArgs, StoreArgs};
use super::exit::{Exit, Failure};
use super::local::{FileArgs, LocalFiles, sops_files};
use super::printer::Printer;
use super::set::store_failed;
use super::sops_stores::{self, SopsStore};
use super::{credentials, identities};
use crate::api::Reason;
use crate::backend::ErrorKind;
use crate::backend::connect::{self, ConnectRequest, NewFiles, Rekey, Rekeyed, Sops};
use crate::backend::credentials::{Credentials, StoreRights, UserCredentials};
use crate::cluster::Objects;
use crate::sops::Recipient;

/// Add and remove recipients of the SOPS files of a store, and give them new data keys
///
/// A recipient that is added can open the files as they are. One that is removed cannot, but may have kept the data key:
/// --rotate makes a new one, which seals what is written from now on. Only new values shut somebody out of the old ones.
/// Nothing is written unless every file can be opened and changed.
#[derive(Args, Debug)]
pub struct RekeyArgs {
    /// The Store, or ClusterStore/NAME; may be left out if the namespace has only one of kind sops, and with --local
    store: Option<String>,
    /// A recipient that can open the files, too, as .sops.yaml would have it: age1…, an ARN, a URL; may be given again
    #[arg(long, value_name = "RECIPIENT", required_unless_present_any = ["rm", "rotate"])]
    add: Vec<String>,
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
    let rekey = Rekey {
        add: args.add.iter().map(|text| recipient(text)).collect::<Result<_, _>>()?,
        remove: args.rm.iter().map(|text| text.trim().to_owned()).collect(),
        rotate: args.rotate,
    };
    if let Some(both) = args.add.iter().find(|added| args.rm.contains(added)) {
        return Err(Failure::usage(format!("{both} is given with --add and with --rm")));
    }
    let files = open(cluster, args).await?;
    let mut done = Vec::new();
    let result = files.rekey(&rekey, |file| done.push(file)).await;
    report(&done, printer);
    if let Err(error) = result {
        let failure = store_failed(&error);
        return Err(match (done.is_empty(), error.kind) {
            (_, ErrorKind::NoMatchingKey) => failure,
            (true, _) => failure.hint("nothing was written"),
            (false, _) => failure.hint("the files named above are done, the others are not: run it again"),
        });
    }
    advise(args, &done, printer);
    Ok(Exit::Ok)
}

/// The files: those of a folder, which need no cluster unless a Store is named, or those of a Store.
async fn open(cluster: &ClusterArgs, args: &RekeyArgs) -> Result<Sops, Failure> {
    let names = args.files.folder_named().map(sops_files).transpose()?;
    if let (Some(names), Some(folder)) = (&names, args.files.folder_named())
        && args.store.is_none()
        && !args.files.cluster_key
    {
        let source = Box::new(LocalFiles::new(folder, names.iter().cloned()));
        let user = UserCredentials { age: identities::of_user()?, ..UserCredentials::default() };
        let files = connect::local_files(&user, source, NewFiles::For(Vec::new()));
        return files.map_err(|error| store_failed(&error));
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
        network: &args.stores.network(true).map_err(|error| store_failed(&error))?,
        credentials,
        observer: Arc::new(|_, _: &'static str, _: Duration| {}),
    };
    let access = access(&args.files, names.unwrap_or_default().into_iter(), recipients, args.force);
    connect::sops_files(request, access).await.map_err(|error| store_failed(&error))
}

fn report(done: &[Rekeyed], printer: &mut Printer) {
    for file in done {
        let Rekeyed { file: name, added, removed, rotated } = file;
        if !file.is_changed() {
            printer.info(&format!("{name} stays as it is"));
            continue;
        }
        let mut changes = Vec::new();
        changes.extend((!added.is_empty()).then(|| format!("added {}", added.join(", "))));
        changes.extend((!removed.is_empty()).then(|| format!("removed {}", removed.join(", "))));
        changes.extend(rotated.then(|| "new data key".to_owned()));
        printer.info(&format!("{name}: {}", changes.join("; ")));
    }
}

/// What the person should know and do next.
fn advise(args: &RekeyArgs, done: &[Rekeyed], printer: &mut Printer) {
    if done.is_empty() {
        printer.warning("there is no SOPS file");
    }
    for gone in &args.rm {
        if !done.iter().any(|file| file.removed.iter().any(|name| name == gone.trim())) {
            printer.warning(&format!("no file had the recipient {}", Recipient::Age(gone.clone())));
        }
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
    if done.iter().any(|file| !file.added.is_empty() || !file.removed.is_empty()) {
        printer.info("new files are made by .sops.yaml: change it in the same way");
    }
}

/// A recipient by its text.
fn recipient(text: &str) -> Result<Recipient, Failure> {
    let text = text.trim();
    if text.starts_with("AGE-SECRET-KEY-") {
        return Err(Failure::usage(format!(
            "{}: that is the private half of a key, which is not repeated: name the public half, age1…",
            Reason::Unsupported
        )));
    }
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
    use crate::sops::MasterKeyKind;

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
        let private = recipient("AGE-SECRET-KEY-1CANARY").err().map(|failure| failure.message).unwrap_or_default();
        assert!(private.contains("private half") && !private.contains("CANARY"), "{private}");
        for private in
            ["age-secret-key-1canary", "AGE-PLUGIN-YUBIKEY-1CANARY", "-----BEGIN OPENSSH PRIVATE KEY-----CANARY"]
        {
            let said = recipient(private).err().map(|failure| failure.message).unwrap_or_default();
            assert!(said.contains("not shown") && !said.to_lowercase().contains("canary"), "{said}");
        }
    }
}
