//! The figures, beside what they should be. A goal that is missed is printed as missed.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::print;

/// Everything that one run measured.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) idle_memory: u64,
    pub(super) floors: Vec<Floor>,
    pub(super) cold: Vec<Cold>,
    pub(super) quiet: Option<Quiet>,
    pub(super) latency: Option<Latency>,
}

/// What the API server can do.
#[derive(Debug, Serialize)]
pub(super) struct Floor {
    pub(super) stacks: usize,
    pub(super) seconds: f64,
}

/// A cold sync.
#[derive(Debug, Serialize)]
pub(super) struct Cold {
    pub(super) stacks: usize,
    pub(super) seconds: f64,
    pub(super) processor_seconds: f64,
    /// KiB.
    pub(super) memory: u64,
    pub(super) requests: Requests,
}

/// Requests to the API server.
#[derive(Debug, Default, Serialize)]
pub(super) struct Requests {
    pub(super) total: u64,
    pub(super) writes: u64,
    pub(super) by_kind: BTreeMap<String, u64>,
}

/// Refreshes without a change.
#[derive(Debug, Serialize)]
pub(super) struct Quiet {
    pub(super) watched_stacks: usize,
    pub(super) polled_stacks: usize,
    pub(super) rounds: u32,
    pub(super) requests: Requests,
}

/// Edits.
#[derive(Debug, Serialize)]
pub(super) struct Latency {
    pub(super) edits: usize,
    pub(super) p50_milliseconds: f64,
    pub(super) p99_milliseconds: f64,
}

/// Goals of this milestone.
mod goal {
    /// Cold sync against the floor.
    pub(super) const COLD_RATIO: f64 = 1.5;
    /// KiB.
    pub(super) const IDLE_MEMORY: f64 = 25.0 * 1024.0;
    /// KiB for each Stack.
    pub(super) const MEMORY_PER_STACK: f64 = 4.0;
    /// Milliseconds.
    pub(super) const P99: f64 = 250.0;
}

impl Report {
    /// As a table, on standard output.
    pub(super) fn print(&self) {
        let row = |what: &str, figure: &str, goal: &str, met: Option<bool>| {
            let met = match met {
                Some(true) => "met",
                Some(false) => "MISSED",
                None => "",
            };
            print(format_args!("{what:<52} {figure:>16}   {goal:<12} {met}"));
        };
        row("figure", "measured", "goal", None);
        for (floor, cold) in self.floors.iter().zip(&self.cold) {
            let Cold { stacks, seconds, processor_seconds, memory, requests } = cold;
            let writes = (2 * floor.stacks) as f64 / floor.seconds;
            row(&format!("floor, {stacks} Secrets and statuses"), &format!("{:.2} s", floor.seconds), "", None);
            row("floor, writes a second on 64 connections", &format!("{writes:.0}"), "", None);
            row(&format!("cold sync of {stacks} Stacks"), &format!("{seconds:.2} s"), "", None);
            let ratio = seconds / floor.seconds;
            row("cold sync ÷ floor", &format!("{ratio:.2}"), "≤ 1.5", Some(ratio <= goal::COLD_RATIO));
            row("requests for each Stack", &format!("{:.2}", requests.total as f64 / *stacks as f64), "", None);
            row("processor time of the operator", &format!("{processor_seconds:.2} s"), "", None);
            row("resident memory", &format!("{:.1} MiB", *memory as f64 / 1024.0), "", None);
            let each = (*memory as f64 - self.idle_memory as f64) / *stacks as f64;
            row(
                "resident memory for each Stack",
                &format!("{each:.2} KiB"),
                "≤ 4 KiB",
                Some(each <= goal::MEMORY_PER_STACK),
            );
        }
        let idle = self.idle_memory as f64;
        row(
            "resident memory without Stacks",
            &format!("{:.1} MiB", idle / 1024.0),
            "≤ 25 MiB",
            Some(idle <= goal::IDLE_MEMORY),
        );
        if let Some(Quiet { watched_stacks, polled_stacks, rounds, requests }) = &self.quiet {
            let refreshes = *polled_stacks as f64 * f64::from(*rounds);
            let per_thousand = |count: u64| count as f64 * 1000.0 / refreshes;
            row(
                &format!("writes in {rounds} refreshes of {polled_stacks} polled, {watched_stacks} watched"),
                &requests.writes.to_string(),
                "0",
                Some(requests.writes == 0),
            );
            row(
                "requests for 1,000 unchanged polled refreshes",
                &format!("{:.0}", per_thousand(requests.total)),
                "",
                None,
            );
            for (what, count) in &requests.by_kind {
                row(&format!("  {what}"), &format!("{:.0}", per_thousand(*count)), "", None);
            }
        }
        if let Some(Latency { edits, p50_milliseconds, p99_milliseconds }) = &self.latency {
            row(&format!("edit to Secret, {edits} edits, p50"), &format!("{p50_milliseconds:.0} ms"), "", None);
            row(
                "edit to Secret, p99",
                &format!("{p99_milliseconds:.0} ms"),
                "≤ 250 ms",
                Some(*p99_milliseconds <= goal::P99),
            );
        }
    }
}
