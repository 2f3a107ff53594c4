//! That the SDK gets what is kept, under paused time; `tests/conformance` logs in to a real server.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::Mutex as StdMutex;
use std::time::Duration;

use super::*;
use crate::backend::network::{Network, Settings};

/// Gives numbered credentials that live as long as it is told to, or fails.
#[derive(Clone, Debug, Default)]
struct Issuer(Arc<StdMutex<Issued>>);

#[derive(Debug, Default)]
struct Issued {
    count: usize,
    life: Option<Duration>,
    broken: bool,
}

impl ProvideCredentials for Issuer {
    fn provide_credentials<'a>(&'a self) -> Providing<'a>
    where
        Self: 'a,
    {
        Providing::new(async {
            let (count, life, broken) = {
                let mut issued = self.0.lock().unwrap();
                issued.count += 1;
                (issued.count, issued.life, issued.broken)
            };
            // Long enough for others to come and wait.
            tokio::time::sleep(Duration::from_millis(50)).await;
            if broken {
                return Err(CredentialsError::not_loaded_no_source());
            }
            Ok(Keys::new(format!("key-{count}"), "secret", None, life.map(|life| SystemTime::now() + life), "test"))
        })
    }
}

impl Issuer {
    fn set(&self, life: Option<Duration>, broken: bool) {
        let mut issued = self.0.lock().unwrap();
        (issued.life, issued.broken) = (life, broken);
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().count
    }

    fn login(&self) -> Login {
        // Another test may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let network = Network::new(Settings::default()).unwrap().client();
        Login {
            source: Source::Chain { provider: SharedCredentialsProvider::new(self.clone()), hint: "log in" },
            roles: Vec::new(),
            sts: Sts { region: "us-east-1".to_owned(), endpoint: None, network },
            keeper: Keeper::new(Duration::from_secs(10)),
            current: AtomicU64::new(0),
        }
    }
}

async fn key(login: &Login) -> Result<String, ErrorKind> {
    login.keys().await.map(|keys| keys.access_key_id().to_owned()).map_err(|error| error.kind)
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn credentials_are_shared_and_renewed_before_their_end() {
    let issuer = Issuer::default();
    issuer.set(Some(HOUR), false);
    let login = issuer.login();
    let keys = futures::future::join_all((0..20).map(|_| key(&login))).await;
    assert!(keys.iter().all(|key| key.as_deref() == Ok("key-1")), "{keys:?}");
    tokio::time::advance(Duration::from_secs(2800)).await;
    assert_eq!(key(&login).await.as_deref(), Ok("key-1"));
    tokio::time::advance(Duration::from_secs(100)).await;
    assert_eq!(key(&login).await.as_deref(), Ok("key-2"));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_off_makes_no_storm() {
    // An hour ahead of AWS: every answer has expired already.
    let issuer = Issuer::default();
    issuer.set(Some(Duration::ZERO), false);
    let login = issuer.login();
    for _ in 0..10 {
        assert_eq!(key(&login).await.as_deref(), Ok("key-1"));
    }
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(key(&login).await.as_deref(), Ok("key-2"));
    assert_eq!(login.keys().await.unwrap().expiry(), None, "the SDK would judge by the clock");
}

fn refused() -> Error {
    Error::new(ErrorKind::Unauthenticated, "no")
}

/// A call that accepts what `accepts` says of the key.
async fn call(login: &Login, accepts: impl Fn(&str) -> bool + Send + Sync) -> Result<String, Error> {
    let accepts = &accepts;
    login
        .call(|| async move {
            let key = login.keys().await?.access_key_id().to_owned();
            if accepts(&key) { Ok(key) } else { Err(refused()) }
        })
        .await
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_renewed_once_for_all_and_not_soon_again() {
    let issuer = Issuer::default();
    issuer.set(Some(HOUR), false);
    let login = issuer.login();
    assert!(call(&login, |_| true).await.is_ok());
    let calls = futures::future::join_all((0..20).map(|_| call(&login, |key| key != "key-1"))).await;
    assert!(calls.iter().all(|key| key.as_deref() == Ok("key-2")), "{calls:?}");
    assert_eq!(issuer.count(), 2);
    for _ in 0..5 {
        assert_eq!(call(&login, |_| false).await, Err(refused()));
    }
    assert_eq!(issuer.count(), 2, "refused again so soon, it is not the login");
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(call(&login, |_| false).await, Err(refused()));
    assert_eq!(issuer.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_never_ends_and_what_was_never_had_is_not_renewed() {
    let issuer = Issuer::default();
    let login = issuer.login();
    assert_eq!(call(&login, |_| false).await, Err(refused()));
    assert_eq!(call(&login, |_| false).await, Err(refused()));
    assert_eq!(issuer.count(), 1);

    let issuer = Issuer::default();
    issuer.set(None, true);
    let login = issuer.login();
    assert_eq!(call(&login, |_| true).await.unwrap_err().kind, ErrorKind::Unauthenticated);
    assert_eq!(issuer.count(), 1);
}
