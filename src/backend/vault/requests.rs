//! A request that `vaultrs` has not.

use rustify::endpoint::Endpoint;
use rustify::enums::{RequestMethod, RequestType, ResponseType};

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
