//! `set`: gives a declared secret its value, which never stands on a command line.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use clap::Args;

use super::compiled::{Compiled, Place, Way, compile};
use super::context::{Cluster, ClusterArgs, StackArgs, StoreArgs, full_name};
use super::exit::{Exit, Failure};
use super::local::FileArgs;
use super::printer::Printer;
use super::prompt;
use crate::api::{Reason, Scope};
use crate::backend::connect::Connected;
use crate::backend::{self, ErrorKind, Precondition};
use crate::model::{PlannedRead, PlannedSecret};
use crate::value::SecretValue;

/// What helps somebody whose keys open no file.
pub(super) const KEY_HINT: &str =
    "set SOPS_AGE_KEY or SOPS_AGE_KEY_FILE to your own age identity, or use the cluster's with --cluster-key";

/// What helps somebody whose Store names a host that the plugin does not trust by itself.
pub(super) const ENDPOINT_HINT: &str = "your own credentials would go to that host: name it with --allow-endpoint only if you know the Store that names it";

/// The most bytes that are read: more than any store takes.
const MAX_VALUE: u64 = 2 << 20;

/// Set the value of a declared secret in its store, with your own rights
///
/// The value is asked for without being shown, or comes from stdin or a file. It never stands on the command line, where
/// the shell's history and the list of processes would keep it.
#[derive(Args, Debug)]
pub struct SetArgs {
    /// The declared secret
    name: String,
    /// A value that was given here all the same: refused, and not repeated in the message
    #[arg(hide = true, num_args = 0.., allow_hyphen_values = false)]
    refused: Vec<String>,
    #[command(flatten)]
    stack: StackArgs,
    /// Read the value from stdin, every byte of it
    #[arg(long, conflicts_with = "file")]
    stdin: bool,
    /// Read the value from a file, every byte of it
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Drop one line feed at the end of what --stdin or --file gives
    #[arg(long)]
    trim: bool,
    /// Overwrite a value without asking, also in an object that a GitOps tool manages, which will undo it
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
/// Usage; access to the cluster or the store.
pub async fn run(cluster: &ClusterArgs, args: &SetArgs, printer: &mut Printer) -> Result<Exit, Failure> {
    check(args)?;
    args.files.check()?;
    let cluster = Cluster::connect(cluster).await?;
    let stack = cluster.stack(&args.stack, printer).await?;
    let compiled = compile(&cluster, &stack).await?;
    let secret = compiled.pick(&args.name, args.stack.component())?;
    if let Some(component) = args.stack.component() {
        refuse_inherited(secret, component, &compiled)?;
    }
    let read =
        secret.read.as_ref().map_err(|problem| Failure::access(format!("{}: {}", problem.reason, problem.message)))?;
    let way = Way { stores: &args.stores, files: &args.files, opens_files: true, overwrites_managed: args.force };
    let mut place = compiled.open(read, way).await.map_err(|error| store_failed(&error))?;
    let pinned = place.key.version.take();
    refuse_read_only(&place.connected, read)?;
    let precondition = match agree(&place, read, args, printer).await? {
        Some(precondition) => precondition,
        None => {
            printer.info(&format!("{} keeps its value", args.name));
            return Ok(Exit::Ok);
        }
    };
    if secret.path.is_some() {
        printer.warning(&format!(
            "{} is one leaf of the value at {}: the whole document is replaced",
            secret.name, place.key.name
        ));
    }
    if let Some(version) = pinned {
        printer.warning(&format!(
            "{} is held at version {version}: its targets get the new value when the declaration names another one",
            secret.name
        ));
    }
    let value = value(args).await?;
    let written = prompt::interruptible(place.connected.backend.write(&place.key, &value, precondition)).await;
    let unknown = "it is not known whether the value was written: look before you try again";
    written
        .map_err(|interrupted| interrupted.hint(unknown))?
        .map_err(|error| write_failed(&error, "written", &args.files))?;
    printer.info(&done(secret, read, &compiled, &place.title));
    Ok(Exit::Ok)
}

fn check(args: &SetArgs) -> Result<(), Failure> {
    let name = args.name.split('=').next().unwrap_or_default();
    if args.name.contains('=') || !args.refused.is_empty() {
        return Err(Failure::usage(
            "a value on the command line is refused: the shell's history and the list of processes would keep it",
        )
        .hint(format!(
            "run `kubectl atmos-secret set {name}` and type it at the prompt, or use --stdin or --file; if the value is \
             real, take it out of your history"
        )));
    }
    if args.trim && !args.stdin && args.file.is_none() {
        return Err(Failure::usage("--trim needs --stdin or --file"));
    }
    if !args.stdin && args.file.is_none() && !prompt::is_interactive() {
        return Err(
            Failure::usage("there is no terminal to ask for the value").hint("give the value with --stdin or --file")
        );
    }
    Ok(())
}

/// Refuses to change for all what was meant for one component.
pub(super) fn refuse_inherited(
    secret: &PlannedSecret,
    component: &str,
    compiled: &Compiled<'_>,
) -> Result<(), Failure> {
    if !secret.component.is_empty() {
        return Ok(());
    }
    let shared_by = match secret.scope {
        Scope::Global => "all stacks".to_owned(),
        Scope::Stack | Scope::Instance => format!("all components of stack {}", compiled.plan.stack),
    };
    Err(Failure::usage(format!(
        "{}: component {component} only inherits {} from {}, and its value is shared by {shared_by}",
        Reason::NotOverridable,
        secret.name,
        secret.origin
    ))
    .hint(format!(
        "to change it for all, leave out -c and ATMOS_COMPONENT; to give this component a value of its own, declare {} \
         under the component in Stack {}",
        secret.name,
        full_name(compiled.stack)
    )))
}

fn refuse_read_only(connected: &Connected, read: &PlannedRead) -> Result<(), Failure> {
    if connected.backend.capabilities().write {
        return Ok(());
    }
    let why = format!(
        "{}: {} is of kind {}, which this version cannot write",
        Reason::Unsupported,
        read.store,
        connected.kind
    );
    Err(Failure::access(why).hint("set the value with the store's own tools"))
}

/// Under what condition the value may be written; `None` if the person declined.
async fn agree(
    place: &Place,
    read: &PlannedRead,
    args: &SetArgs,
    printer: &mut Printer,
) -> Result<Option<Precondition>, Failure> {
    let answer = place.connected.backend.probe(std::slice::from_ref(&place.key)).await.into_iter().next();
    let presence = match answer {
        Some(Ok(presence)) => presence,
        Some(Err(error)) if error.kind.is_missing() => return Ok(Some(Precondition::Absent)),
        // The first value makes the object that holds the files.
        Some(Err(error)) if error.kind == ErrorKind::SourceNotFound && place.connected.kind == "sops" => {
            return Ok(Some(Precondition::Absent));
        }
        Some(Err(error)) => return Err(store_failed(&error)),
        None => return Err(Failure::access(format!("{} gave no answer for the key", read.store))),
    };
    let precondition =
        if presence.version.is_empty() { Precondition::None } else { Precondition::Version(presence.version) };
    if args.force {
        return Ok(Some(precondition));
    }
    if !prompt::is_interactive() {
        return Err(Failure::usage(format!("{} already has a value in {}", args.name, read.store))
            .hint("overwrite it with --force"));
    }
    let question = format!("{} already has a value in {}. Overwrite it?", args.name, read.store);
    Ok(prompt::confirm(&question, printer).await?.then_some(precondition))
}

async fn value(args: &SetArgs) -> Result<SecretValue, Failure> {
    let given = match (&args.file, args.stdin) {
        (Some(path), _) => {
            let shown = path.display();
            let failed = |error: io::Error| Failure::usage(format!("could not read {shown}: {}", error.kind()));
            read_all(File::open(path).map_err(failed)?).map_err(failed)?
        }
        (None, true) => read_all(io::stdin().lock())
            .map_err(|error| Failure::usage(format!("could not read stdin: {}", error.kind())))?,
        (None, false) => {
            let typed = prompt::hidden(&format!("Value of {} (not shown)", args.name)).await?;
            if typed.expose().is_empty() {
                return Err(Failure::usage("an empty value was typed: nothing was written")
                    .hint("an empty value can be given with --stdin"));
            }
            return Ok(typed);
        }
    };
    let given = given.ok_or_else(|| Failure::usage("the value is larger than 2 MiB: no store takes it"))?;
    Ok(if args.trim { trimmed(given) } else { given })
}

/// Everything there is; `None` if it is more than [`MAX_VALUE`].
fn read_all(reader: impl Read) -> io::Result<Option<SecretValue>> {
    // All the room from the start, so that no copy stays behind when the buffer grows.
    let room = usize::try_from(MAX_VALUE).unwrap_or(usize::MAX).saturating_add(64);
    let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(room));
    reader.take(MAX_VALUE + 1).read_to_end(&mut bytes)?;
    let fits = u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX_VALUE);
    Ok(fits.then(|| SecretValue::new(std::mem::take(&mut *bytes))))
}

