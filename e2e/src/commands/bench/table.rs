//! The figures as a Markdown table, beside what they should be. A goal that is missed is shown as missed.

use super::report::{
    Cold, Decrypt, Latency, Memory, Neighbours, Quiet, Report, Requests, Resync, StoreRefresh, Timing, median, noise,
};

/// What [`put`] replaces in a document stands between these.
const MARKS: [&str; 2] = ["<!-- figures of make bench -->", "<!-- end of the figures -->"];

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
    /// Edits beside a store that hangs against edits that nothing disturbs.
    pub(super) const NEIGHBOURS: f64 = 1.1;
    /// A process of `sops` against one call of the library.
    pub(super) const DECRYPT: f64 = 20.0;
    /// Writes that a changed file causes against their floor.
    pub(super) const RESYNC_RATIO: f64 = 1.5;
}

/// If the floors of one run differ by more than this, other things ran on the machine.
const NOISE: f64 = 0.2;

/// External Secrets Operator, measured by hand, and not in the run that the table is of.
const OTHER: &str = "\
For comparison, External Secrets Operator 2.9.0. Measured earlier on a machine with 2 processors, with three \
keys for each object, and **not in this run**:

| figure | with its defaults | with 64 workers and 2,000 requests a second |
|---|---:|---:|
| cold sync of 1,000 objects | 103 s | |
| cold sync of 5,000 objects | | 43.6 s (floor of 5,000 Secrets: 12.5 s) |
| requests for an unchanged refresh | 7, of which 1 is a write | 7, of which 1 is a write |
| resident memory at 5,000 objects | | 237 MB |
";

struct Row {
    what: String,
    figure: String,
    goal: String,
    met: Option<bool>,
}

#[derive(Default)]
struct Rows(Vec<Row>);

impl Rows {
    fn fact(&mut self, what: impl Into<String>, figure: impl Into<String>) {
        self.0.push(Row { what: what.into(), figure: figure.into(), goal: String::new(), met: None });
    }

    fn against(&mut self, what: impl Into<String>, figure: impl Into<String>, goal: impl Into<String>, met: bool) {
        self.0.push(Row { what: what.into(), figure: figure.into(), goal: goal.into(), met: Some(met) });
    }
}

/// The table and what has to be said about it.
pub(super) fn of(report: &Report) -> String {
    let Report { processors, idle_memory, cold, quiet, latency, stores, neighbours, decrypt, resync } = report;
    let mut rows = Rows::default();
    rows.fact("processors, shared with the API server, etcd and the writers", processors.to_string());
    for cold in cold {
        cold_rows(&mut rows, cold);
    }
    let met = idle_memory.resident as f64 <= goal::IDLE_MEMORY;
    rows.against("resident memory without Stacks (heap and stacks alone)", shown(*idle_memory), "≤ 25 MiB", met);
    if let Some(slope) = report.memory_per_stack() {
        let met = slope <= goal::MEMORY_PER_STACK;
        rows.against("resident memory for one more Stack", format!("{slope:.2} KiB"), "≤ 4 KiB", met);
    }
    if let Some(quiet) = quiet {
        quiet_rows(&mut rows, quiet);
    }
    if let Some(Latency { edits, mean_milliseconds: _, p50_milliseconds, p99_milliseconds }) = latency {
        rows.fact(format!("edit of a Stack to its Secret, {edits} edits, p50"), format!("{p50_milliseconds:.0} ms"));
        let met = *p99_milliseconds <= goal::P99;
        rows.against("edit of a Stack to its Secret, p99", format!("{p99_milliseconds:.0} ms"), "≤ 250 ms", met);
    }
    for refresh in stores {
        store_rows(&mut rows, refresh);
    }
    if let Some(neighbours) = neighbours {
        neighbour_rows(&mut rows, neighbours);
    }
    if let Some(decrypt) = decrypt {
        decrypt_rows(&mut rows, decrypt);
    }
    if let Some(resync) = resync {
        resync_rows(&mut rows, resync);
    }
    let mut text = markdown(&rows);
    let of_cold = cold.iter().map(|cold| (format!("run with {} Stacks", cold.stacks), noise(&cold.floors)));
    let of_resync = resync.iter().map(|resync| ("run with the changed file".to_owned(), noise(&resync.floors)));
    for (run, noise) in of_cold.chain(of_resync).filter(|(_, noise)| *noise > NOISE) {
        text.push_str(&format!(
            "\nThe two floors of the {run} differ by {:.0} %: something else ran on this machine, and the ratio is worth \
             no more than that.\n",
            noise * 100.0
        ));
    }
    text.push('\n');
    text.push_str(OTHER);
    text
}

