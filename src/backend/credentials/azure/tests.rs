//! What a machine is asked, and what an id can be; `tests/conformance` logs in with real tokens.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::time::Duration;

use e2e::AzureVault;

use super::*;
use crate::backend::network::{Network, Settings};

const CLIENT: &str = "11111111-1111-1111-1111-111111111111";

/// A login of the machine itself at a metadata service that knows one identity.
async fn machine(client: Option<&str>) -> (AzureVault, Login) {
    let azure = AzureVault::start().await.unwrap();
    azure.register(e2e::AzureApplication { client: CLIENT.into(), of_machine: true, ..Default::default() });
    let network = Network::new(Settings { loopback: true, ..Settings::default() }).unwrap();
    let address = Url::parse(&azure.metadata_url()).unwrap();
    let source = Source::Machine { client: client.map(str::to_owned), address };
    let network = network.client_for_metadata().unwrap();
    let place = Place { authority: address_of_nobody(), resource: Cloud::Public.resource(), network };
    (azure, Login { source, place, keeper: Keeper::new(Duration::from_secs(10)) })
}

fn address_of_nobody() -> Url {
    Url::parse("https://login.invalid").unwrap()
}

/// What would be sent to a vault.
async fn token(login: &Login) -> Result<HeaderValue, Error> {
    login.keeper.get(login.source.token(&login.place)).await.map(|kept| kept.credential)
}

#[tokio::test]
async fn a_machine_is_asked_for_its_own_identity_or_a_named_one() {
    for client in [None, Some(CLIENT)] {
        let (azure, login) = machine(client).await;
        for _ in 0..2 {
            let token = token(&login).await.unwrap();
            assert!(token.is_sensitive() && token.as_bytes().starts_with(b"Bearer eyJ0"));
        }
        let asked = azure.requests();
        assert_eq!(asked.len(), 1);
        assert!(asked.iter().all(|request| request.method == "GET" && request.status == 200));
    }
    let (azure, login) = machine(Some("22222222-2222-2222-2222-222222222222")).await;
    for _ in 0..2 {
        let error = token(&login).await.err().unwrap();
        assert_eq!(error.kind, ErrorKind::Unauthenticated);
        assert!(error.message.contains("no such managed identity"), "{error}");
    }
    assert_eq!(azure.requests().len(), 1, "a refusal is remembered");
}

#[test]
fn identifiers_are_plain() {
    for good in [CLIENT, "contoso.onmicrosoft.com", "common"] {
        assert!(identifier("x", good).is_ok(), "{good}");
    }
    for bad in ["", "a/b", "a?b", "a&b=c", "-h", "..", "a b", "ü", "a%2fb", "a#"] {
        let error = identifier("auth.clientSecret: the tenant id", bad).err().unwrap();
        assert_eq!(error.kind, ErrorKind::InvalidConfig, "{bad}");
        assert!(error.message.contains("a GUID is expected"), "{error}");
    }
}