fn trimmed(value: SecretValue) -> SecretValue {
    match value.expose().strip_suffix(b"\n") {
        Some(rest) => SecretValue::new(rest.to_vec()),
        None => value,
    }
}

pub(super) fn store_failed(error: &backend::Error) -> Failure {
    let failure = Failure::access(format!("{}: {}", error.kind.reason(), error.message));
    if error.kind == ErrorKind::NoMatchingKey {
        return failure.hint(KEY_HINT);
    }
    if matches!(error.kind, ErrorKind::PermissionDenied | ErrorKind::GrantMissing) {
        return failure.hint("values are written with your own rights; `kubectl auth can-i --list` shows them");
    }
    if error.kind == ErrorKind::EndpointNotAllowed {
        return failure.hint(ENDPOINT_HINT);
    }
    if error.kind == ErrorKind::Conflict {
        return failure.hint("somebody else set a value at the same time: look at it, then try again");
    }
    failure
}

/// A write that got no answer may have happened, but for one of a local file, which waits for nothing but a lock.
pub(super) fn write_failed(error: &backend::Error, done: &str, files: &FileArgs) -> Failure {
    let failure = store_failed(error);
    if files.folder_named().is_some() {
        return match error.kind == ErrorKind::Timeout {
            true => Failure::lock_held(failure.message).hint("another writer is at work, or hangs: try again"),
            false => failure,
        };
    }
    if matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Unexpected) {
        return failure.hint(format!("it is not known whether the value was {done}: look before you try again"));
    }
    failure
}

