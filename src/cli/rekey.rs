//! `rekey`: who can open the files of a sops store: recipients added and removed, data keys made anew.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::compiled::access;
use super::context::{Cluster, ClusterArgs, StoreArgs};
use super::exit::{Exit, Failure};
use super::identities;
use super::local::{FileArgs, LocalFiles, sops_files};
use super::printer::Printer;
use super::set::store_failed;
use super::sops_stores::{self, SopsStore};
use crate::api::Reason;
use crate::backend::ErrorKind;
use crate::backend::connect::{self, ConnectRequest, NewFiles, Rekey, Rekeyed, Sops};
use crate::backend::credentials::{Credentials, StoreRights, UserCredentials};
use crate::cluster::Objects;
use crate::sops::{AwsKmsKey, Recipient};

/// Add and remove recipients of the SOPS files of a store, and give them new data keys
///
/// A recipient that is added can open the files as they are. One that is removed cannot, but may have kept the data key:
/// --rotate makes a new one, which seals what is written from now on. Only new values shut somebody out of the old ones.
/// Nothing is written unless every file can be opened and changed.
#[derive(Args, Debug)]
pub struct RekeyArgs {
    /// The Store, or ClusterStore/NAME; may be left out if the namespace has only one of kind sops, and with --local
    store: Option<String>,
    /// A recipient that can open the files, too: age1…, ssh-…, an ARN of AWS KMS; may be given again
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
    let of_user = || identities::of_user().map(|age| UserCredentials { age, ..UserCredentials::default() });
    let names = args.files.folder_named().map(sops_files).transpose()?;
    if let (Some(names), Some(folder)) = (&names, args.files.folder_named())
        && args.store.is_none()
        && !args.files.cluster_key
    {
        let source = Box::new(LocalFiles::new(folder, names.iter().cloned()));
        let files = connect::local_files(&of_user()?, source, NewFiles::For(Vec::new()));
        return files.map_err(|error| store_failed(&error));
    }
    let cluster = Cluster::connect(cluster).await?;
    let store = sops_stores::choose(&cluster, args.store.as_deref(), &args.stores.operator_namespace).await?;
    let SopsStore { title, namespace, connection, sops: _, recipients } = store;
    let credentials = match args.files.cluster_key {
        true => Credentials::OfStore(StoreRights::default()),
        false => Credentials::OfUser(of_user()?),
    };
    let request = ConnectRequest {
        store: title,
        namespace: &namespace,
        connection: &connection,
        kubernetes: false,
        objects: &Objects::new(cluster.client),
        network: &args.stores.network().map_err(|error| store_failed(&error))?,
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
            printer.warning(&format!("no file had the recipient {gone}"));
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
    if text.starts_with("age1") || text.starts_with("ssh-") {
        return Ok(Recipient::Age(text.to_owned()));
    }
    if text.starts_with("arn:") {
        let (arn, role) = match text.split_once('+') {
            Some((arn, role)) => (arn, Some(role.to_owned())),
            None => (text, None),
        };
        return Ok(Recipient::AwsKms(AwsKmsKey { arn: arn.to_owned(), role, ..AwsKmsKey::default() }));
    }
    Err(Failure::usage(format!("{text} is no recipient that can be added here"))
        .hint("age1…, ssh-ed25519 …, ssh-rsa …, arn:aws:kms:…; others go through .sops.yaml and `sops updatekeys`"))
}
