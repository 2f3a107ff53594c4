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

impl Cold {
    /// The median of the floors, in seconds. Of two it is the middle between them.
    pub(super) fn floor(&self) -> f64 {
        let mut floors = self.floors.clone();
        floors.sort_by(f64::total_cmp);
        let at = |index: usize| floors.get(index).copied().unwrap_or_default();
        let half = floors.len() / 2;
        if floors.len() % 2 == 1 { at(half) } else { f64::midpoint(at(half.saturating_sub(1)), at(half)) }
    }

    /// By how much the floors differ, as a share of the median.
    pub(super) fn noise(&self) -> f64 {
        let least = self.floors.iter().copied().reduce(f64::min).unwrap_or_default();
        let most = self.floors.iter().copied().reduce(f64::max).unwrap_or_default();
        (most - least) / self.floor()
    }
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
        let cold = |floors: &[f64]| Cold { floors: floors.to_vec(), ..Cold::default() };
        assert_eq!(cold(&[1.0, 3.0]).floor(), 2.0);
        assert_eq!(cold(&[9.0, 1.0, 3.0]).floor(), 3.0);
        assert_eq!(cold(&[1.0, 3.0]).noise(), 1.0);
    }
}
