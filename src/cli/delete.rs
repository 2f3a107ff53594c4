//! `delete`: takes the value of a declared secret out of its store. The declaration stays.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;

use super::compiled::{Compiled, Way, compile, title};
use super::context::{Cluster, ClusterArgs, StackArgs, StoreArgs, full_name};
use super::exit::{Exit, Failure};
use super::local::FileArgs;
use super::printer::Printer;
use super::set::{for_whom, refuse_inherited, store_failed, write_failed};
use super::{prompt, rows};
use crate::api::{Reason, Scope};
use crate::backend::connect::Connected;
use crate::backend::{DeleteMode, Error, ErrorKind, Key, Presence};
use crate::model::{PlannedRead, PlannedSecret, Problem, StoreRef};

/// Delete the value of a declared secret from its store, with your own rights; the declaration stays
///
/// Where the store has a way back, such as the recovery window of AWS Secrets Manager, it is kept open unless --purge is
/// given. A value that is not there is no failure.
#[derive(Args, Debug)]
pub struct DeleteArgs {
    /// The declared secret
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    name: Option<String>,
    /// Every secret that the component itself declares, one after the other; needs -c
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    stack: StackArgs,
    /// Leave no way back
    #[arg(long)]
    purge: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Do not ask, and write also into an object that a GitOps tool manages, which will undo it
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
pub async fn run(cluster: &ClusterArgs, args: &DeleteArgs, printer: &mut Printer) -> Result<Exit, Failure> {
    args.files.check()?;
    let asks = !args.yes && !args.force;
    if asks && !prompt::is_interactive() {
        return Err(Failure::usage("there is no terminal to ask whether the value may go").hint("say so with --yes"));
    }
    let cluster = Cluster::connect(cluster).await?;
    let stack = cluster.stack(&args.stack, printer).await?;
    let compiled = compile(&cluster, &stack).await?;
    let found = find(chosen(args, &compiled)?, args, &compiled, printer).await?;
    if found.is_empty() {
        return Ok(Exit::Ok);
    }
    if asks && !prompt::confirm(&question(&found, &compiled), printer).await? {
        printer.info(&match found.as_slice() {
            [one] => format!("{} keeps its value", one.secret.name),
            _ => "all keep their values".to_owned(),
        });
        return Ok(Exit::Ok);
    }
    let mode = if args.purge { DeleteMode::Purge } else { DeleteMode::Recoverable };
    for Found { secret, read, connected, key, title } in &found {
        match connected.backend.delete(key, mode).await {
            Ok(()) => printer.info(&format!(
                "deleted {}, {} ({title}); it is still declared",
                secret.name,
                for_whom(secret, read, &compiled),
            )),
            // Somebody else was faster.
            Err(error) if error.kind.is_missing() => printer.info(&format!("{} has no value any more", secret.name)),
            Err(error) => return Err(write_failed(&error, "deleted", &args.files)),
        }
    }
    Ok(Exit::Ok)
}

/// A value that is to go.
struct Found<'a> {
    secret: &'a PlannedSecret,
    read: &'a PlannedRead,
    connected: Arc<Connected>,
    key: Key,
    title: String,
}

/// The secret that is named, or all that the component itself declares.
fn chosen<'a>(args: &DeleteArgs, compiled: &'a Compiled<'_>) -> Result<Vec<&'a PlannedSecret>, Failure> {
    let component = args.stack.component();
    let Some(name) = &args.name else {
        let Some(component) = component else {
            return Err(Failure::usage("--all deletes what a component declares, and no component is named")
                .hint("name it with -c or ATMOS_COMPONENT"));
        };
        return compiled.own(component);
    };
    let secret = compiled.pick(name, component)?;
    if let Some(component) = component {
        refuse_inherited(secret, component, compiled)?;
    }
    Ok(vec![secret])
}

/// The values that are there; one that is not is told. Each store is connected and asked once.
async fn find<'a>(
    secrets: Vec<&'a PlannedSecret>,
    args: &DeleteArgs,
    compiled: &Compiled<'_>,
    printer: &mut Printer,
) -> Result<Vec<Found<'a>>, Failure> {
    let way = Way { stores: &args.stores, files: &args.files, opens_files: true, overwrites_managed: args.force };
    let mut wanted: BTreeMap<&StoreRef, Vec<(&PlannedSecret, &PlannedRead, Key)>> = BTreeMap::new();
    for secret in secrets {
        let told = |problem: &Problem| Failure::access(format!("{}: {}", problem.reason, problem.message));
        let read = secret.read.as_ref().map_err(told)?;
        let key = compiled.key(read, way.files).map_err(|error| store_failed(&error))?;
        // A declaration may be held at a version, but what goes is the value with all of them.
        wanted.entry(&read.store).or_default().push((secret, read, Key { version: None, ..key }));
    }
    let mut found = Vec::new();
    for (store, wanted) in wanted {
        let keys: Vec<Key> = wanted.iter().map(|(_, _, key)| key.clone()).collect();
        let connected = Arc::new(compiled.connect(store, &keys, way).await.map_err(|error| store_failed(&error))?);
        if !connected.backend.capabilities().delete {
            let kind = connected.kind;
            let why = format!("{}: {store} is of kind {kind}, from which nothing is deleted", Reason::Unsupported);
            return Err(Failure::access(why).hint("delete the value with the store's own tools"));
        }
        let answers = connected.backend.probe(&keys).await;
        for ((secret, read, key), answer) in wanted.into_iter().zip(answers) {
            let title = title(read, &key, way.files);
            if is_there(answer)? {
                found.push(Found { secret, read, connected: Arc::clone(&connected), key, title });
            } else {
                printer.info(&format!("{} has no value ({title}): nothing to delete", secret.name));
            }
        }
    }
    Ok(found)
}

/// Whether there is a value. One that is marked for deletion is there for `--purge`, and the store decides.
fn is_there(answer: Result<Presence, Error>) -> Result<bool, Failure> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if error.kind == ErrorKind::PendingDeletion => Ok(true),
        Err(error) if error.kind.is_missing() => Ok(false),
        Err(error) => Err(store_failed(&error)),
    }
}

fn question(found: &[Found<'_>], compiled: &Compiled<'_>) -> String {
    let [Found { secret, read, connected: _, key: _, title }] = found else {
        let names: Vec<String> = found.iter().map(|one| format!("{} ({})", one.secret.name, one.title)).collect();
        return format!("Delete the values of {}?", names.join(", "));
    };
    let consumers = match (secret.scope, &read.coordinate) {
        (Scope::Stack | Scope::Global, _) | (_, None) => {
            let names: Vec<String> = rows::instances(&compiled.stack.spec).collect();
            match names.is_empty() {
                true => String::new(),
                false => format!("; Stack {} has the components {}", full_name(compiled.stack), names.join(", ")),
            }
        }
        (Scope::Instance, Some(_)) => String::new(),
    };
    format!("Delete the value of {}, {} ({title}{consumers})?", secret.name, for_whom(secret, read, compiled))
}
