//! Every metric family. Labels are closed sets of words; no name of a Stack, a Secret or a key is a label.

use std::time::Duration;

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

/// Seconds, from an unchanged sync (microseconds of work, one GET) to a store that hangs until its deadline.
const SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// What is counted only when somebody looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Stacks in the user lane.
    pub user: usize,
    /// Stacks in the background lane.
    pub background: usize,
    /// Stacks that wait for a time.
    pub delayed: usize,
    /// Stacks that are worked on.
    pub running: usize,
    /// Stacks whose sync waits for a store outside the cluster.
    pub waiting: usize,
    /// Stacks in the cluster.
    pub stacks: usize,
    /// Distinct keys of stores in use.
    pub keys: usize,
}

/// The metrics of one process.
pub struct Metrics {
    registry: Registry,
    syncs: IntCounterVec,
    sync_seconds: HistogramVec,
    panics: IntCounter,
    store_calls: IntCounterVec,
    store_call_seconds: Histogram,
    queue: IntGaugeVec,
    stacks: IntGauge,
    keys: IntGauge,
}

impl Metrics {
    /// All families, registered and at zero.
    ///
    /// # Errors
    /// Two families have one name, which a test excludes.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let syncs = IntCounterVec::new(
            Opts::new("atmos_secrets_syncs_total", "Syncs of Stacks by lane and result (ok, retry, panic)."),
            &["lane", "result"],
        )?;
        let sync_seconds = HistogramVec::new(
            HistogramOpts::new("atmos_secrets_sync_seconds", "Duration of one sync of a Stack in seconds.")
                .buckets(SECONDS.to_vec()),
            &["lane"],
        )?;
        let panics = IntCounter::new("atmos_secrets_panics_total", "Panics that were contained. Each is a defect.")?;
        let store_calls = IntCounterVec::new(
            Opts::new("atmos_secrets_store_calls_total", "Calls to stores by operation and outcome."),
            &["operation", "outcome"],
        )?;
        let store_call_seconds = Histogram::with_opts(
            HistogramOpts::new("atmos_secrets_store_call_seconds", "Duration of one call to a store in seconds.")
                .buckets(SECONDS.to_vec()),
        )?;
        let queue = IntGaugeVec::new(
            Opts::new(
                "atmos_secrets_queue",
                "Stacks in the work queue by place (user, background, delayed, running, waiting).",
            ),
            &["place"],
        )?;
        let stacks = IntGauge::new("atmos_secrets_stacks", "Stacks in the cluster.")?;
        let keys = IntGauge::new("atmos_secrets_store_keys", "Distinct keys of stores in use.")?;
        registry.register(Box::new(syncs.clone()))?;
        registry.register(Box::new(sync_seconds.clone()))?;
        registry.register(Box::new(panics.clone()))?;
        registry.register(Box::new(store_calls.clone()))?;
        registry.register(Box::new(store_call_seconds.clone()))?;
        registry.register(Box::new(queue.clone()))?;
        registry.register(Box::new(stacks.clone()))?;
        registry.register(Box::new(keys.clone()))?;
        Ok(Self { registry, syncs, sync_seconds, panics, store_calls, store_call_seconds, queue, stacks, keys })
    }

    /// One sync of a Stack ended.
    pub fn synced(&self, lane: &'static str, result: &'static str, duration: Duration) {
        self.syncs.with_label_values(&[lane, result]).inc();
        self.sync_seconds.with_label_values(&[lane]).observe(duration.as_secs_f64());
    }

    /// One call to a store ended.
    pub fn store_called(&self, operation: &'static str, outcome: &'static str, duration: Duration) {
        self.store_calls.with_label_values(&[operation, outcome]).inc();
        self.store_call_seconds.observe(duration.as_secs_f64());
    }

    /// A panic was contained.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// The text format of all families, with the gauges as given.
    ///
    /// # Errors
    /// The encoder failed, which it does only on a broken writer.
    pub fn render(&self, gauges: &Gauges) -> Result<Vec<u8>, prometheus::Error> {
        let Gauges { user, background, delayed, running, waiting, stacks, keys } = *gauges;
        for (place, count) in [
            ("user", user),
            ("background", background),
            ("delayed", delayed),
            ("running", running),
            ("waiting", waiting),
        ] {
            self.queue.with_label_values(&[place]).set(gauge(count));
        }
        self.stacks.set(gauge(stacks));
        self.keys.set(gauge(keys));
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn families_register_and_render() {
        let metrics = Metrics::new().unwrap();
        metrics.synced("user", "ok", Duration::from_millis(3));
        metrics.store_called("read", "ok", Duration::from_millis(1));
        metrics.panicked();
        let gauges = Gauges { user: 1, background: 2, delayed: 3, running: 4, waiting: 7, stacks: 5, keys: 6 };
        let text = String::from_utf8(metrics.render(&gauges).unwrap()).unwrap();
        for line in [
            "atmos_secrets_syncs_total{lane=\"user\",result=\"ok\"} 1",
            "atmos_secrets_panics_total 1",
            "atmos_secrets_store_calls_total{operation=\"read\",outcome=\"ok\"} 1",
            "atmos_secrets_queue{place=\"delayed\"} 3",
            "atmos_secrets_queue{place=\"waiting\"} 7",
            "atmos_secrets_stacks 5",
            "atmos_secrets_store_keys 6",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