fn cold_rows(rows: &mut Rows, cold: &Cold) {
    let Cold { stacks, floors, seconds, processor_seconds, memory, requests } = cold;
    let Requests { total, writes, questions: _, by_kind: _ } = requests;
    let floor = median(floors);
    rows.fact(
        format!("floor: {stacks} Secrets created, {stacks} statuses written, 64 connections, before and after"),
        both(floors),
    );
    rows.fact("floor, writes in a second", format!("{:.0}", (2 * stacks) as f64 / floor));
    rows.fact(format!("cold sync of {stacks} Stacks"), format!("{seconds:.2} s"));
    let ratio = seconds / floor;
    rows.against(
        format!("cold sync of {stacks} Stacks ÷ floor"),
        format!("{ratio:.2}"),
        "≤ 1.5",
        ratio <= goal::COLD_RATIO,
    );
    let each = |count: u64| count as f64 / *stacks as f64;
    rows.fact("requests for each Stack, all", format!("{:.2}", each(*total)));
    rows.fact("requests for each Stack, writes", format!("{:.2}", each(*writes)));
    rows.fact(
        "processor time of the operator for 1,000 Stacks",
        per_thousand_seconds(*processor_seconds, *stacks as f64),
    );
    rows.fact(format!("resident memory at {stacks} Stacks (heap and stacks alone)"), shown(*memory));
}

fn quiet_rows(rows: &mut Rows, quiet: &Quiet) {
    let Quiet { watched_stacks, polled_stacks, rounds, processor_seconds, requests } = quiet;
    let Requests { total: _, writes, questions, by_kind } = requests;
    let refreshes = *polled_stacks as f64 * f64::from(*rounds);
    let per_thousand = |count: u64| format!("{:.0}", count as f64 * 1000.0 / refreshes);
    rows.against(
        format!("writes in {refreshes:.0} unchanged refreshes, beside {watched_stacks} watched Stacks"),
        writes.to_string(),
        "0",
        *writes == 0,
    );
    let reads = by_kind.iter().filter(|(what, _)| ["get", "list", "watch"].iter().any(|verb| what.starts_with(verb)));
    rows.fact(
        "reads for 1,000 unchanged refreshes where only `get` is granted",
        per_thousand(reads.map(|(_, count)| count).sum()),
    );
    rows.fact("questions about rights meanwhile, which store nothing", questions.to_string());
    rows.fact("processor time for 1,000 unchanged refreshes", per_thousand_seconds(*processor_seconds, refreshes));
}

fn store_rows(rows: &mut Rows, refresh: &StoreRefresh) {
    let StoreRefresh { store, stacks, keys, keys_in_one_call, calls, calls_per_second, latency_milliseconds, seconds } =
        refresh;
    let what = format!("one refresh of {keys} keys of {stacks} Stacks, {store}, {calls_per_second} calls a second");
    let fewest = refresh.fewest_calls();
    rows.against(
        format!("reads of values in {what}"),
        calls.to_string(),
        format!("⌈{keys} ÷ {keys_in_one_call}⌉ = {fewest}"),
        *calls == fewest,
    );
    rows.fact(format!("time of it, {latency_milliseconds:.0} ms a call"), format!("{seconds:.2} s"));
}

fn neighbour_rows(rows: &mut Rows, neighbours: &Neighbours) {
    let Neighbours { waiting, memory_of_one, edits, undisturbed: _, hung } = neighbours;
    let undisturbed = neighbours.undisturbed_milliseconds();
    rows.fact(format!("edit of a Stack to its Secret, {edits} edits, mean"), format!("{undisturbed:.1} ms"));
    rows.fact(
        format!("the same while {waiting} syncs wait for a store that hangs (p99)"),
        format!("{:.1} ms ({:.0})", hung.mean_milliseconds, hung.p99_milliseconds),
    );
    rows.fact("heap for one sync that waits", format!("{memory_of_one:.1} KiB"));
    let ratio = neighbours.ratio();
    rows.against(
        "edits beside a store that hangs ÷ undisturbed ones",
        format!("{ratio:.2}"),
        "≤ 1.1",
        ratio <= goal::NEIGHBOURS,
    );
}

