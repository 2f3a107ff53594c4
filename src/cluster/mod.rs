//! Secrets and ConfigMaps of the API server, read and written without a value ever leaving [`SecretValue`].
//!
//! The typed calls of the `kube` crate are not for Secrets: when an answer cannot be decoded, kube 5 logs the whole body,
//! and the `Debug` of its types prints bytes. [`Objects`] sends raw requests through the same client, decodes into
//! [`SecretValue`] itself, zeroes the buffers that it owns, and turns every failure into an [`Error`] that holds no text
//! of the server.
//!
//! One call is one request: there is no retry in here, and the client has none either. Each call has a deadline. Dropping a call's future abandons the request; a write may then have happened or not.
//!
//! [`SecretValue`]: crate::value::SecretValue

mod buffer;
mod change;
mod connections;
mod error;
mod managed;
mod object;
#[cfg(test)]
mod tests;

use std::time::Duration;

use futures::StreamExt;
use http::header::RETRY_AFTER;
use k8s_openapi::api::core::v1 as core;
use kube::Client;
use kube::api::{DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::client::Body;
use kube::core::Request;

use self::buffer::ZeroingBuffer;
pub use self::change::KeyChange;
pub use self::connections::client;
pub use self::error::{Cause, Error, Refusal, StatusReason};
pub use self::object::{Annotations, ConfigMap, IssuedToken, Metadata, OPAQUE, Secret, SecretDraft, Written};
use crate::value::SecretValue;

/// How long one call may take if nobody says otherwise: far above what a healthy API server needs, and short enough for
/// a reconcile to try again within its own deadline.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes of one answered object. etcd takes 1.5 MiB; managed fields and the envelope come on top.
const MAX_OBJECT: usize = 4 << 20;
/// The most bytes of one answered page.
const MAX_PAGE: usize = 32 << 20;
/// Objects in one page: so many that a page of the largest Secrets stays below [`MAX_PAGE`].
const PAGE: u32 = 16;
/// The most bytes of an error's body that are read to find out why.
const MAX_STATUS: usize = 64 << 10;
/// How long a requested token lives: the least that the API server takes (`spec.expirationSeconds` of TokenRequest).
const TOKEN_LIFE: Duration = Duration::from_secs(600);

/// Secrets and ConfigMaps of one API server. Cheap to clone.
#[derive(Clone)]
pub struct Objects {
    client: Client,
    timeout: Duration,
}

impl Objects {
    /// Objects as the configuration's user may see them, over connections of their own that close when nothing is to be
    /// done, so that no buffer keeps a value. [`DEFAULT_TIMEOUT`] is the deadline of each call.
    ///
    /// # Errors
    /// As [`client`].
    pub fn connect(config: &kube::Config) -> Result<Self, kube::Error> {
        connections::client_for_values(config).map(Self::new)
    }

    /// The same over the connections of `client`: for a process that ends soon.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, timeout: DEFAULT_TIMEOUT }
    }

    /// The same objects with another deadline for each call.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { client: self.client.clone(), timeout }
    }

    /// Reads a Secret; `None` if the API server says that there is none.
    ///
    /// # Errors
    /// Everything else, also "not found" from something that is not the API server.
    pub async fn get_secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>, Error> {
        let request = secrets(namespace)?.get(checked(name)?, &GetParams::default());
        absent_as_none(self.call("Secret", request, None, MAX_OBJECT, object::decode_secret).await)
    }

    /// Reads a Secret's metadata and none of its data; `None` if there is none.
    ///
    /// # Errors
    /// As [`Self::get_secret`].
    pub async fn get_secret_metadata(&self, namespace: &str, name: &str) -> Result<Option<Metadata>, Error> {
        let request = secrets(namespace)?.get_metadata(checked(name)?, &GetParams::default());
        absent_as_none(self.call("Secret", request, None, MAX_OBJECT, object::decode_metadata).await)
    }

    /// Reads a ConfigMap, its text and its binary data alike; `None` if there is none.
    ///
    /// # Errors
    /// As [`Self::get_secret`].
    pub async fn get_config_map(&self, namespace: &str, name: &str) -> Result<Option<ConfigMap>, Error> {
        let request = config_maps(namespace)?.get(checked(name)?, &GetParams::default());
        absent_as_none(self.call("ConfigMap", request, None, MAX_OBJECT, object::decode_config_map).await)
    }

    /// Reads a ConfigMap's metadata and none of its data; `None` if there is none.
    ///
    /// # Errors
    /// As [`Self::get_secret`].
    pub async fn get_config_map_metadata(&self, namespace: &str, name: &str) -> Result<Option<Metadata>, Error> {
        let request = config_maps(namespace)?.get_metadata(checked(name)?, &GetParams::default());
        absent_as_none(self.call("ConfigMap", request, None, MAX_OBJECT, object::decode_metadata).await)
    }

    /// Reads every Secret of a namespace that carries a label, page by page.
    ///
    /// # Errors
    /// As [`Self::get_secret`].
    pub async fn list_secrets(&self, namespace: &str, label: &str, value: &str) -> Result<Vec<Secret>, Error> {
        let mut page = ListParams::default().labels(&format!("{label}={value}")).limit(PAGE);
        let mut found = Vec::new();
        loop {
            let request = secrets(namespace)?.list(&page);
            let (secrets, next) =
                self.call("list of Secrets", request, None, MAX_PAGE, object::decode_secret_list).await?;
            found.extend(secrets);
            match next {
                Some(token) => page.continue_token = Some(token),
                None => return Ok(found),
            }
        }
    }

    /// Creates a Secret. `uid` and `resource_version` of the draft are not sent.
    ///
    /// # Errors
    /// [`StatusReason::AlreadyExists`] if there is one.
    pub async fn create_secret(&self, draft: &SecretDraft<'_>) -> Result<Written, Error> {
        checked(&draft.metadata.name)?;
        let request = secrets(&draft.metadata.namespace)?.create(&PostParams::default(), Vec::new());
        let body = object::encode(draft, false)?;
        self.call("Secret", request, Some(body), MAX_OBJECT, object::decode_written).await
    }

    /// Replaces a Secret, all of it, if it still is what the draft's `uid` and `resource_version` say.
    ///
    /// Take the metadata from a read, so that labels, annotations, owners and finalizers of others survive.
    ///
    /// # Errors
    /// [`StatusReason::Conflict`] if somebody else wrote first; an empty `resource_version` is
    /// [`Error::MissingPrecondition`], since it would overwrite whatever is there.
    pub async fn replace_secret(&self, draft: &SecretDraft<'_>) -> Result<Written, Error> {
        if draft.metadata.resource_version.is_empty() {
            return Err(Error::MissingPrecondition);
        }
        let name = checked(&draft.metadata.name)?;
        let request = secrets(&draft.metadata.namespace)?.replace(name, &PostParams::default(), Vec::new());
        let body = object::encode(draft, true)?;
        self.call("Secret", request, Some(body), MAX_OBJECT, object::decode_written).await
    }

    /// Changes one key of a Secret if it still is what `resource_version` says. Labels, annotations and other keys stay.
    ///
    /// # Errors
    /// [`StatusReason::Conflict`] if somebody else wrote first, [`StatusReason::NotFound`] if it is gone.
    pub async fn change_secret(&self, change: &KeyChange<'_>) -> Result<Written, Error> {
        let request = secrets(change.namespace)?;
        self.patch("Secret", &request, change, change::encode_secret_change(change)?).await
    }

    /// Changes one key of a ConfigMap, as [`Self::change_secret`] does.
    ///
    /// # Errors
    /// As [`Self::change_secret`]; [`Error::Unreadable`] for a value that is no text.
    pub async fn change_config_map(&self, change: &KeyChange<'_>) -> Result<Written, Error> {
        let request = config_maps(change.namespace)?;
        self.patch("ConfigMap", &request, change, change::encode_config_map_change(change)?).await
    }

    /// Creates a ConfigMap with one key.
    ///
    /// # Errors
    /// [`StatusReason::AlreadyExists`] if there is one.
    pub async fn create_config_map(
        &self,
        namespace: &str,
        name: &str,
        key: &str,
        value: &SecretValue,
    ) -> Result<Written, Error> {
        let body = change::encode_config_map(namespace, checked(name)?, key, value)?;
        let request = config_maps(namespace)?.create(&PostParams::default(), Vec::new());
        self.call("ConfigMap", request, Some(body), MAX_OBJECT, object::decode_written).await
    }

    async fn patch(
        &self,
        what: &'static str,
        request: &Request,
        change: &KeyChange<'_>,
        body: ZeroingBuffer,
    ) -> Result<Written, Error> {
        let KeyChange { namespace: _, name, resource_version, key: _, value: _, field_manager } = change;
        if resource_version.is_empty() {
            return Err(Error::MissingPrecondition);
        }
        let parameters = PatchParams { field_manager: Some((*field_manager).to_owned()), ..PatchParams::default() };
        // The body is put in below; this one only chooses the kind of patch.
        let request = request.patch(checked(name)?, &parameters, &Patch::Merge(()));
        self.call(what, request, Some(body), MAX_OBJECT, object::decode_written).await
    }

    /// Deletes a Secret if it still is the one of this `uid` and `resource_version`.
    ///
    /// # Errors
    /// [`StatusReason::Conflict`] if it is not, [`StatusReason::NotFound`] if it is gone.
    pub async fn delete_secret(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        resource_version: &str,
    ) -> Result<(), Error> {
        if uid.is_empty() || resource_version.is_empty() {
            return Err(Error::MissingPrecondition);
        }
        let preconditions =
            Preconditions { uid: Some(uid.to_owned()), resource_version: Some(resource_version.to_owned()) };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let request = secrets(namespace)?.delete(checked(name)?, &parameters);
        self.call("Status", request, None, MAX_OBJECT, |_| Some(())).await
    }

    /// Asks for a token of a ServiceAccount that is good for one audience and as short a time as the API server allows.
    ///
    /// # Errors
    /// [`StatusReason::NotFound`] if there is no such account, 403 without the right to create its `token` subresource.
    pub async fn request_token(&self, namespace: &str, account: &str, audience: &str) -> Result<IssuedToken, Error> {
        let accounts = <core::ServiceAccount as kube::Resource>::url_path(&(), Some(checked(namespace)?));
        let body = object::encode_token_request(audience, TOKEN_LIFE)?;
        let request =
            Request::new(accounts).create_subresource("token", checked(account)?, &PostParams::default(), Vec::new());
        self.call("TokenRequest", request, Some(body), MAX_STATUS, object::decode_token).await
    }

    async fn call<T>(
        &self,
        what: &'static str,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
        body: Option<ZeroingBuffer>,
        limit: usize,
        decode: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<T, Error> {
        // Namespace and name are checked before, so a request that cannot be built has a bad name somewhere else.
        let request = request.map_err(|_| Error::InvalidName)?;
        let request = match body {
            Some(body) => request.map(|_| Body::from(body.into_bytes())),
            None => request.map(Body::from),
        };
        match tokio::time::timeout(self.timeout, self.exchange(request, limit)).await {
            Ok(answer) => decode(answer?.as_slice()).ok_or(Error::Unreadable(what)),
            Err(_) => Err(Error::Timeout(self.timeout)),
        }
    }

    async fn exchange(&self, request: http::Request<Body>, limit: usize) -> Result<ZeroingBuffer, Error> {
        let response = self.client.send(request).await.map_err(|error| Error::from_client(&error))?;
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        if status.is_success() {
            return collect(response.into_body(), limit).await;
        }
        // The reason is only a help: without it the status code still says enough.
        let body = collect(response.into_body(), MAX_STATUS).await.unwrap_or_default();
        Err(Error::Refused(Refusal::read(status.as_u16(), retry_after.map(Duration::from_secs), body.as_slice())))
    }
}

