//! `validate`: whether all required secrets have a value, for people and for pipelines.

mod current;
mod verdict;

use std::time::Duration;

use clap::{Args, ValueEnum};
use kube::ResourceExt;

use self::verdict::{Report, Verdict};
use super::compiled::{Way, compile};
use super::context::{Cluster, ClusterArgs, StackArgs, StoreArgs, atmos_stack, full_name};
use super::describe::{place_and_name, why};
use super::exit::{Exit, Failure};
use super::list::unknown_component;
use super::local::FileArgs;
use super::printer::Printer;
use super::rows::{self, state_word};
use super::verify;
use crate::api::{Stack, duration};

/// Check that every required secret has a value
///
/// Reads the status that the operator keeps, and waits until it is about the present spec, stores and catalogs. Optional
/// secrets do not matter. Exit codes: 0 all required secrets have a value; 1 one has none, or the spec is invalid; 3 it
/// could not be found out (a store is in error, the Stack is suspended or absent, the operator is silent, no rights).
#[derive(Args, Debug)]
pub struct ValidateArgs {
    #[command(flatten)]
    stack: StackArgs,
    /// How long to wait for the operator, such as 30s or 2m; 0s looks once
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = parse_duration)]
    timeout: Duration,
    /// Ask the operator to read every value now, and wait until it has
    #[arg(long, conflicts_with = "verify")]
    refresh: bool,
    /// Ask the stores instead of the operator, with your own rights, for metadata only
    #[arg(long)]
    verify: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    stores: StoreArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    duration::parse(text).ok_or("expected whole numbers with the units h, m or s, such as 30s or 1m30s")
}

/// Runs the verb.
///
/// # Errors
/// Access to the cluster; an unknown Stack or component.
pub async fn run(cluster: &ClusterArgs, args: &ValidateArgs, printer: &mut Printer) -> Result<Exit, Failure> {
    let cluster = Cluster::connect(cluster).await?;
    let stack = cluster.stack(&args.stack, printer).await?;
    let component = component(&stack, args)?;
    let report = if args.verify {
        by_stores(&cluster, &stack, component.as_deref(), args).await?
    } else {
        by_status(&cluster, stack, component.as_deref(), args, printer).await?
    };
    print(&report, args.output, printer);
    Ok(match report.verdict {
        Verdict::Valid => Exit::Ok,
        Verdict::Invalid => Exit::CheckFailed,
        Verdict::Undetermined => Exit::Access,
    })
}

fn component(stack: &Stack, args: &ValidateArgs) -> Result<Option<String>, Failure> {
    let Some(given) = args.stack.component() else { return Ok(None) };
    rows::find_component(stack, given).map(Some).ok_or_else(|| unknown_component(std::slice::from_ref(stack), given))
}

async fn by_stores(
    cluster: &Cluster,
    stack: &Stack,
    component: Option<&str>,
    args: &ValidateArgs,
) -> Result<Report, Failure> {
    let compiled = compile(cluster, stack).await?;
    let way = Way { stores: &args.stores, files: &FileArgs::default(), opens_files: false, overwrites_managed: false };
    let mut rows = verify::ask(&compiled, way).await;
    if let Some(component) = component {
        rows = rows::effective(&stack.spec, component, rows);
    }
    let targets = compiled.plan.targets.iter().filter_map(|target| {
        let concerns = component.is_none_or(|component| target.component == component);
        target.problem.as_ref().filter(|_| concerns).map(|problem| (target.name.as_str(), problem))
    });
    Ok(verdict::of_stores(stack, rows, compiled.plan.blocked.as_ref(), targets))
}

async fn by_status(
    cluster: &Cluster,
    stack: Stack,
    component: Option<&str>,
    args: &ValidateArgs,
    printer: &mut Printer,
) -> Result<Report, Failure> {
    let suspended = |stack: &Stack| {
        let hint = "set spec.suspend to false, or ask the stores with --verify";
        Report::undetermined(stack, "suspended: nothing is read, so nothing is known", hint)
    };
    if is_suspended(&stack) {
        return Ok(suspended(&stack));
    }
    let requested = if args.refresh { Some(current::request_sync(cluster, &stack.name_any()).await?) } else { None };
    match current::wait(cluster, stack, requested.as_ref(), args.timeout, printer).await? {
        current::Waited::Current(stack) if is_suspended(&stack) => Ok(suspended(&stack)),
        current::Waited::Current(stack) => Ok(verdict::of_status(&stack, component)),
        current::Waited::NotYet { stack, why } => Ok(Report::undetermined(
            &stack,
            &format!("{why} within {}s", args.timeout.as_secs()),
            "is the operator running? --timeout waits longer, --verify asks the stores instead",
        )),
    }
}

fn is_suspended(stack: &Stack) -> bool {
    stack.spec.suspend == Some(true)
}

fn print(report: &Report, output: Output, printer: &mut Printer) {
    if output == Output::Json {
        printer.json(report);
        return;
    }
    for problem in &report.stack_problems {
        printer.line(&format!("{}: {}", problem.reason, problem.message));
    }
    for row in &report.offending {
        printer.line(&format!("{}: {}: {}", state_word(row.status), place_and_name(row), why(row)));
    }
    for row in &report.optional {
        printer.warning(&format!("optional, {}: {}: {}", state_word(row.status), place_and_name(row), why(row)));
    }
    for note in &report.notes {
        printer.warning(note);
    }
    printer.line(&report.summary());
    if let Some(hint) = &report.hint {
        printer.info(&format!("hint: {hint}"));
    }
}

/// `Stack <namespace>/<name>`, with the Atmos name where it differs.
fn title(stack: &Stack) -> String {
    let name = full_name(stack);
    let atmos = atmos_stack(stack);
    if atmos == stack.name_any() { format!("Stack {name}") } else { format!("Stack {name} ({atmos})") }
}
