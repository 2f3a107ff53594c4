//! `describe`: all that is known of a Stack, or of one declared secret, but its value.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use serde::Serialize;

use super::context::{Cluster, ClusterArgs, StackArgs, atmos_stack, full_name};
use super::exit::{Exit, Failure};
use super::list::unknown_component;
use super::near;
use super::printer::Printer;
use super::rows::{self, Row, condition, state_word};
use crate::api::status::{PINNED, READY, ROTATION_OVERDUE, RotationStatus, STALLED, TargetStatus};
use crate::api::{Scope, Stack};
use crate::model::{Plan, PlannedSecret};

/// Show what is declared, where it comes from, where its value lives, and its state; never a value
///
/// Without NAME: the Stack, its secrets and its targets. With NAME: that secret, for each component that declares it.
/// Reads only the Stack: no store is asked.
#[derive(Args, Debug)]
pub struct DescribeArgs {
    /// The declared secret
    name: Option<String>,
    #[command(flatten)]
    stack: StackArgs,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
    Yaml,
}

/// A Stack as `describe -o json` prints it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Description<'a> {
    namespace: String,
    name: String,
    stack: String,
    generation: Option<i64>,
    observed_generation: Option<i64>,
    suspended: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ready: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// What is worth knowing and no fault of the Stack, by the type of its condition.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    notes: BTreeMap<&'static str, String>,
    secrets: Vec<Row>,
    targets: &'a [TargetStatus],
    leftover: &'a [String],
}

/// Runs the verb.
///
/// # Errors
/// Access to the cluster; an unknown Stack, component or NAME.
pub async fn run(cluster: &ClusterArgs, args: &DescribeArgs, printer: &mut Printer) -> Result<Exit, Failure> {
    let cluster = Cluster::connect(cluster).await?;
    let stack = cluster.stack(&args.stack, printer).await?;
    let mut rows = rows::known(&stack);
    let mut component = None;
    if let Some(given) = args.stack.component() {
        let full_name = rows::find_component(&stack, given)
            .ok_or_else(|| unknown_component(std::slice::from_ref(&stack), given))?;
        rows = rows::effective(&stack.spec, &full_name, rows);
        component = Some(full_name);
    }
    if let Some(name) = &args.name {
        if !rows.iter().any(|row| row.name == *name) {
            let known = rows.iter().map(|row| row.name.as_str());
            return Err(not_declared(name, &full_name(&stack), component.as_deref(), known));
        }
        rows.retain(|row| row.name == *name);
    }
    let description = describe(&stack, rows);
    match (args.output, &args.name) {
        (Output::Text, None) => text(&description, printer),
        (Output::Text, Some(name)) => secret_text(name, &description, &rows::outline(&stack), printer),
        (Output::Json, None) => printer.json(&description),
        (Output::Json, Some(_)) => printer.json(&description.secrets),
        (Output::Yaml, None) => printer.yaml(&description),
        (Output::Yaml, Some(_)) => printer.yaml(&description.secrets),
    }
    Ok(Exit::Ok)
}

/// The failure for a NAME that is not declared where it was looked for.
pub fn not_declared<'a>(
    name: &str,
    stack: &str,
    component: Option<&str>,
    known: impl Iterator<Item = &'a str>,
) -> Failure {
    let place = match component {
        Some(component) => format!("component {component} of Stack {stack}"),
        None => format!("Stack {stack}"),
    };
    let failure = Failure::usage(format!("NotDeclared: {name} is not declared in {place}"));
    match near::nearest(name, known) {
        Some(near) => failure.hint(format!("did you mean {near}?")),
        None => failure.hint("`kubectl atmos-secret list` shows what is declared"),
    }
}

fn describe(stack: &Stack, secrets: Vec<Row>) -> Description<'_> {
    let status = stack.status.as_ref();
    let shown =
        condition(stack, STALLED).filter(|condition| condition.status == "True").or_else(|| condition(stack, READY));
    let targets = status.map(|status| status.targets.as_slice()).unwrap_or_default();
    Description {
        namespace: stack.namespace().unwrap_or_default(),
        name: stack.name_any(),
        stack: atmos_stack(stack),
        generation: stack.metadata.generation,
        observed_generation: status.and_then(|status| status.observed_generation),
        suspended: stack.spec.suspend == Some(true),
        ready: condition(stack, READY).map(|condition| condition.status.clone()),
        reason: shown.map(|condition| condition.reason.clone()),
        message: shown.map(|condition| condition.message.clone()),
        notes: notes(stack),
        secrets,
        targets,
        leftover: status.map(|status| status.leftover.as_slice()).unwrap_or_default(),
    }
}

