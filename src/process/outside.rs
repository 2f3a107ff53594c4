//! What the arguments and the cluster say about stores outside of it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::args::OutsideArgs;
use crate::backend::credentials::StoreRights;
use crate::backend::network::{Network, Settings};
use crate::controller::Outside;

/// Where a Pod finds the token of its own account.
const OWN_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// How the API server is called within every cluster.
const API_SERVER: &str = "kubernetes.default.svc";

/// Puts the rules for stores together. `api_server` is the host that this process reaches the API server at, and `user`
/// who it is there.
///
/// # Errors
/// The file of certificate authorities, or an address in the arguments, cannot be used.
pub async fn outside(args: &OutsideArgs, api_server: Option<&str>, user: &str) -> anyhow::Result<Outside> {
    let OutsideArgs { allow_endpoint, service_endpoint, ca_file, allow_ambient_credentials, allow_loopback_endpoints } =
        args;
    let roots = match ca_file {
        None => Vec::new(),
        Some(file) => std::fs::read(file).with_context(|| format!("cannot read --ca-file {}", file.display()))?,
    };
    let mut refused = BTreeSet::new();
    for host in api_server.into_iter().chain([API_SERVER]) {
        refused.extend(addresses(host).await);
    }
    let settings = Settings {
        allowed_hosts: allow_endpoint.clone(),
        services: service_endpoint.clone(),
        roots,
        loopback: *allow_loopback_endpoints,
        refused,
    };
    let network = Network::new(settings).context("cannot use --ca-file or --service-endpoint")?;
    let rights = StoreRights {
        ambient: *allow_ambient_credentials,
        own_account: user.to_owned(),
        api_audiences: audiences(Path::new(OWN_TOKEN)),
    };
    Ok(Outside { network, rights })
}

/// The addresses of a host; none if it has no name here, as outside a cluster.
async fn addresses(host: &str) -> Vec<IpAddr> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match tokio::net::lookup_host((bare, 0)).await {
        Ok(found) => found.map(|address| address.ip().to_canonical()).collect(),
        Err(_) => Vec::new(),
    }
}

/// The audiences of a token: those of the API server, if the token is this Pod's own.
fn audiences(file: &Path) -> BTreeSet<String> {
    #[derive(Deserialize)]
    struct Claims {
        #[serde(default)]
        aud: Vec<String>,
    }
    let read = || {
        let token = zeroize::Zeroizing::new(std::fs::read_to_string(file).ok()?);
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
        serde_json::from_slice::<Claims>(&claims).ok()
    };
    read().map(|claims| claims.aud.into_iter().collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn audiences_are_read_from_the_token_of_the_pod() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let claims = URL_SAFE_NO_PAD.encode(r#"{"aud":["https://issuer.example","k3s"],"sub":"x"}"#);
        std::fs::write(&file, format!("head.{claims}.signature")).unwrap();
        let expected = BTreeSet::from(["https://issuer.example".to_owned(), "k3s".to_owned()]);
        assert_eq!(audiences(&file), expected);
        for text in ["", "no token", "a.!!.c"] {
            std::fs::write(&file, text).unwrap();
            assert!(audiences(&file).is_empty());
        }
    }

    #[tokio::test]
    async fn the_api_servers_addresses_are_known_by_name_and_by_number() {
        assert_eq!(addresses("10.96.0.1").await, ["10.96.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(addresses("[fd12::1]").await, ["fd12::1".parse::<IpAddr>().unwrap()]);
        assert!(addresses("localhost").await.iter().any(IpAddr::is_loopback));
        assert!(addresses("no such host").await.is_empty());
    }
}
