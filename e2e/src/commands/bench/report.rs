//! What one run measured, and what it means.

use std::collections::BTreeMap;

use serde::Serialize;

/// Everything that one run measured. As JSON it is what `--json` writes.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// Of the machine; the servers and the writers of the benchmark share them with the operator.
    pub(super) processors: usize,
    /// Without any Stack.
    pub(super) idle_memory: Memory,
    pub(super) cold: Vec<Cold>,
    pub(super) quiet: Option<Quiet>,
    pub(super) latency: Option<Latency>,
    pub(super) stores: Vec<StoreRefresh>,
    pub(super) neighbours: Option<Neighbours>,
    pub(super) decrypt: Option<Decrypt>,
    pub(super) resync: Option<Resync>,
}

/// A cold sync.
#[derive(Debug, Default, Serialize)]
pub(super) struct Cold {
    pub(super) stacks: usize,
    /// Seconds that the same writes took without the operator, before and after.
    pub(super) floors: Vec<f64>,
    pub(super) seconds: f64,
    pub(super) processor_seconds: f64,
    pub(super) memory: Memory,
    pub(super) requests: Requests,
}

/// Memory of a process, in KiB (`VmRSS` and `RssAnon` of proc(5)).
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Memory {
    /// All of it, with the pages of the program's file that were touched.
    pub(super) resident: u64,
    /// Heap and stacks.
    pub(super) anonymous: u64,
}

/// Requests to the API server.
#[derive(Debug, Default, Serialize)]
pub(super) struct Requests {
    pub(super) total: u64,
    /// Those that store something.
    pub(super) writes: u64,
    /// Reviews of the operator's own rights: POSTs that store nothing.
    pub(super) questions: u64,
    pub(super) by_kind: BTreeMap<String, u64>,
}

/// Refreshes without a change.
#[derive(Debug, Default, Serialize)]
pub(super) struct Quiet {
    pub(super) watched_stacks: usize,
    pub(super) polled_stacks: usize,
    pub(super) rounds: u32,
    pub(super) processor_seconds: f64,
    pub(super) requests: Requests,
}

/// Edits.
#[derive(Debug, Default, Serialize)]
pub(super) struct Latency {
    pub(super) edits: usize,
    pub(super) mean_milliseconds: f64,
    pub(super) p50_milliseconds: f64,
    pub(super) p99_milliseconds: f64,
}

/// A refresh of a store outside the cluster that finds nothing changed.
#[derive(Debug, Default, Serialize)]
pub(super) struct StoreRefresh {
    /// The field of the Store's spec.
    pub(super) store: String,
    pub(super) stacks: usize,
    /// Distinct ones.
    pub(super) keys: usize,
    pub(super) keys_in_one_call: usize,
    /// Reads of values.
    pub(super) calls: usize,
    /// The pace that was allowed.
    pub(super) calls_per_second: u32,
    /// Of one call, added.
    pub(super) latency_milliseconds: f64,
    /// From the first call to the last answer.
    pub(super) seconds: f64,
}

/// Edits beside a store that hangs.
#[derive(Debug, Default, Serialize)]
pub(super) struct Neighbours {
    /// Syncs that waited for that store all the time.
    pub(super) waiting: usize,
    /// Heap that each of them takes, in KiB.
    pub(super) memory_of_one: f64,
    pub(super) edits: usize,
    /// Before and after.
    pub(super) undisturbed: Vec<Latency>,
    pub(super) hung: Latency,
}

/// How long something took that was done again and again.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Timing {
    pub(super) repetitions: usize,
    pub(super) least_milliseconds: f64,
    pub(super) median_milliseconds: f64,
    pub(super) most_milliseconds: f64,
}

/// Decryption of one SOPS file.
#[derive(Debug, Default, Serialize)]
pub(super) struct Decrypt {
    pub(super) values: usize,
    /// Of the file.
    pub(super) bytes: u64,
    /// The real `sops`, as a process.
    pub(super) process: Timing,
    /// A process of it that does nothing.
    pub(super) start: Timing,
    /// One call of the library, from the identity and the file in memory.
    pub(super) library: Timing,
    /// One that is given the data key.
    pub(super) data_key_at_hand: Timing,
}

/// One value of a SOPS file changes that all Stacks want.
#[derive(Debug, Default, Serialize)]
pub(super) struct Resync {
    pub(super) stacks: usize,
    /// In the file.
    pub(super) values: usize,
    /// Seconds that the same writes took without the operator, before and after.
    pub(super) floors: Vec<f64>,
    /// From the change of the file until the last write was answered.
    pub(super) seconds: f64,
    pub(super) processor_seconds: f64,
    /// Of the file that changed.
    pub(super) decryptions: u64,
    pub(super) requests: Requests,
}

impl Timing {
    /// Of the seconds that each repetition took.
    pub(super) fn of(seconds: &[f64]) -> Self {
        Self {
            repetitions: seconds.len(),
            least_milliseconds: least(seconds) * 1000.0,
            median_milliseconds: median(seconds) * 1000.0,
            most_milliseconds: most(seconds) * 1000.0,
        }
    }
}

