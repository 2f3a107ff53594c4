//! What a store logs in with: got when the first call needs it, shared, renewed, used to its end, and given up once when
//! it is refused.
//!
//! One [`Keeper`] belongs to one connected store:
//! - It logs in when the first call needs it, and once for all calls that wait: those who come meanwhile share the
//!   outcome, good or bad. A refusal is remembered for [`REMEMBERED`], so that the keys of one refresh ask once.
//! - A credential is renewed after 80 % of its life by this machine's own monotonic clock, so that neither a clock that
//!   jumps nor one that is an hour off makes it log in again and again. While that fails, or takes longer than a call
//!   can wait for it, the one at hand is used to its end.
//! - One that is refused before that is given up once, and the call is made again; not sooner than [`FORCED_PAUSE`] after
//!   the last time, so that no store turns into a storm of logins.

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::backend::network::{Client, Request, Response};
use crate::backend::{Error, ErrorKind};
use crate::value::SecretValue;

/// The share of its life after which a credential is renewed.
const RENEW_AT: f64 = 0.8;
/// The shortest time between two renewals, whatever life an answer promises.
const LEAST_LIFE: Duration = Duration::from_secs(60);
/// The longest life that is believed: what tokens of managed identities have.
const MOST_LIFE: Duration = Duration::from_secs(24 * 3600);
/// How long a credential at hand is used before another try of a renewal that failed.
const RENEWAL_PAUSE: Duration = Duration::from_secs(30);
/// How soon after a login that a refusal forced another one may be forced.
const FORCED_PAUSE: Duration = Duration::from_secs(30);
/// How long a login that was refused is not tried again: the keys of one refresh come within that.
const REMEMBERED: Duration = Duration::from_secs(5);

/// What a login gives.
pub(super) struct Issued<T> {
    pub(super) credential: T,
    /// From when it was asked for. `None`: it has no end that is known, and there is no other.
    pub(super) life: Option<Duration>,
}

/// What is at hand.
#[derive(Clone)]
pub(super) struct Kept<T> {
    pub(super) credential: T,
    /// The login that it is from.
    pub(super) number: u64,
    life: Option<Life>,
}

#[derive(Clone, Copy)]
struct Life {
    renew: Instant,
    end: Instant,
}

/// See the module documentation.
pub(super) struct Keeper<T> {
    /// The longest that calls wait for a renewal.
    patience: Duration,
    state: Mutex<State<T>>,
    /// How many logins have ended, well or not.
    ended: AtomicU64,
}

struct State<T> {
    kept: Option<Kept<T>>,
    /// Why the last login failed, if it did, and when.
    failed: Option<(Error, Instant)>,
    /// When a credential was given up last.
    forced: Option<Instant>,
}

impl<T: Clone> Keeper<T> {
    /// Nothing at hand yet. `call` is the deadline of the calls that need it: a renewal takes half of that at most, so
    /// that a login server which hangs does not make a credential useless that is still good.
    pub(super) fn new(call: Duration) -> Self {
        let state = State { kept: None, failed: None, forced: None };
        Self { patience: call / 2, state: Mutex::new(state), ended: AtomicU64::new(0) }
    }

    /// Whether something is at hand.
    pub(super) async fn has_one(&self) -> bool {
        self.state.lock().await.kept.is_some()
    }

    /// What is at hand, or what `log_in` gives, which is not begun unless it is needed.
    pub(super) async fn get(&self, log_in: impl Future<Output = Result<Issued<T>, Error>>) -> Result<Kept<T>, Error> {
        let ended = self.ended.load(Ordering::SeqCst);
        // Held while logging in, so that there is one login at a time; a caller that is dropped lets the next one try.
        let mut state = self.state.lock().await;
        let began = Instant::now();
        if let Some(kept) = state.kept.as_ref().filter(|kept| kept.life.is_none_or(|life| began < life.renew)) {
            return Ok(kept.clone());
        }
        if let Some((error, at)) = &state.failed {
            let waited = self.ended.load(Ordering::SeqCst) != ended;
            if waited || (!error.kind.is_transient() && at.elapsed() < REMEMBERED) {
                return Err(error.clone());
            }
        }
        let outcome = match &state.kept {
            Some(kept) if kept.is_good() => timeout(self.patience, log_in).await.unwrap_or_else(|_| Err(late())),
            // Nothing to fall back on: it may take as long as the call itself.
            Some(_) | None => log_in.await,
        };
        let number = self.ended.fetch_add(1, Ordering::SeqCst).saturating_add(1);
        state.note(outcome, began, number)
    }