fn notes(stack: &Stack) -> BTreeMap<&'static str, String> {
    let is_true = |kind| condition(stack, kind).filter(|condition| condition.status == "True");
    let note = |kind| Some((kind, is_true(kind)?.message.clone()));
    [PINNED, ROTATION_OVERDUE].into_iter().filter_map(note).collect()
}

fn text(description: &Description<'_>, printer: &mut Printer) {
    let Description {
        namespace,
        name,
        stack,
        generation,
        observed_generation,
        suspended,
        ready,
        reason,
        message,
        notes,
        secrets,
        targets,
        leftover,
    } = description;
    field(printer, "Name", name);
    field(printer, "Namespace", namespace);
    field(printer, "Stack", stack);
    let ready = match (ready, reason) {
        (Some(ready), Some(reason)) => format!("{ready} ({reason})"),
        (Some(ready), None) => ready.clone(),
        (None, _) => "Unknown (the operator has not looked at it yet)".to_owned(),
    };
    field(printer, "Ready", &ready);
    if let Some(message) = message.as_deref().filter(|message| !message.is_empty()) {
        field(printer, "Message", message);
    }
    if *suspended {
        field(printer, "Suspended", "yes: nothing is read or written");
    }
    if observed_generation != generation && observed_generation.is_some_and(|observed| observed >= 0) {
        field(printer, "Outdated", "what follows is about an older spec");
    }
    for (kind, message) in notes {
        field(printer, if *kind == PINNED { "Pinned" } else { "Rotation" }, message);
    }
    printer.line("Secrets");
    if secrets.is_empty() {
        printer.line("  none known");
    } else {
        let cells = secrets.iter().map(secret_cells).collect::<Vec<_>>();
        printer.table(&["  COMPONENT", "SECRET", "REQUIRED", "SCOPE", "ORIGIN", "STATUS", "BACKEND KEY"], &cells);
    }
    for row in secrets.iter().filter(|row| row.reason.is_some()) {
        printer.line(&format!("  {}: {}", place_and_name(row), why(row)));
    }
    printer.line("Targets");
    if targets.is_empty() {
        printer.line("  none known");
    } else {
        let cells = targets.iter().map(target_cells).collect::<Vec<_>>();
        printer.table(&["  SECRET", "COMPONENT", "READY", "REASON"], &cells);
    }
    for target in targets.iter() {
        if let Some(message) = &target.message {
            printer.line(&format!("  {}: {message}", target.name));
        }
    }
    if !leftover.is_empty() {
        field(printer, "Leftover", &leftover.join(", "));
    }
}

/// Whether a row is about this declaration.
fn is_of(row: &Row, secret: &PlannedSecret) -> bool {
    secret.exposure.is_none() && secret.component == row.declared_by && secret.name == row.name
}

/// What a target gets of the value, as far as the Stack alone says.
fn shape_text(row: &Row, outline: &Plan, printer: &mut Printer) {
    let Some(index) = outline.secrets.iter().position(|secret| is_of(row, secret)) else { return };
    let Some(secret) = outline.secrets.get(index) else { return };
    if let Some(path) = &secret.path {
        field(printer, "Path", &path.to_string());
    }
    let kinds = secret.transforms.kinds().collect::<Vec<_>>();
    if !kinds.is_empty() {
        field(printer, "Transforms", &kinds.join(", "));
    }
    let exposed = outline.secrets.iter().filter_map(|exposed| {
        let exposure = exposed.exposure.as_ref().filter(|exposure| exposure.of == index)?;
        let optional = if exposure.optional { ", if there is one" } else { "" };
        Some(format!("version {} as {}{optional}", exposure.version, exposed.name))
    });
    let exposed = exposed.collect::<Vec<_>>();
    if !exposed.is_empty() {
        field(printer, "Exposes", &exposed.join("; "));
    }
    if secret.extract.is_some() {
        field(printer, "Extract", "the names of the document become keys");
    }
}

