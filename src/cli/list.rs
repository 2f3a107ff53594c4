//! `list`: the declared secrets and whether each one has a value.

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use kube::ResourceExt;

use super::compiled::{Way, compile};
use super::context::{Cluster, ClusterArgs, StackArgs, StoreArgs, full_name, is_named};
use super::exit::{Exit, Failure};
use super::local::{FileArgs, LocalArgs};
use super::printer::Printer;
use super::rows::{self, Row, condition, is_observed, state_word};
use super::{near, verify};
use crate::api::Stack;
use crate::api::status::{READY, STALLED, SecretState};

/// List declared secrets and whether each one has a value
///
/// Reads only the status of Stacks: no store is asked and no right on Secrets is needed. STATUS is initialized, missing,
/// error or unknown (not checked yet). With --local, secrets of SOPS stores are looked for in the files of that folder, and
/// the others are unknown. A secret that components share stands there once, with `*` as its component; a
/// global one with `*` as its stack too.
#[derive(Args, Debug)]
pub struct ListArgs {
    #[command(flatten)]
    stack: StackArgs,
    /// The Stacks of all namespaces; goes before -n
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// How to print; `name` prints each NAME once
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Ask the stores, with your own rights, for metadata only
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    local: LocalArgs,
    #[command(flatten)]
    stores: StoreArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Wide,
    Json,
    Yaml,
    Name,
}

/// Runs the verb.
///
/// # Errors
/// Access to the cluster; an unknown Stack or component.
pub async fn run(cluster: &ClusterArgs, args: &ListArgs, printer: &mut Printer) -> Result<Exit, Failure> {
    let files = FileArgs::from(args.local.clone());
    files.check()?;
    let cluster = Cluster::connect(cluster).await?;
    let stacks = stacks(&cluster, args, printer).await?;
    let mut rows = Vec::new();
    let mut has_component = false;
    for stack in &stacks {
        let component = args.stack.component().map(|given| (given, rows::find_component(stack, given)));
        if let Some((_, None)) = component {
            continue;
        }
        has_component = true;
        let of_stack = if args.verify || files.folder_named().is_some() {
            verified(&cluster, stack, args, &files, printer).await
        } else {
            remark(stack, printer);
            rows::known(stack)
        };
        rows.extend(match component {
            Some((_, Some(component))) => rows::effective(&stack.spec, &component, of_stack),
            Some((_, None)) | None => of_stack,
        });
    }
    if let Some(component) = args.stack.component()
        && !has_component
        && !stacks.is_empty()
    {
        return Err(unknown_component(&stacks, component));
    }
    let rows = rows::shared_once(rows);
    if rows.is_empty() {
        printer.info(&nothing(&cluster, args));
        if matches!(args.output, Output::Table | Output::Wide | Output::Name) {
            return Ok(Exit::Ok);
        }
    }
    print(&rows, args, printer);
    Ok(Exit::Ok)
}

async fn stacks(cluster: &Cluster, args: &ListArgs, printer: &mut Printer) -> Result<Vec<Stack>, Failure> {
    let Some(name) = args.stack.stack() else {
        return cluster.stacks(args.all_namespaces, printer).await;
    };
    if !args.all_namespaces {
        return Ok(vec![cluster.stack(&args.stack, printer).await?]);
    }
    let mut stacks = cluster.stacks(true, printer).await?;
    stacks.retain(|stack| is_named(stack, name));
    if stacks.is_empty() {
        return Err(Failure::access(format!("no Stack {name} in any namespace")));
    }
    Ok(stacks)
}

/// The rows as the stores have them. A Stack that cannot be compiled keeps those of its status, each in error.
async fn verified(
    cluster: &Cluster,
    stack: &Stack,
    args: &ListArgs,
    files: &FileArgs,
    printer: &mut Printer,
) -> Vec<Row> {
    let why = match compile(cluster, stack).await {
        Ok(compiled) => match &compiled.plan.blocked {
            None => {
                let way = Way { stores: &args.stores, files, opens_files: false, overwrites_managed: false };
                return verify::ask(&compiled, way).await;
            }
            Some(problem) => (problem.reason, problem.message.clone()),
        },
        Err(failure) => (failure.reason(), failure.message),
    };
    printer.warning(&format!("Stack {}: {}: {}", full_name(stack), why.0, why.1));
    let mut rows = rows::from_status(stack);
    for row in &mut rows {
        row.status = SecretState::Error;
        row.reason = Some(why.0);
        row.message = Some(why.1.clone());
    }
    rows
}