fn decrypt_rows(rows: &mut Rows, decrypt: &Decrypt) {
    let Decrypt { values, bytes, process, start, library, data_key_at_hand } = decrypt;
    let kib = *bytes as f64 / 1024.0;
    rows.fact(
        format!("`sops decrypt` of a YAML file of {values} values, {kib:.0} KiB, as a process (fastest)"),
        spread(*process),
    );
    rows.fact("start of such a process that does nothing, `sops --version` (fastest)", spread(*start));
    rows.fact("`sops decrypt` without that start", milliseconds(decrypt.without_start()));
    rows.fact("the same file in the library, age identity and MAC included (fastest)", spread(*library));
    rows.fact("the same with the data key at hand, as under a key service (fastest)", spread(*data_key_at_hand));
    let ratio = decrypt.ratio();
    let met = ratio >= goal::DECRYPT;
    rows.against("`sops decrypt` as a process ÷ the library", format!("{ratio:.1}"), "≥ 20", met);
    rows.fact("`sops decrypt` without its start ÷ the library", format!("{:.1}", decrypt.ratio_without_start()));
}

fn resync_rows(rows: &mut Rows, resync: &Resync) {
    let Resync { stacks, values, floors, seconds, processor_seconds, decryptions, requests } = resync;
    let Requests { total, writes, questions: _, by_kind: _ } = requests;
    rows.fact(
        format!("floor: {stacks} Secrets and {stacks} statuses changed, 64 connections, before and after"),
        both(floors),
    );
    rows.fact(
        format!("one value of a file of {values} changes: {stacks} Stacks synced again"),
        format!("{seconds:.2} s"),
    );
    let ratio = seconds / median(floors);
    let met = ratio <= goal::RESYNC_RATIO;
    rows.against("that sync ÷ floor", format!("{ratio:.2}"), "≤ 1.5", met);
    let each = |count: u64| format!("{:.2}", count as f64 / *stacks as f64);
    rows.fact("requests for each Stack, all", each(*total));
    rows.fact("requests for each Stack, writes", each(*writes));
    rows.fact("reads and decryptions of the file for all of them", decryptions.to_string());
    rows.fact(
        "processor time of the operator for 1,000 Stacks",
        per_thousand_seconds(*processor_seconds, *stacks as f64),
    );
}

fn both(floors: &[f64]) -> String {
    let both: Vec<String> = floors.iter().map(|floor| format!("{floor:.2}")).collect();
    format!("{} s", both.join(" and "))
}

/// The median, and the least in parentheses.
fn spread(timing: Timing) -> String {
    let Timing { repetitions: _, least_milliseconds, median_milliseconds, most_milliseconds: _ } = timing;
    format!("{} ({least_milliseconds:.2})", milliseconds(median_milliseconds))
}

fn milliseconds(milliseconds: f64) -> String {
    format!("{milliseconds:.2} ms")
}

fn shown(memory: Memory) -> String {
    let Memory { resident, anonymous } = memory;
    format!("{:.1} MiB ({:.1})", resident as f64 / 1024.0, anonymous as f64 / 1024.0)
}

fn per_thousand_seconds(seconds: f64, count: f64) -> String {
    format!("{:.2} s", seconds * 1000.0 / count)
}

