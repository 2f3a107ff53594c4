//! Requests to Secret Manager, each with the store's login.

use bytes::Bytes;
use google_cloud_secretmanager_v1::model::Replication;
use google_cloud_secretmanager_v1::model::replication::{Automatic, UserManaged, user_managed::Replica};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use crate::api::store::GcpAuth;
use crate::backend::credentials::Surroundings;
use crate::backend::credentials::gcp::{Answer, Login};
use crate::backend::network::Client;
use crate::backend::{Error, ErrorKind};

/// Google's own address.
const ENDPOINT: &str = "https://secretmanager.googleapis.com";
/// The most entries of one page; the service takes up to 25,000.
const PAGE: u32 = 1000;

/// The secrets of one project.
pub(super) struct Rest {
    login: Login,
    client: Client,
    /// The project's address, with a slash at its end.
    project: String,
}

impl Rest {
    pub(super) async fn new(
        project: &str,
        endpoint: Option<&str>,
        auth: Option<&GcpAuth>,
        around: &Surroundings,
    ) -> Result<Self, Error> {
        // Ids, numbers, and ids of projects below a domain (`example.com:app`).
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':');
        if project.is_empty() || !project.bytes().all(plain) || project.starts_with('.') {
            return Err(Error::new(ErrorKind::InvalidConfig, "gcpSecretManager.projectId is no id of a project"));
        }
        let endpoint = match endpoint {
            None => ENDPOINT.to_owned(),
            Some(text) => {
                let url = around.network.custom_or_providers("gcpSecretManager.endpoint", text, is_googles)?;
                url.as_str().trim_end_matches('/').to_owned()
            }
        };
        Ok(Self {
            login: Login::new(auth, around).await.map_err(|error| error.in_context("gcpSecretManager"))?,
            client: around.network.client(),
            project: format!("{endpoint}/v1/projects/{project}/"),
        })
    }

    pub(super) async fn ready(&self) -> Result<(), Error> {
        self.login.ready().await
    }

    pub(super) async fn get(&self, path: &str) -> Result<Answer, Error> {
        self.send(Method::GET, path, None).await
    }

    /// One page of a list.
    pub(super) async fn page(&self, path: &str, filter: &str, token: &str) -> Result<Answer, Error> {
        let mut path = format!("{path}?pageSize={PAGE}");
        for (name, value) in [("filter", filter), ("pageToken", token)] {
            if !value.is_empty() {
                path.push_str(&format!("&{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
            }
        }
        self.get(&path).await
    }

    pub(super) async fn post(&self, path: &str, body: &impl Serialize) -> Result<Answer, Error> {
        let body = serde_json::to_vec(body)
            .map_err(|_| Error::new(ErrorKind::Unexpected, "the request for Secret Manager cannot be written"))?;
        self.send(Method::POST, path, Some(Bytes::from(body))).await
    }

    /// `etag` as the service gave it, quotes included.
    pub(super) async fn delete(&self, path: &str, etag: &str) -> Result<Answer, Error> {
        let path = match etag {
            "" => path.to_owned(),
            etag => format!("{path}?etag={}", utf8_percent_encode(etag, NON_ALPHANUMERIC)),
        };
        self.send(Method::DELETE, &path, None).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<Bytes>) -> Result<Answer, Error> {
        let url = format!("{}{path}", self.project);
        let request = |authorization: HeaderValue| {
            let request =
                http::Request::builder().method(method.clone()).uri(&url).header(AUTHORIZATION, authorization);
            let request = match &body {
                Some(_) => request.header(CONTENT_TYPE, HeaderValue::from_static("application/json")),
                None => request,
            };
            let unusable = |_| Error::new(ErrorKind::InvalidConfig, "the address of Secret Manager cannot be one");
            request.body(body.clone().unwrap_or_default()).map_err(unusable)
        };
        self.login.send(&self.client, request).await
    }
}

/// Google's own hosts for this service: `secretmanager.googleapis.com`, and endpoints of Private Service Connect below
/// `p.googleapis.com`.
fn is_googles(host: &str) -> bool {
    host == "secretmanager.googleapis.com"
        || host.strip_suffix(".p.googleapis.com").is_some_and(|name| name.starts_with("secretmanager-"))
}

/// Where a new secret is kept.
pub(super) fn replication(locations: &[String]) -> Replication {
    if locations.is_empty() {
        return Replication::new().set_automatic(Automatic::new());
    }
    let replicas = locations.iter().map(|location| Replica::new().set_location(location));
    Replication::new().set_user_managed(UserManaged::new().set_replicas(replicas))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn a_new_secret_is_kept_where_the_store_says() {
        let json = |locations: &[&str]| {
            let locations: Vec<String> = locations.iter().map(|name| (*name).to_owned()).collect();
            serde_json::to_value(replication(&locations)).unwrap()
        };
        assert_eq!(json(&[]), serde_json::json!({"automatic": {}}));
        assert_eq!(
            json(&["europe-west1", "europe-west3"]),
            serde_json::json!({"userManaged": {"replicas": [{"location": "europe-west1"}, {"location": "europe-west3"}]}})
        );
    }

    #[test]
    fn only_googles_own_hosts_need_no_allowance() {
        for host in ["secretmanager.googleapis.com", "secretmanager-vpc1.p.googleapis.com"] {
            assert!(is_googles(host), "{host}");
        }
        for host in [
            "googleapis.com",
            "storage.googleapis.com",
            "secretmanager.googleapis.com.example.com",
            "secretmanager.europe-west1.rep.googleapis.com",
            "p.googleapis.com",
            "xsecretmanager.googleapis.com",
        ] {
            assert!(!is_googles(host), "{host}");
        }
    }
}