/// Reads a body into a buffer that is zeroed at the end.
async fn collect(body: Body, limit: usize) -> Result<ZeroingBuffer, Error> {
    let mut chunks = http_body_util::BodyDataStream::new(body);
    let mut buffer = ZeroingBuffer::default();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| Error::from_client(&error))?;
        if buffer.as_slice().len().saturating_add(chunk.len()) > limit {
            return Err(Error::AnswerTooLarge(limit));
        }
        buffer.extend(&chunk);
    }
    Ok(buffer)
}

fn secrets(namespace: &str) -> Result<Request, Error> {
    Ok(Request::new(<core::Secret as kube::Resource>::url_path(&(), Some(checked(namespace)?))))
}

fn config_maps(namespace: &str) -> Result<Request, Error> {
    Ok(Request::new(<core::ConfigMap as kube::Resource>::url_path(&(), Some(checked(namespace)?))))
}

/// Whether `text` can be the name of an object: a DNS subdomain of RFC 1123, as the API server wants it.
#[must_use]
pub fn is_object_name(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !text.is_empty()
        && text.len() <= 253
        && text.split('.').all(|label| {
            label.bytes().all(|byte| alphanumeric(byte) || byte == b'-')
                && label.bytes().next().is_some_and(alphanumeric)
                && label.bytes().next_back().is_some_and(alphanumeric)
        })
}

/// A name that may stand in a request's path as it is.
fn checked(name: &str) -> Result<&str, Error> {
    if is_object_name(name) { Ok(name) } else { Err(Error::InvalidName) }
}

/// The API server's own "there is none" as `None`; any other 404 stays an error, so that a proxy cannot make a value
/// look missing.
fn absent_as_none<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(Error::Refused(refusal)) if refusal.status == 404 && refusal.reason == StatusReason::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
