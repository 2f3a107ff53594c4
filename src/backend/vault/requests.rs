//! Two requests that `vaultrs` has not, or not in a form for secrets.

use rustify::endpoint::Endpoint;
use rustify::enums::{RequestMethod, RequestType, ResponseType};
use rustify::errors::ClientError;
use zeroize::Zeroizing;

/// Writes an object. The request of `vaultrs` takes a `serde_json::Value`, which leaves copies of the value behind and
/// shows it in `Debug`.
pub(super) struct Put {
    /// From the mount on.
    pub(super) path: String,
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl Endpoint for Put {
    type Response = ();
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        self.path.clone()
    }

    fn method(&self) -> RequestMethod {
        RequestMethod::POST
    }

    fn body(&self) -> Result<Option<Vec<u8>>, ClientError> {
        Ok(Some(self.body.to_vec()))
    }
}

/// Asks what is mounted at a path; every token with some right below it may
/// (<https://developer.hashicorp.com/vault/api-docs/system/internal-ui-mounts>).
pub(super) struct ReadMount {
    pub(super) mount: String,
}

impl Endpoint for ReadMount {
    type Response = ();
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        format!("sys/internal/ui/mounts/{}", self.mount)
    }

    fn method(&self) -> RequestMethod {
        RequestMethod::GET
    }
}
