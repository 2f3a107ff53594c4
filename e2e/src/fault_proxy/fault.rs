//! What can be done to a request, to which ones, and how often it was done.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use http::header::HeaderName;

/// What the proxy does to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Passes it on after this time.
    Delay(Duration),
    /// Never answers it, and never passes it on. The connection stays open.
    Stall,
    /// Passes it on, then resets the connection after the head and this many bytes of the answer's body.
    Cut {
        /// 0 cuts right after the head.
        after_bytes: usize,
    },
    /// Passes it on, waits for the complete answer, then resets the connection instead of passing that back.
    DropAnswer,
    /// Answers it without passing it on.
    Answer {
        /// HTTP status.
        code: u16,
        /// Seconds for the header `Retry-After`.
        retry_after: Option<u64>,
        /// Default: a Kubernetes `Status` that fits the code.
        body: Option<String>,
    },
}

impl Fault {
    /// Answers with this HTTP status and a Kubernetes `Status` as body.
    #[must_use]
    pub fn answer(code: u16) -> Self {
        Self::Answer { code, retry_after: None, body: None }
    }

    /// Answers 429 as an overloaded API server does.
    #[must_use]
    pub fn too_many_requests(retry_after: Option<u64>) -> Self {
        Self::Answer { code: 429, retry_after, body: None }
    }
}

/// Which requests a fault is for.
#[derive(Debug, Clone, Default)]
pub struct Matching {
    method: Option<String>,
    path: Vec<String>,
    headers: Vec<(HeaderName, String)>,
    times: Option<usize>,
}

impl Matching {
    /// All requests.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// Only those with this method, for example `PUT`.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Only those whose path and query contain this, for example `/secrets/` or `watch=true`; given twice, both.
    #[must_use]
    pub fn path(mut self, part: &str) -> Self {
        self.path.push(part.to_owned());
        self
    }

    /// Only those in which this header contains this, for example `x-amz-target` and `GetSecretValue`.
    #[must_use]
    pub fn header(mut self, name: HeaderName, part: &str) -> Self {
        self.headers.push((name, part.to_owned()));
        self
    }

    /// Only the next so many of them.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = Some(times);
        self
    }

    fn fits(&self, method: &str, path: &str, headers: &HeaderMap) -> bool {
        let has = |(name, part): &(HeaderName, String)| {
            headers.get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains(part))
        };
        self.method.as_deref().is_none_or(|wanted| wanted == method)
            && self.path.iter().all(|part| path.contains(part))
            && self.headers.iter().all(has)
    }
}

/// An injected fault. Dropping this leaves the fault in force.
#[derive(Debug, Clone)]
pub struct Injected {
    rule: Arc<Rule>,
    rules: Rules,
}

impl Injected {
    /// How many requests it was done to so far.
    #[must_use]
    pub fn hits(&self) -> usize {
        self.rule.hits.load(Ordering::SeqCst)
    }

    /// Takes it away; the other faults stay.
    pub fn remove(&self) {
        self.rules.lock().rules.retain(|rule| !Arc::ptr_eq(rule, &self.rule));
    }
}

/// How many requests met which fate since the proxy started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "named like the faults")]
pub struct Counts {
    /// Passed on untouched.
    pub passed: usize,
    pub delayed: usize,
    pub stalled: usize,
    pub cut: usize,
    pub answer_dropped: usize,
    pub answered: usize,
}

#[derive(Debug)]
struct Rule {
    fault: Fault,
    matching: Matching,
    hits: AtomicUsize,
}

/// The faults in force; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    rules: Vec<Arc<Rule>>,
    counts: Counts,
}

impl Rules {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panicked while it held the lock has left nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn inject(&self, fault: Fault, matching: Matching) -> Injected {
        let rule = Arc::new(Rule { fault, matching, hits: AtomicUsize::new(0) });
        self.lock().rules.push(Arc::clone(&rule));
        Injected { rule, rules: self.clone() }
    }

    pub(super) fn clear(&self) {
        self.lock().rules.clear();
    }

    pub(super) fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// Decides on one request and counts it. `None`: pass it on.
    pub(super) fn decide(&self, method: &str, path: &str, headers: &HeaderMap) -> Option<Fault> {
        let mut state = self.lock();
        let State { rules, counts } = &mut *state;
        let position = rules.iter().rposition(|rule| rule.matching.fits(method, path, headers));
        let Some(rule) = position.and_then(|position| rules.get(position).cloned()) else {
            counts.passed += 1;
            return None;
        };
        let hits = rule.hits.fetch_add(1, Ordering::SeqCst) + 1;
        if rule.matching.times.is_some_and(|times| hits >= times) {
            rules.retain(|other| !Arc::ptr_eq(other, &rule));
        }
        match &rule.fault {
            Fault::Delay(_) => counts.delayed += 1,
            Fault::Stall => counts.stalled += 1,
            Fault::Cut { .. } => counts.cut += 1,
            Fault::DropAnswer => counts.answer_dropped += 1,
            Fault::Answer { .. } => counts.answered += 1,
        }
        Some(rule.fault.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_fitting_fault_wins_and_ends_after_its_times() {
        let rules = Rules::default();
        let all = rules.inject(Fault::Stall, Matching::any());
        let few = rules.inject(Fault::answer(409), Matching::any().method("PUT").path("/secrets/").times(2));
        assert_eq!(rules.decide("PUT", "/api/v1/namespaces/a/secrets/b", &HeaderMap::new()), Some(Fault::answer(409)));
        assert_eq!(rules.decide("GET", "/api/v1/namespaces/a/secrets/b", &HeaderMap::new()), Some(Fault::Stall));
        assert_eq!(rules.decide("PUT", "/api/v1/namespaces/a/secrets/b", &HeaderMap::new()), Some(Fault::answer(409)));
        assert_eq!(rules.decide("PUT", "/api/v1/namespaces/a/secrets/b", &HeaderMap::new()), Some(Fault::Stall));
        assert_eq!((all.hits(), few.hits()), (2, 2));
        all.remove();
        assert_eq!(rules.decide("GET", "/", &HeaderMap::new()), None);
        assert_eq!(rules.counts(), Counts { passed: 1, stalled: 2, answered: 2, ..Counts::default() });
    }

    #[test]
    fn all_parts_of_the_path_must_be_there() {
        let matching = Matching::any().path("/secrets").path("watch=true");
        assert!(matching.fits("GET", "/api/v1/secrets?watch=true", &HeaderMap::new()));
        assert!(!matching.fits("GET", "/api/v1/secrets", &HeaderMap::new()));
        assert!(!matching.fits("GET", "/api/v1/configmaps?watch=true", &HeaderMap::new()));
    }

    #[test]
    fn all_headers_must_have_their_parts() {
        let target = HeaderName::from_static("x-amz-target");
        let matching = Matching::any().header(target.clone(), "GetSecretValue");
        let with =
            |value: &'static str| HeaderMap::from_iter([(target.clone(), http::HeaderValue::from_static(value))]);
        assert!(matching.fits("POST", "/", &with("secretsmanager.GetSecretValue")));
        assert!(!matching.fits("POST", "/", &with("secretsmanager.DescribeSecret")));
        assert!(!matching.fits("POST", "/", &HeaderMap::new()));
    }
}
