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
    pub(super) p50_milliseconds: f64,
    pub(super) p99_milliseconds: f64,
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
    fn the_floor_is_the_median() {
        let cold = |floors: &[f64]| Cold { floors: floors.to_vec(), ..Cold::default() };
        assert_eq!(cold(&[1.0, 3.0]).floor(), 2.0);
        assert_eq!(cold(&[9.0, 1.0, 3.0]).floor(), 3.0);
        assert_eq!(cold(&[1.0, 3.0]).noise(), 1.0);
    }
}