fn markdown(rows: &Rows) -> String {
    let mut cells = vec![["figure", "measured", "goal", ""].map(str::to_owned)];
    for Row { what, figure, goal, met } in &rows.0 {
        let met = match met {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "",
        };
        cells.push([what.clone(), figure.clone(), goal.clone(), met.to_owned()]);
    }
    let width = |column: usize| {
        cells.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths = [0, 1, 2, 3].map(width);
    let [first, second, third, fourth] = widths;
    let rule = format!(
        "|{}|{}:|{}|{}|\n",
        "-".repeat(first + 2),
        "-".repeat(second + 1),
        "-".repeat(third + 2),
        "-".repeat(fourth + 2)
    );
    let mut text = String::new();
    for (number, [what, figure, goal, met]) in cells.iter().enumerate() {
        text.push_str(&format!("| {what:<first$} | {figure:>second$} | {goal:<third$} | {met:<fourth$} |\n"));
        if number == 0 {
            text.push_str(&rule);
        }
    }
    text
}

/// The document with `table` between its marks.
pub(super) fn put(document: &str, table: &str) -> anyhow::Result<String> {
    let [begin, end] = MARKS;
    let parts = document.split_once(begin).and_then(|(before, rest)| Some((before, rest.split_once(end)?.1)));
    let Some((before, after)) = parts else {
        anyhow::bail!("the document has no place for the table: {begin} and {end}");
    };
    Ok(format!("{before}{begin}\n\n{}\n\n{end}{after}", table.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missed_is_said() {
        let cold = |seconds: f64| Cold { stacks: 500, floors: vec![1.0, 1.0], seconds, ..Cold::default() };
        let report = |seconds: f64, writes: u64| Report {
            cold: vec![cold(seconds)],
            quiet: Some(Quiet {
                polled_stacks: 100,
                rounds: 3,
                requests: Requests { writes, ..Requests::default() },
                ..Quiet::default()
            }),
            latency: Some(Latency { p99_milliseconds: seconds * 100.0, ..Latency::default() }),
            stores: vec![StoreRefresh {
                keys: 41,
                keys_in_one_call: 20,
                calls: 3 + usize::try_from(writes).unwrap_or_default(),
                ..StoreRefresh::default()
            }],
            neighbours: Some(Neighbours {
                undisturbed: vec![Latency { mean_milliseconds: 2.0, ..Latency::default() }],
                hung: Latency { mean_milliseconds: seconds, ..Latency::default() },
                ..Neighbours::default()
            }),
            decrypt: Some(Decrypt {
                process: Timing::of(&[0.06]),
                library: Timing::of(&[seconds * 0.002]),
                ..Decrypt::default()
            }),
            resync: Some(Resync { stacks: 500, floors: vec![1.0, 1.0], seconds, ..Resync::default() }),
            ..Report::default()
        };
        let bad = of(&report(3.0, 1));
        assert_eq!(bad.matches("**missed**").count(), 7, "{bad}");
        let good = of(&report(1.4, 0));
        assert_eq!(good.matches("**missed**").count(), 0, "{good}");
        assert!(!good.contains("something else ran"), "{good}");
    }

    #[test]
    fn noise_is_said() {
        let report =
            Report { cold: vec![Cold { stacks: 5, floors: vec![1.0, 2.0], ..Cold::default() }], ..Report::default() };
        assert!(of(&report).contains("run with 5 Stacks differ by 67 %"), "{}", of(&report));
        let resync = Resync { stacks: 5, floors: vec![2.0, 1.0], ..Resync::default() };
        let report = Report { resync: Some(resync), ..Report::default() };
        assert!(of(&report).contains("run with the changed file differ by 67 %"), "{}", of(&report));
    }

    #[test]
    fn the_start_of_a_process_is_shown_beside_what_it_does() {
        let decrypt = Decrypt {
            values: 1000,
            bytes: 156_972,
            process: Timing::of(&[0.07, 0.06, 0.05]),
            start: Timing::of(&[0.02]),
            library: Timing::of(&[0.002]),
            data_key_at_hand: Timing::of(&[0.001]),
        };
        let table = of(&Report { decrypt: Some(decrypt), ..Report::default() });
        for (what, figure) in [
            ("`sops decrypt` of a YAML file of 1000 values, 153 KiB, as a process (fastest)", "60.00 ms (50.00)"),
            ("`sops --version` (fastest)", "20.00 ms (20.00)"),
            ("`sops decrypt` without that start", "40.00 ms"),
            ("`sops decrypt` as a process ÷ the library", "30.0 | ≥ 20"),
            ("`sops decrypt` without its start ÷ the library", "20.0 |  "),
        ] {
            assert!(table.lines().any(|line| line.contains(what) && line.contains(figure)), "{what}: {table}");
        }
    }

    #[test]
    fn requests_after_a_changed_file_are_those_of_each_stack() {
        let requests = Requests { total: 1750, writes: 1000, ..Requests::default() };
        let resync = Resync { stacks: 500, floors: vec![1.0, 1.0], requests, ..Resync::default() };
        let table = of(&Report { resync: Some(resync), ..Report::default() });
        for (what, figure) in [("Stack, all", " 3.50 |"), ("Stack, writes", " 2.00 |")] {
            assert!(table.lines().any(|line| line.contains(what) && line.contains(figure)), "{what}: {table}");
        }
    }

    #[test]
    fn the_table_replaces_the_one_before() -> anyhow::Result<()> {
        let [begin, end] = MARKS;
        let once = put(&format!("before\n{begin}\nold\n{end}\nafter\n"), "| new |\n")?;
        assert_eq!(once, format!("before\n{begin}\n\n| new |\n\n{end}\nafter\n"));
        assert_eq!(put(&once, "| new |\n")?, once);
        assert!(put("without marks", "").is_err());
        Ok(())
    }
}