/// The targets that hold a secret; `None` if the Stack alone does not say.
fn targets_of<'a>(outline: &'a Plan, row: &Row) -> Option<Vec<&'a str>> {
    if outline.blocked.is_some() {
        return None;
    }
    let index = outline.secrets.iter().position(|secret| is_of(row, secret))?;
    let holds = outline.targets.iter().filter(|target| target.secrets().any(|entry| entry == index));
    Some(holds.map(|target| target.name.as_str()).collect())
}

fn secret_text(name: &str, description: &Description<'_>, outline: &Plan, printer: &mut Printer) {
    for (index, row) in description.secrets.iter().enumerate() {
        if index > 0 {
            printer.line("");
        }
        field(printer, "Name", name);
        if let Some(text) = &row.description {
            field(printer, "Description", text);
        }
        field(printer, "Namespace", &row.namespace);
        field(printer, "Stack", &row.stack);
        field(printer, "Component", &row.component);
        let shared = match row.scope {
            Scope::Instance => "instance: one value for this component in this stack",
            Scope::Stack => "stack: one value for all components of this stack",
            Scope::Global => "global: one value for all stacks",
        };
        field(printer, "Scope", shared);
        field(printer, "Origin", &row.origin);
        field(printer, "Required", if row.required { "yes" } else { "no" });
        field(printer, "Store", &row.store);
        field(printer, "Backend key", &row.backend_key);
        if !row.version.is_empty() {
            field(printer, "Version", &row.version);
        }
        if let Some(rotation) = &row.rotation {
            field(printer, "Rotation", &rotation_text(rotation));
        }
        shape_text(row, outline, printer);
        field(printer, "Status", state_word(row.status));
        if row.reason.is_some() {
            field(printer, "Reason", &why(row));
        }
        if let Some(time) = row.last_changed {
            field(printer, "Last changed", &time.to_string());
        }
        let Some(targets) = targets_of(outline, row) else { continue };
        let targets = if targets.is_empty() { "none".to_owned() } else { targets.join(", ") };
        field(printer, "Targets", &targets);
    }
}

fn field(printer: &mut Printer, label: &str, text: &str) {
    printer.line(&format!("{:<14}{text}", format!("{label}:")));
}

fn rotation_text(rotation: &RotationStatus) -> String {
    let RotationStatus { last, next, overdue, owner } = rotation;
    let time = |time: &Option<Time>| time.as_ref().map_or("unknown".to_owned(), |time| time.0.to_string());
    let by = owner.as_ref().map(|owner| format!("by {owner}, ")).unwrap_or_default();
    let late = if *overdue { " (overdue)" } else { "" };
    format!("{by}last {}, next {}{late}", time(last), time(next))
}

fn secret_cells(row: &Row) -> Vec<String> {
    vec![
        format!("  {}", row.component),
        row.name.clone(),
        if row.required { "yes" } else { "no" }.to_owned(),
        row.scope.as_str().to_owned(),
        row.origin.clone(),
        state_word(row.status).to_owned(),
        format!("{} {}", row.store, row.backend_key).trim().to_owned(),
    ]
}

fn target_cells(target: &TargetStatus) -> Vec<String> {
    vec![
        format!("  {}", target.name),
        if target.component.is_empty() { rows::ALL.to_owned() } else { target.component.clone() },
        if target.ready { "yes" } else { "no" }.to_owned(),
        target.reason.map_or_else(|| "-".to_owned(), |reason| reason.to_string()),
    ]
}

/// `<component> <NAME>`, or the NAME alone for what is shared.
pub fn place_and_name(row: &Row) -> String {
    if row.declared_by.is_empty() { row.name.clone() } else { format!("{} {}", row.declared_by, row.name) }
}

/// `<Reason>: <message>` as far as both are known.
pub fn why(row: &Row) -> String {
    match (row.reason, &row.message) {
        (Some(reason), Some(message)) => format!("{reason}: {message}"),
        (Some(reason), None) => reason.to_string(),
        (None, Some(message)) => message.clone(),
        (None, None) => "not checked yet".to_owned(),
    }
}
