//! When a login happens, under paused time.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::atomic::AtomicU32;

use futures::future::join_all;

use super::*;
use crate::backend::network::{Network, Settings};

const HOUR: Duration = Duration::from_secs(3600);
const CALL: Duration = Duration::from_secs(10);

/// Gives numbered credentials, or does what it is told to.
struct Server {
    keeper: Keeper<u32>,
    asked: AtomicU32,
    answer: std::sync::Mutex<Answer>,
}

#[derive(Clone, Copy)]
enum Answer {
    Life(Option<Duration>),
    Fails(ErrorKind),
    Hangs,
}

impl Server {
    fn new(answer: Answer) -> Self {
        Self { keeper: Keeper::new(CALL), asked: AtomicU32::new(0), answer: std::sync::Mutex::new(answer) }
    }

    fn set(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }

    async fn log_in(&self) -> Result<Issued<u32>, Error> {
        let credential = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let answer = *self.answer.lock().unwrap();
        // Long enough for others to come and wait.
        tokio::time::sleep(Duration::from_millis(50)).await;
        match answer {
            Answer::Life(life) => Ok(Issued { credential, life }),
            Answer::Fails(kind) => Err(Error::new(kind, "no")),
            Answer::Hangs => std::future::pending().await,
        }
    }

    async fn get(&self) -> Result<Kept<u32>, ErrorKind> {
        self.keeper.get(self.log_in()).await.map_err(|error| error.kind)
    }

    async fn credential(&self) -> Result<u32, ErrorKind> {
        self.get().await.map(|kept| kept.credential)
    }

    /// A call whose credential is refused unless it is one of `accepted`.
    async fn call(&self, accepted: &[u32]) -> Result<u32, ErrorKind> {
        let kept = self.get().await?;
        // The answer takes its time.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let last = if accepted.contains(&kept.credential) || !self.keeper.give_up(kept.number).await {
            kept
        } else {
            self.get().await?
        };
        if accepted.contains(&last.credential) { Ok(last.credential) } else { Err(ErrorKind::Unauthenticated) }
    }
}

