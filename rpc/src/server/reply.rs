//! Plain HTTP answers, and JSON-RPC errors that are given before jsonrpsee sees a request.

use crate::error::BackendError;
use http::{HeaderValue, Response, StatusCode, header};
use jsonrpsee::server::HttpBody;
use jsonrpsee::types::ErrorObjectOwned;
use serde_json::{Value, json};

/// `{"jsonrpc":"2.0","id":null,"error":…}`.
pub(super) fn error_text(error: &BackendError) -> String {
    let error: ErrorObjectOwned = error.clone().into();
    json!({"jsonrpc": "2.0", "id": null, "error": error}).to_string()
}

/// A JSON-RPC error under an HTTP status.
pub(super) fn refusal(status: StatusCode, error: &BackendError) -> Response<HttpBody> {
    let mut response = with_type(status, "application/json; charset=utf-8", error_text(error));
    if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if status == StatusCode::PAYLOAD_TOO_LARGE || status == StatusCode::REQUEST_TIMEOUT {
        // What is left of the body is not read.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A JSON page.
pub(super) fn page(status: StatusCode, body: &Value) -> Response<HttpBody> {
    with_type(status, "application/json; charset=utf-8", format!("{body}\n"))
}

/// A text page.
pub(super) fn text(status: StatusCode, body: impl Into<String>) -> Response<HttpBody> {
    with_type(status, "text/plain; charset=utf-8", body.into())
}

/// A page of any type.
pub(super) fn with_type(status: StatusCode, kind: &'static str, body: String) -> Response<HttpBody> {
    let mut response = Response::new(HttpBody::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