impl Decrypt {
    /// What `sops` takes after it has started, in milliseconds, if that can be told apart.
    pub(super) fn without_start(&self) -> f64 {
        (self.process.median_milliseconds - self.start.median_milliseconds).max(0.0)
    }

    /// How many calls of the library one process takes.
    pub(super) fn ratio(&self) -> f64 {
        self.process.median_milliseconds / self.library.median_milliseconds
    }

    /// The same for what the process does after it has started.
    pub(super) fn ratio_without_start(&self) -> f64 {
        self.without_start() / self.library.median_milliseconds
    }
}

impl StoreRefresh {
    /// The fewest calls that so many keys can be read with.
    pub(super) fn fewest_calls(&self) -> usize {
        self.keys.div_ceil(self.keys_in_one_call.max(1))
    }
}

impl Neighbours {
    /// The mean time of an edit that nothing disturbs, in milliseconds.
    pub(super) fn undisturbed_milliseconds(&self) -> f64 {
        let sum: f64 = self.undisturbed.iter().map(|latency| latency.mean_milliseconds).sum();
        sum / self.undisturbed.len().max(1) as f64
    }

    /// How much longer edits take beside the store that hangs.
    pub(super) fn ratio(&self) -> f64 {
        self.hung.mean_milliseconds / self.undisturbed_milliseconds()
    }
}

impl Report {
    /// Nothing is measured yet.
    pub(super) fn of_this_machine() -> Self {
        let processors = std::thread::available_parallelism().map_or(0, usize::from);
        Self { processors, ..Self::default() }
    }

    /// KiB of resident memory for one more Stack: the slope of the straight line that fits best through all counts,
    /// none included.
    pub(super) fn memory_per_stack(&self) -> Option<f64> {
        let mut points = vec![(0.0, self.idle_memory.resident as f64)];
        points.extend(self.cold.iter().map(|cold| (cold.stacks as f64, cold.memory.resident as f64)));
        slope(&points)
    }
}

/// The middle one; of an even number, what is between the two in the middle.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or_default();
    let half = values.len() / 2;
    if values.len() % 2 == 1 { at(half) } else { f64::midpoint(at(half.saturating_sub(1)), at(half)) }
}

/// By how much floors differ, as a share of the median.
pub(super) fn noise(floors: &[f64]) -> f64 {
    (most(floors) - least(floors)) / median(floors)
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().reduce(f64::min).unwrap_or_default()
}

fn most(values: &[f64]) -> f64 {
    values.iter().copied().reduce(f64::max).unwrap_or_default()
}

/// Of the least squares; `None` if all lie at one place.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
    let along = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>();
    let across = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum::<f64>();
    (across > 0.0).then(|| along / across)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_that_of_the_line() {
        assert_eq!(slope(&[(0.0, 10.0), (500.0, 1010.0), (5000.0, 10010.0)]), Some(2.0));
        assert_eq!(slope(&[(0.0, 0.0), (1.0, 1.0), (2.0, 0.0)]), Some(0.0));
        assert_eq!(slope(&[(3.0, 1.0)]), None);
    }

    #[test]
    fn neighbours_are_set_against_what_was_before_and_after() {
        let latency = |mean_milliseconds| Latency { mean_milliseconds, ..Latency::default() };
        let undisturbed = vec![latency(8.0), latency(12.0)];
        let neighbours = Neighbours { undisturbed, hung: latency(11.0), ..Neighbours::default() };
        assert_eq!(neighbours.ratio(), 1.1);
    }

    #[test]
    fn the_floor_is_the_median() {
        assert_eq!(median(&[1.0, 3.0]), 2.0);
        assert_eq!(median(&[9.0, 1.0, 3.0]), 3.0);
        assert_eq!(noise(&[1.0, 3.0]), 1.0);
    }

    #[test]
    fn a_start_counts_as_time_of_the_process_alone() {
        let timing = |milliseconds: f64| Timing::of(&[milliseconds / 1000.0]);
        let (process, start, library) = (timing(60.0), timing(20.0), timing(2.0));
        let decrypt = Decrypt { process, start, library, ..Decrypt::default() };
        assert_eq!((decrypt.ratio(), decrypt.without_start(), decrypt.ratio_without_start()), (30.0, 40.0, 20.0));
        let noisy = Decrypt { process: start, start: process, library, ..Decrypt::default() };
        assert_eq!(noisy.ratio_without_start(), 0.0);
    }

    #[test]
    fn a_timing_shows_its_spread() {
        let Timing { repetitions, least_milliseconds, median_milliseconds, most_milliseconds } =
            Timing::of(&[0.5, 0.125, 0.25]);
        assert_eq!((repetitions, least_milliseconds, median_milliseconds, most_milliseconds), (3, 125.0, 250.0, 500.0));
    }
}
