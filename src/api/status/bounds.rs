//! Keeps the status of a large Stack small enough to be stored.

use std::io;

use super::StackStatus;

/// The most bytes of JSON that a Stack's status has.
///
/// etcd takes requests of up to 1.5 MiB (`--max-request-bytes`), for spec, status and field owners together. A thousand
/// declarations with a name, a store and a description of usual lengths take a third of a mebibyte with their owners, and
/// a status that explains a thousand failures takes two thirds; the rest is for names that are longer.
pub const LARGEST_STATUS: usize = 800 * 1024;

/// What is left out, the least needed first. Each of it can be found by `kubectl atmos-secret describe` too.
const STEPS: [fn(&mut StackStatus); 5] = [
    |status| status.secrets.iter_mut().for_each(|secret| secret.message = None),
    |status| status.secrets.iter_mut().for_each(|secret| secret.origin.clear()),
    |status| status.targets.iter_mut().for_each(|target| target.message = None),
    |status| status.secrets.iter_mut().for_each(|secret| secret.store.clear()),
    |status| status.secrets.iter_mut().for_each(|secret| secret.backend_key.clear()),
];

impl StackStatus {
    /// Leaves out details, the same of all entries, until the status has at most [`LARGEST_STATUS`] bytes of JSON.
    ///
    /// Conditions, names, states, reasons, versions and times always stay, so that what comes next can be compared with
    /// it. Equal statuses stay equal: nothing is written again because of what is left out.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        for leave_out in STEPS {
            if bytes(&self) <= LARGEST_STATUS {
                break;
            }
            leave_out(&mut self);
        }
        self
    }
}

/// The length of the JSON text.
fn bytes(status: &StackStatus) -> usize {
    let mut counter = Counter(0);
    // Neither the counter nor a status made of texts and numbers can fail; if it did, too long is the safe answer.
    serde_json::to_writer(&mut counter, status).map_or(usize::MAX, |()| counter.0)
}

struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(buffer.len());
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

    use super::*;
    use crate::api::status::{SecretState, SecretStatus};
    use crate::api::{Reason, Scope};

    fn with_lengths(name: usize, message: usize, backend_key: usize) -> StackStatus {
        let entry = |number: usize| SecretStatus {
            component: "terraform/db".to_owned(),
            name: format!("{number:0name$}"),
            state: SecretState::Error,
            reason: Some(Reason::Timeout),
            message: Some("m".repeat(message)),
            required: false,
            scope: Scope::Instance,
            store: "Store/app".to_owned(),
            backend_key: "k".repeat(backend_key),
            version: String::new(),
            rotation: None,
            origin: "component".to_owned(),
            last_changed: None,
        };
        StackStatus { secrets: (0..1000).map(entry).collect(), ..StackStatus::default() }
    }

    #[test]
    fn counts_what_is_written() {
        let status = with_lengths(4, 5, 6);
        assert_eq!(bytes(&status), serde_json::to_vec(&status).unwrap().len());
    }

    #[test]
    fn leaves_a_usual_status_as_it_is() {
        let status = with_lengths(40, 130, 120);
        assert_eq!(status.clone().bounded(), status);
    }

    #[test]
    fn leaves_out_no_more_than_it_must() {
        let status = with_lengths(40, 600, 120).bounded();
        assert_eq!((&status.secrets[0].message, status.secrets[0].origin.as_str()), (&None, "component"));
        assert_eq!(status.secrets[0].backend_key.len(), 120);

        let status = with_lengths(40, 600, 1024).bounded();
        assert_eq!((status.secrets[0].origin.as_str(), status.secrets[0].backend_key.as_str()), ("", ""));
        assert_eq!((status.secrets[0].reason, status.secrets[0].name.len()), (Some(Reason::Timeout), 40));
        assert!(bytes(&status) <= LARGEST_STATUS);
        assert_eq!(status.clone().bounded(), status);
    }
}
