//! Answers as Google forms them.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::tls_server::Response;

pub(super) fn ok(body: &Value) -> Response {
    with(StatusCode::OK, body)
}

/// `google.rpc.Status` (<https://cloud.google.com/apis/design/errors#http_mapping>).
pub(super) fn error(status: &str, message: &str) -> Response {
    refused(status, message, None)
}

/// The same with a `google.rpc.ErrorInfo` that has a reason.
pub(super) fn error_for(status: &str, message: &str, reason: &str) -> Response {
    refused(status, message, Some(reason))
}

/// RFC 6749 section 5.2.
pub(super) fn oauth_error(code: StatusCode, error: &str, description: &str) -> Response {
    with(code, &json!({"error": error, "error_description": description}))
}

/// What Google's front end says to a path that no service has.
pub(super) fn not_found_page() -> Response {
    let mut response =
        http::Response::new(Bytes::from_static(b"<!DOCTYPE html><title>Error 404 (Not Found)!!1</title>"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=UTF-8"));
    response
}

fn refused(status: &str, message: &str, reason: Option<&str>) -> Response {
    let code = match status {
        "INVALID_ARGUMENT" | "FAILED_PRECONDITION" => StatusCode::BAD_REQUEST,
        "UNAUTHENTICATED" => StatusCode::UNAUTHORIZED,
        "PERMISSION_DENIED" => StatusCode::FORBIDDEN,
        "NOT_FOUND" => StatusCode::NOT_FOUND,
        "ALREADY_EXISTS" => StatusCode::CONFLICT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut error = json!({"code": code.as_u16(), "message": message, "status": status});
    if let (Some(reason), Value::Object(error)) = (reason, &mut error) {
        let info = json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason,
            "domain": "googleapis.com"});
        error.insert("details".to_owned(), json!([info]));
    }
    with(code, &json!({"error": error}))
}

fn with(code: StatusCode, body: &Value) -> Response {
    let mut response = http::Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = code;
    let json = HeaderValue::from_static("application/json; charset=UTF-8");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
