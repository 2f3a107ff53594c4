//! When a login happens, under paused time, and what a machine is asked; `tests/conformance` logs in with real tokens.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use e2e::AzureVault;

use super::*;
use crate::backend::network::{Network, Settings};

const CLIENT: &str = "11111111-1111-1111-1111-111111111111";
const HOUR: Duration = Duration::from_secs(3600);

/// A login of the machine itself at a metadata service that knows one identity.
async fn machine(client: Option<&str>) -> (AzureVault, Login) {
    let azure = AzureVault::start().await.unwrap();
    azure.register(e2e::AzureApplication { client: CLIENT.into(), of_machine: true, ..Default::default() });
    let network = Network::new(Settings { loopback: true, ..Settings::default() }).unwrap();
    let address = Url::parse(&azure.metadata_url()).unwrap();
    let source = Source::Machine { client: client.map(str::to_owned), address };
    let network = network.client_for_metadata().unwrap();
    let place = Place { authority: address_of_nobody(), resource: Cloud::Public.resource(), network };
    (azure, Login { source, place, state: Mutex::default(), ended: AtomicU64::new(0) })
}

fn address_of_nobody() -> Url {
    Url::parse("https://login.invalid").unwrap()
}

async fn token(login: &Login) -> Vec<u8> {
    login.session().await.unwrap().token().expose().to_vec()
}

#[tokio::test]
async fn a_machine_is_asked_for_its_own_identity_or_a_named_one() {
    for client in [None, Some(CLIENT)] {
        let (azure, login) = machine(client).await;
        assert!(token(&login).await.starts_with(b"eyJ0"));
        let asked = azure.requests();
        assert_eq!(asked.len(), 1);
        assert!(asked.iter().all(|request| request.method == "GET" && request.status == 200));
    }
    let (_azure, login) = machine(Some("22222222-2222-2222-2222-222222222222")).await;
    let error = login.session().await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Unauthenticated);
    assert!(error.message.contains("no such managed identity"), "{error}");
}

#[tokio::test]
async fn all_who_wait_share_one_login_good_or_bad() {
    let (azure, login) = machine(None).await;
    let sessions = futures::future::join_all((0..20).map(|_| token(&login))).await;
    assert!(sessions.windows(2).all(|pair| pair.first() == pair.last()));
    assert_eq!(azure.requests().len(), 1);

    let (azure, login) = machine(Some("nobody")).await;
    let sessions = futures::future::join_all((0..20).map(|_| login.session())).await;
    assert!(sessions.iter().all(Result::is_err));
    // Who comes a moment later is told the same.
    assert!(login.session().await.is_err());
    assert_eq!(azure.requests().len(), 1);
}

/// Time goes by for the login: as if it had happened so long ago.
async fn age(login: &Login, by: Duration) {
    let mut state = login.state.lock().await;
    let State { session, failed, forced } = &mut *state;
    let back = |at: Instant| at.checked_sub(by).unwrap();
    if let Some(session) = session {
        (session.renew, session.end) = (back(session.renew), back(session.end));
    }
    if let Some((_, at)) = failed {
        *at = back(*at);
    }
    *forced = forced.map(|(number, at)| (number, back(at)));
}

#[tokio::test]
async fn a_token_is_renewed_at_four_fifths_of_its_life() {
    let (azure, login) = machine(None).await;
    let first = token(&login).await;
    age(&login, HOUR.mul_f64(0.79)).await;
    assert_eq!(token(&login).await, first);
    age(&login, HOUR.mul_f64(0.02)).await;
    assert_ne!(token(&login).await, first);
    assert_eq!(azure.requests().len(), 2);
}

#[tokio::test]
async fn a_renewal_that_fails_leaves_the_token_to_its_end() {
    let (azure, login) = machine(None).await;
    let first = token(&login).await;
    azure.register(e2e::AzureApplication { client: CLIENT.into(), of_machine: false, ..Default::default() });
    age(&login, HOUR.mul_f64(0.9)).await;
    for _ in 0..5 {
        assert_eq!(token(&login).await, first);
    }
    assert_eq!(azure.requests().len(), 2, "a renewal that failed is not tried again at once");
    age(&login, HOUR.mul_f64(0.1)).await;
    assert_eq!(login.session().await.err().unwrap().kind, ErrorKind::Unauthenticated);
    // A refusal is remembered, and not for ever.
    assert!(login.session().await.is_err());
    assert_eq!(azure.requests().len(), 3);
    azure.register(e2e::AzureApplication { client: CLIENT.into(), of_machine: true, ..Default::default() });
    age(&login, REMEMBERED).await;
    assert_ne!(token(&login).await, first);
}

#[tokio::test]
async fn a_life_that_makes_no_sense_makes_no_storm() {
    let (azure, login) = machine(None).await;
    azure.set_token_life(Duration::ZERO);
    let first = token(&login).await;
    for _ in 0..10 {
        assert_eq!(token(&login).await, first);
    }
    assert_eq!(azure.requests().len(), 1);
    age(&login, LEAST_LIFE).await;
    assert_ne!(token(&login).await, first);
}

#[tokio::test]
async fn a_refused_token_is_given_up_once_for_all_and_not_soon_again() {
    let (_azure, login) = machine(None).await;
    let first = login.session().await.unwrap();
    // Two who were refused at once, before either asks for another one.
    assert!(login.give_up(&first).await && login.give_up(&first).await);
    let second = login.session().await.unwrap();
    assert_ne!(second.token().expose(), first.token().expose());
    // Others who were refused with the first one take the second.
    assert!(login.give_up(&first).await);
    assert_eq!(login.session().await.unwrap().token().expose(), second.token().expose());
    assert!(!login.give_up(&second).await, "refused again so soon, it is not the token");
    age(&login, FORCED_PAUSE).await;
    assert!(login.give_up(&second).await);
}

#[test]
fn identifiers_are_plain() {
    for good in [CLIENT, "contoso.onmicrosoft.com", "common"] {
        assert!(identifier("x", good).is_ok(), "{good}");
    }
    for bad in ["", "a/b", "a?b", "a&b=c", "-h", "..", "a b", "ü", "a%2fb", "a#"] {
        assert_eq!(identifier("x", bad).err().unwrap().kind, ErrorKind::InvalidConfig, "{bad}");
    }
}
