//! `e2e bench`: how fast the operator is, against what the API server itself can do in the same run.
//!
//! Times say something about one machine on one day. So each figure is set against a floor that is measured in the same
//! run: the same writes, made by a writer that does nothing else. Calls are counted in the API server's audit log.

mod decrypt;
mod floor;
mod latency;
mod load;
mod operator;
mod outside;
mod quiet;
mod report;
mod responder;
mod resync;
mod sops;
mod table;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use e2e::{ControlPlane, Options};

use self::load::Load;
use self::operator::Operator;
use self::report::{Cold, Report};
use super::{print, say};

/// Measure the operator against the raw floor of the API server
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many Stacks, one run on a fresh control plane each
    #[arg(long, value_delimiter = ',', default_value = "500,5000", value_name = "N,N")]
    stacks: Vec<usize>,
    /// How many keys the largest store outside the cluster has
    #[arg(long, default_value_t = 5000, value_name = "N")]
    keys: usize,
    /// How many values the SOPS file has
    #[arg(long, default_value_t = 1000, value_name = "N")]
    values: usize,
    /// How many Stacks want the value of it that changes
    #[arg(long, default_value_t = 1000, value_name = "N")]
    wanting: usize,
    /// The operator to measure; build it with `cargo build --release`
    #[arg(long, default_value = "target/release/atmos-secrets-operator", value_name = "FILE")]
    operator: PathBuf,
    /// What calls the SOPS library; build it with `cargo build --release --package sops-bench`
    #[arg(long, default_value = "target/release/sops-bench", value_name = "FILE")]
    sops_bench: PathBuf,
    /// Write the figures as JSON too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Put the table into this Markdown file, between its two marks, too
    #[arg(long, value_name = "FILE")]
    document: Option<PathBuf>,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { stacks, keys, values, wanting, operator, sops_bench, json, document } = arguments;
    let program = built(&operator, "cargo build --release")?;
    let sops_bench = built(&sops_bench, "cargo build --release --package sops-bench")?;
    let mut report = Report::of_this_machine();
    for (number, count) in stacks.iter().enumerate() {
        say(format_args!("{count} Stacks: starting a control plane with fsync on"));
        let control_plane = prepared().await?;
        if number == 0 {
            let idle = Operator::start(&control_plane, &program).await?;
            tokio::time::sleep(SETTLE).await;
            report.idle_memory = idle.memory()?;
            idle.stop().await?;
        }
        say(format_args!("{count} Stacks: the floor, 64 connections"));
        let before = floor::creations(&control_plane, "floor-before", *count).await?;
        let mut cold = cold(&control_plane, &program, *count, &mut report, number == 0).await?;
        say(format_args!("{count} Stacks: the floor once more"));
        let after = floor::creations(&control_plane, "floor-after", *count).await?;
        cold.floors = vec![before, after];
        report.cold.push(cold);
    }
    say(format_args!("refreshes of stores outside the cluster, the largest with {keys} keys"));
    let control_plane = prepared().await?;
    report.stores = outside::refreshes(&control_plane, &program, keys).await?;
    drop(control_plane);
    say(format_args!("edits beside a store that hangs"));
    let control_plane = prepared().await?;
    report.neighbours = Some(outside::neighbours(&control_plane, &program).await?);
    drop(control_plane);
    say(format_args!("decryption of a file of {values} values"));
    report.decrypt = Some(decrypt::measure(&sops_bench, values).await?);
    say(format_args!("one value changes that {wanting} Stacks want"));
    let control_plane = prepared().await?;
    report.resync = Some(resync::measure(&control_plane, &program, values, wanting).await?);
    drop(control_plane);
    let table = table::of(&report);
    print(format_args!("{table}"));
    if let Some(file) = json {
        std::fs::write(&file, serde_json::to_string_pretty(&report)?)?;
        say(format_args!("the figures are in {}", file.display()));
    }
    if let Some(file) = document {
        let text = std::fs::read_to_string(&file)?;
        std::fs::write(&file, table::put(&text, &table)?)?;
        say(format_args!("the table is in {}", file.display()));
    }
    Ok(())
}

/// The whole path of a program that somebody has built before.
fn built(program: &Path, with: &str) -> anyhow::Result<PathBuf> {
    let program = std::path::absolute(program)?;
    anyhow::ensure!(program.is_file(), "there is no {}; build it with: {with}", program.display());
    Ok(program)
}

/// How long memory is given to settle before it is read.
const SETTLE: Duration = Duration::from_secs(5);

/// A new control plane with the kinds and the rights.
async fn prepared() -> anyhow::Result<ControlPlane> {
    let options = Options { controller_manager: false, fsync: true, ..Options::default() };
    let control_plane = ControlPlane::start(options).await?;
    load::install(&control_plane).await?;
    Ok(control_plane)
}

/// From the start of the operator to the last Secret and the last status.
async fn cold(
    control_plane: &ControlPlane,
    program: &Path,
    count: usize,
    report: &mut Report,
    with_details: bool,
) -> anyhow::Result<Cold> {
    say(format_args!("{count} Stacks: creating them and their values"));
    let load = Load::create(control_plane, "bench", count, load::Grant::Watch, None).await?;
    say(format_args!("{count} Stacks: cold sync"));
    let mark = control_plane.audit_mark()?;
    let started = Instant::now();
    let operator = Operator::start(control_plane, program).await?;
    let seconds = load.wait_until_ready(control_plane, started).await?;
    let processor = operator.processor_seconds()?;
    tokio::time::sleep(SETTLE).await;
    let memory = operator.memory()?;
    // After the wait, so that a request that comes late is not missed.
    let requests = quiet::count(control_plane, mark)?;
    if with_details {
        say(format_args!("refreshes that find nothing changed"));
        report.quiet = Some(quiet::measure(control_plane, &load, &operator).await?);
        say(format_args!("edits while refreshes run"));
        report.latency = Some(latency::measure(control_plane, &load, "edit").await?);
    }
    operator.stop().await?;
    Ok(Cold { stacks: count, floors: Vec::new(), seconds, processor_seconds: processor, memory, requests })
}