    /// Gives up what was refused. `refused` is the number of the login that it was from, or an older one. `false`: there
    /// is no better one to be had now.
    pub(super) async fn give_up(&self, refused: u64) -> bool {
        let mut state = self.state.lock().await;
        // Somebody who was refused, too, is about to log in, or has learned why that cannot be.
        let Some(kept) = &state.kept else { return true };
        if kept.life.is_none() {
            return false;
        }
        if kept.number != refused {
            return true;
        }
        let now = Instant::now();
        if state.forced.is_some_and(|forced| now.duration_since(forced) < FORCED_PAUSE) {
            return false;
        }
        state.kept = None;
        state.forced = Some(now);
        true
    }
}

impl<T: Clone> Kept<T> {
    fn is_good(&self) -> bool {
        self.life.is_none_or(|life| Instant::now() < life.end)
    }
}

impl<T: Clone> State<T> {
    /// Takes the outcome of a login that began then.
    fn note(&mut self, outcome: Result<Issued<T>, Error>, began: Instant, number: u64) -> Result<Kept<T>, Error> {
        match outcome {
            Ok(Issued { credential, life }) => {
                let life = life.map(|life| life.clamp(LEAST_LIFE, MOST_LIFE));
                let life = life.map(|life| Life { renew: began + life.mul_f64(RENEW_AT), end: began + life });
                let kept = Kept { credential, number, life };
                self.failed = None;
                self.kept = Some(kept.clone());
                Ok(kept)
            }
            Err(error) => {
                let now = Instant::now();
                if let Some(kept) = self.kept.as_mut().filter(|kept| kept.is_good()) {
                    kept.life = kept.life.map(|life| Life { renew: now + RENEWAL_PAUSE, ..life });
                    return Ok(kept.clone());
                }
                self.kept = None;
                self.failed = Some((error.clone(), now));
                Err(error)
            }
        }
    }
}

impl Keeper<HeaderValue> {
    /// Makes a call with the header `Authorization`, and once more if the answer is 401 and another token could be had.
    pub(super) async fn send<F: Future<Output = Result<Issued<HeaderValue>, Error>>>(
        &self,
        client: &Client,
        log_in: impl Fn() -> F,
        request: impl Fn(HeaderValue) -> Result<Request, Error>,
    ) -> Result<Response, Error> {
        let Kept { credential, number, life: _ } = self.get(log_in()).await?;
        let answer = client.send(request(credential)?).await?;
        if answer.status() != StatusCode::UNAUTHORIZED || !self.give_up(number).await {
            return Ok(answer);
        }
        let Kept { credential, number: _, life: _ } = self.get(log_in()).await?;
        client.send(request(credential)?).await
    }
}

/// An access token of `whom` as a header that shows in no log.
pub(super) fn bearer(token: &SecretValue, whom: &str) -> Result<HeaderValue, Error> {
    let text = token.expose().trim_ascii();
    let unusable =
        || Error::new(ErrorKind::Unauthenticated, format!("what should be an access token of {whom} is none"));
    if text.is_empty() || !text.iter().all(u8::is_ascii_graphic) {
        return Err(unusable());
    }
    let mut header = HeaderValue::from_bytes(&[b"Bearer ", text].concat()).map_err(|_| unusable())?;
    header.set_sensitive(true);
    Ok(header)
}

/// Shown only where what was at hand has ended meanwhile.
fn late() -> Error {
    Error::new(ErrorKind::Timeout, "no answer to the login in time")
}
