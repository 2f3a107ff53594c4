//! A request that carries a value: those of `vaultrs` take a `String` or a `serde_json::Value`, which leave copies of it
//! behind and show it in `Debug`.

use rustify::endpoint::Endpoint;
use rustify::enums::{RequestMethod, RequestType, ResponseType};
use rustify::errors::ClientError;
use zeroize::Zeroizing;

/// Sends a JSON object to a path.
pub struct Post {
    /// From the mount on.
    pub path: String,
    /// The object.
    pub body: Zeroizing<Vec<u8>>,
}

impl Endpoint for Post {
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