async fn pass(time: Duration) {
    tokio::time::advance(time).await;
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_share_one_login_good_or_bad() {
    let server = Server::new(Answer::Life(Some(HOUR)));
    assert!(!server.keeper.has_one().await);
    assert_eq!(join_all((0..20).map(|_| server.credential())).await, [Ok(1); 20]);
    assert!(server.keeper.has_one().await);

    for kind in [ErrorKind::Unauthenticated, ErrorKind::Unavailable] {
        let server = Server::new(Answer::Fails(kind));
        assert_eq!(join_all((0..20).map(|_| server.credential())).await, [Err(kind); 20]);
        assert_eq!(server.asked(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_remembered_for_a_moment_and_a_hiccup_is_not() {
    let server = Server::new(Answer::Fails(ErrorKind::Unauthenticated));
    for _ in 0..5 {
        assert_eq!(server.credential().await, Err(ErrorKind::Unauthenticated));
    }
    assert_eq!(server.asked(), 1);
    pass(REMEMBERED).await;
    server.set(Answer::Fails(ErrorKind::Unavailable));
    assert_eq!(server.credential().await, Err(ErrorKind::Unavailable));
    server.set(Answer::Life(Some(HOUR)));
    assert_eq!(server.credential().await, Ok(3));
}

#[tokio::test(start_paused = true)]
async fn it_is_renewed_at_four_fifths_of_its_life() {
    let server = Server::new(Answer::Life(Some(HOUR)));
    assert_eq!(server.credential().await, Ok(1));
    pass(Duration::from_secs(2879)).await;
    assert_eq!(server.credential().await, Ok(1));
    pass(Duration::from_secs(1)).await;
    assert_eq!(server.credential().await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn its_life_begins_when_it_was_asked_for() {
    let server = Server::new(Answer::Life(Some(HOUR)));
    let late = async {
        tokio::time::sleep(Duration::from_secs(600)).await;
        server.log_in().await
    };
    assert_eq!(server.keeper.get(late).await.unwrap().credential, 1);
    pass(Duration::from_secs(2880 - 600)).await;
    assert_eq!(server.credential().await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn while_the_renewal_fails_it_is_used_to_its_end() {
    let server = Server::new(Answer::Life(Some(HOUR)));
    assert_eq!(server.credential().await, Ok(1));
    server.set(Answer::Fails(ErrorKind::Unauthenticated));
    pass(Duration::from_secs(3000)).await;
    for _ in 0..5 {
        assert_eq!(server.credential().await, Ok(1));
    }
    assert_eq!(server.asked(), 2, "a renewal that failed is not tried again at once");
    pass(RENEWAL_PAUSE).await;
    assert_eq!(server.credential().await, Ok(1));
    assert_eq!(server.asked(), 3);
    pass(Duration::from_secs(600)).await;
    assert_eq!(server.credential().await, Err(ErrorKind::Unauthenticated));
}

#[tokio::test(start_paused = true)]
async fn while_the_renewal_hangs_it_is_used_to_its_end() {
    let server = Server::new(Answer::Life(Some(HOUR)));
    assert_eq!(server.credential().await, Ok(1));
    server.set(Answer::Hangs);
    pass(Duration::from_secs(3000)).await;
    let waiting = || timeout(CALL, server.credential());
    assert_eq!(join_all((0..20).map(|_| waiting())).await, [const { Ok(Ok(1)) }; 20], "within the deadline of a call");
    assert_eq!(server.asked(), 2);
    pass(Duration::from_secs(600)).await;
    assert!(waiting().await.is_err(), "without one, a login may take as long as the call");
    server.set(Answer::Life(Some(HOUR)));
    assert_eq!(server.credential().await, Ok(4), "who was cut off leaves the next one a try");
}

#[tokio::test(start_paused = true)]
async fn a_life_that_makes_no_sense_makes_no_storm() {
    let server = Server::new(Answer::Life(Some(Duration::ZERO)));
    for _ in 0..10 {
        assert_eq!(server.credential().await, Ok(1));
    }
    pass(LEAST_LIFE).await;
    server.set(Answer::Life(Some(Duration::MAX)));
    assert_eq!(server.credential().await, Ok(2));
    pass(MOST_LIFE).await;
    assert_eq!(server.credential().await, Ok(3));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_given_up_once_for_all_and_not_soon_again() {
    let server = Server::new(Answer::Life(Some(HOUR)));
    assert_eq!(server.call(&[1]).await, Ok(1));
    assert_eq!(join_all((0..20).map(|_| server.call(&[2]))).await, [Ok(2); 20]);
    assert_eq!(server.asked(), 2);
    for _ in 0..5 {
        assert_eq!(server.call(&[]).await, Err(ErrorKind::Unauthenticated));
    }
    assert_eq!(server.asked(), 2, "refused again so soon, it is not the login");
    pass(FORCED_PAUSE).await;
    assert_eq!(server.call(&[3]).await, Ok(3));
}

#[tokio::test(start_paused = true)]
async fn all_who_were_refused_learn_why_there_is_no_other_one() {
    let server = Server::new(Answer::Life(Some(HOUR)));
    assert_eq!(server.call(&[1]).await, Ok(1));
    server.set(Answer::Fails(ErrorKind::Unavailable));
    assert_eq!(join_all((0..8).map(|_| server.call(&[]))).await, [Err(ErrorKind::Unavailable); 8]);
    // Also who hears of the refusal when that login has failed already.
    assert!(server.keeper.give_up(1).await);
}

#[tokio::test(start_paused = true)]
async fn what_never_ends_has_no_successor() {
    let server = Server::new(Answer::Life(None));
    for _ in 0..5 {
        assert_eq!(server.call(&[]).await, Err(ErrorKind::Unauthenticated));
    }
    pass(MOST_LIFE * 30).await;
    assert_eq!(server.call(&[1]).await, Ok(1));
    assert!(!server.keeper.give_up(0).await);
    assert_eq!(server.asked(), 1);
}

/// What a token of nobody's making does: nothing is sent, and it is not asked for again for each key.
#[tokio::test(start_paused = true)]
async fn a_login_that_gives_nonsense_is_a_login_that_failed() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = Network::new(Settings::default()).unwrap().client();
    let (keeper, asked) = (Keeper::new(CALL), AtomicU32::new(0));
    let log_in = || async {
        asked.fetch_add(1, Ordering::SeqCst);
        let credential = bearer(&SecretValue::from("a\nb".to_owned()), "Nobody")?;
        Ok(Issued { credential, life: Some(HOUR) })
    };
    for _ in 0..5 {
        let error = keeper.send(&client, log_in, |_| unreachable!("nothing is sent")).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unauthenticated);
        assert_eq!(error.message, "what should be an access token of Nobody is none");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[test]
fn a_header_is_made_of_a_token_alone() {
    let made = |text: &str| bearer(&SecretValue::from(text.to_owned()), "Nobody");
    let header = made(" ya29.token\n").unwrap();
    assert!(header.is_sensitive() && header.as_bytes() == b"Bearer ya29.token");
    for bad in ["", " ", "a b", "a\r\nX: y", "ü"] {
        assert_eq!(made(bad).err().unwrap().kind, ErrorKind::Unauthenticated, "{bad:?}");
    }
}
