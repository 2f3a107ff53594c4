//! What the versions that a declaration exposes mean for its entry in the status: they have none of their own.

use crate::api::status::SecretState;
use crate::model::{Exposure, Finding, Plan, Problem};

/// The state of the first exposed version that is not as it should be, and why; `None` if all are.
///
/// An optional version that the store does not have is as it should be. A passing error that the last good read covers
/// changes nothing, as for the declaration itself.
pub(super) fn trouble(
    plan: &Plan,
    findings: &[Finding],
    covered: &[bool],
    declaration: usize,
) -> Option<(SecretState, Option<Problem>)> {
    let behind = plan.secrets.iter().zip(findings).zip(covered).skip(declaration + 1);
    let exposed = behind.map_while(|((secret, finding), covered)| {
        secret.exposure.as_ref().map(|exposure| (secret, exposure, finding, *covered))
    });
    exposed.filter(|(_, exposure, ..)| exposure.of == declaration).find_map(|(secret, exposure, finding, covered)| {
        let told = |problem: &Problem| {
            let Exposure { of: _, version, optional: _ } = exposure;
            let message = format!("version {version} for key {}: {}", secret.name, problem.message);
            Some(Problem::new(problem.reason, message).stalled_if(problem.stalled))
        };
        match finding {
            Finding::Initialized { .. } => None,
            Finding::Missing(problem) => secret.required.then(|| (SecretState::Missing, told(problem))),
            Finding::Error { transient: true, .. } if covered => None,
            Finding::Error { problem, transient: _ } => Some((SecretState::Error, told(problem))),
            Finding::Unknown => Some((SecretState::Unknown, None)),
        }
    })
}