/// What was written and for whom.
fn done(secret: &PlannedSecret, read: &PlannedRead, compiled: &Compiled<'_>, place: &str) -> String {
    format!("set {}, {} ({place})", secret.name, for_whom(secret, read, compiled))
}

/// Who has the value.
pub(super) fn for_whom(secret: &PlannedSecret, read: &PlannedRead, compiled: &Compiled<'_>) -> String {
    match (&read.coordinate, secret.scope) {
        (None, _) => "at the key that its declaration names".to_owned(),
        (Some(_), Scope::Instance) => format!("for component {} in stack {}", secret.component, compiled.plan.stack),
        (Some(_), Scope::Stack) => format!("shared by all components of stack {}", compiled.plan.stack),
        (Some(_), Scope::Global) => "shared by all stacks".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn one_line_feed_is_trimmed_and_no_more() {
        for (given, kept) in [(&b"a\n\n"[..], &b"a\n"[..]), (b"a", b"a"), (b"\n", b""), (b"a\r\n", b"a\r"), (b"", b"")]
        {
            assert!(trimmed(SecretValue::new(given.to_vec())).equals(kept), "{given:?}");
        }
    }

    #[test]
    fn what_is_too_large_is_not_cut_off() {
        let limit = usize::try_from(MAX_VALUE).unwrap();
        assert!(read_all(vec![b'x'; limit].as_slice()).unwrap().is_some());
        assert!(read_all(vec![b'x'; limit + 1].as_slice()).unwrap().is_none());
    }
}