/// Says on stderr what the rows do not show.
fn remark(stack: &Stack, printer: &mut Printer) {
    let name = full_name(stack);
    if stack.spec.suspend == Some(true) {
        printer.warning(&format!("Stack {name} is suspended: what is listed may be old"));
    } else if !is_observed(stack) {
        printer.warning(&format!("Stack {name} has changes that the operator has not looked at yet"));
    }
    if let Some(stalled) = condition(stack, STALLED).filter(|condition| condition.status == "True") {
        printer.warning(&format!("Stack {name}: {}: {}", stalled.reason, stalled.message));
    } else if rows::from_status(stack).is_empty()
        && let Some(ready) = condition(stack, READY).filter(|condition| condition.status != "True")
    {
        printer.warning(&format!("Stack {name}: {}: {}", ready.reason, ready.message));
    }
}

/// The failure for a component that no Stack has.
pub fn unknown_component(stacks: &[Stack], given: &str) -> Failure {
    let known: Vec<String> = stacks.iter().flat_map(|stack| rows::instances(&stack.spec)).collect();
    let short = known.iter().filter_map(|full_name| full_name.split_once('/').map(|(_, name)| name));
    let of = match stacks {
        [stack] => format!("Stack {}", stack.name_any()),
        _ => "any of these Stacks".to_owned(),
    };
    let failure = Failure::usage(format!("no component {given} in {of}"));
    match near::nearest(given, short.chain(known.iter().map(String::as_str))) {
        Some(near) => failure.hint(format!("did you mean {near}?")),
        None if known.is_empty() => failure.hint("it has no components: leave out -c"),
        None => failure.hint(format!("it has {}", known.join(", "))),
    }
}

fn nothing(cluster: &Cluster, args: &ListArgs) -> String {
    match (args.stack.stack(), args.all_namespaces) {
        (Some(stack), _) => format!("no declared secrets known for Stack {stack}"),
        (None, true) => "no declared secrets in any namespace".to_owned(),
        (None, false) => format!("no declared secrets in namespace {}", cluster.namespace),
    }
}

fn print(rows: &[Row], args: &ListArgs, printer: &mut Printer) {
    match args.output {
        Output::Table | Output::Wide => table(rows, args, printer),
        Output::Json => printer.json(&rows),
        Output::Yaml => printer.yaml(&rows),
        Output::Name => {
            let names: std::collections::BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
            for name in names {
                printer.line(name);
            }
        }
    }
}

fn table(rows: &[Row], args: &ListArgs, printer: &mut Printer) {
    let wide = args.output == Output::Wide;
    let mut header = vec!["STACK", "COMPONENT", "SECRET", "SCOPE", "STORE", "STATUS"];
    if args.all_namespaces {
        header.insert(0, "NAMESPACE");
    }
    if wide {
        header.extend(["REASON", "CHANGED", "BACKEND KEY", "DESCRIPTION"]);
    }
    let now = Timestamp::now();
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let mut cells = vec![
                row.stack.clone(),
                row.component.clone(),
                row.name.clone(),
                row.scope.as_str().to_owned(),
                or_none(&row.store),
                state_word(row.status).to_owned(),
            ];
            if args.all_namespaces {
                cells.insert(0, row.namespace.clone());
            }
            if wide {
                cells.extend([
                    row.reason.map_or_else(|| "-".to_owned(), |reason| reason.to_string()),
                    row.last_changed.map_or_else(|| "-".to_owned(), |time| age(now, time)),
                    or_none(&row.backend_key),
                    row.description.clone().unwrap_or_else(|| "-".to_owned()),
                ]);
            }
            cells
        })
        .collect();
    printer.table(&header, &cells);
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// How long ago, in one unit: seconds up to two minutes, minutes up to three hours, hours up to two days, as kubectl.
pub fn age(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=10_799 => format!("{minutes}m"),
        10_800..=172_799 => format!("{hours}h"),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let then = Timestamp::UNIX_EPOCH;
        for (seconds, text) in [(-5, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (10_800, "3h"), (172_800, "2d")] {
            let now = then + jiff::SignedDuration::from_secs(seconds);
            assert_eq!(age(now, then), text);
        }
    }
}
