//! What every HTTP request meets first: origin, budgets, routes, size, nesting, syntax.
//!
//! Owns the plain pages and every refusal that does not need a method. Refuses requests that a web page made
//! (they carry `Origin`), unless the operator listed that origin: a node on a developer's machine must not
//! serve whatever site the developer visits.

use super::budget::{Budgets, Permit, Resource};
use super::dispatch::{DispatchLayer, empty_batch, too_busy, too_deep};
use super::reply::{page, refusal, text, with_type};
use super::scan::shape;
use crate::error::{BackendError, ErrorKind};
use crate::limits::{MAX_JSON_DEPTH, SMALL_BODY_BYTES};
use crate::methods::{Caller, Context, Transport};
use crate::metrics::{Sample, render};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Bytes, Incoming};
use jsonrpsee::core::JsonRawValue;
use jsonrpsee::server::{HttpBody, TowerService};
use serde_json::json;
use std::net::IpAddr;
use std::sync::{Arc, atomic::Ordering};
use tower::Service;
use tower::layer::util::{Identity, Stack};

/// jsonrpsee behind the dispatch gate.
pub(super) type Inner = TowerService<Stack<DispatchLayer, Identity>, Identity>;

/// One connection's view of the server.
#[derive(Clone)]
pub(super) struct Front {
    pub context: Arc<Context>,
    pub budgets: Arc<Budgets>,
    pub origins: Arc<Vec<String>>,
    pub inner: Inner,
    pub ip: IpAddr,
    /// Counts this connection as open; shared with an upgraded WebSocket.
    pub connection: Arc<Permit>,
}

const PAGES: [&str; 4] = ["/status", "/livez", "/readyz", "/metrics"];

impl Front {
    /// Answers one request.
    pub async fn answer(self, request: Request<Incoming>) -> Response<HttpBody> {
        if let Some(refused) = self.check_origin(&request) {
            return refused;
        }
        let Some(_permit) = self.budgets.take(self.ip, Resource::Request) else {
            return refusal(StatusCode::TOO_MANY_REQUESTS, &too_busy());
        };
        self.budgets.requests.fetch_add(1, Ordering::Relaxed);
        let upgrade = request.headers().contains_key(header::UPGRADE);
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/") if upgrade => self.websocket(request).await,
            (&Method::POST, "/") => self.call(request).await,
            (&Method::GET, "/") => text(
                StatusCode::OK,
                "Metanode JSON-RPC: POST here or open a WebSocket; rpc.discover describes the methods, \
                 GET /status /livez /readyz /metrics are plain pages.\n",
            ),
            (&Method::GET, path) if PAGES.contains(&path) => self.page(path),
            (_, "/") => not_allowed("GET, POST"),
            (_, path) if PAGES.contains(&path) => not_allowed("GET"),
            _ => text(
                StatusCode::NOT_FOUND,
                "no such page: try /status, /livez, /readyz, /metrics or POST /\n",
            ),
        }
    }

    fn check_origin(&self, request: &Request<Incoming>) -> Option<Response<HttpBody>> {
        let origin = request.headers().get(header::ORIGIN)?;
        let known = origin.to_str().is_ok_and(|o| self.origins.iter().any(|a| a == o));
        (!known).then(|| {
            let error = BackendError::unsupported("requests from web pages are refused")
                .next("list the page's origin under rpc.allowed_origins of this node");
            refusal(StatusCode::FORBIDDEN, &error)
        })
    }

    fn page(&self, path: &str) -> Response<HttpBody> {
        match path {
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/status" => match self.context.backend.status() {
                Ok(status) => page(StatusCode::OK, &json!(status)),
                Err(e) => page(StatusCode::SERVICE_UNAVAILABLE, &json!(e.data())),
            },
            "/readyz" => {
                let r = self.context.backend.readiness();
                let status = if r.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                page(status, &json!({"ready": r.ready, "reason": r.reason, "lag": r.lag}))
            }
            _ => {
                let mut samples = self.context.backend.metrics();
                samples.extend(self.own_metrics());
                with_type(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", render(&samples))
            }
        }
    }

    fn own_metrics(&self) -> [Sample; 4] {
        let b = &self.budgets;
        let count = |v: usize| v as f64;
        [
            Sample::counter(
                "metanode_rpc_requests_total",
                "HTTP requests taken.",
                b.requests.load(Ordering::Relaxed),
            ),
            Sample::counter(
                "metanode_rpc_refused_total",
                "Connections and requests refused because a budget was used up.",
                b.refused.load(Ordering::Relaxed),
            ),
            Sample::gauge(
                "metanode_rpc_connections",
                "Open connections.",
                count(b.held(Resource::Connection)),
            ),
            Sample::gauge(
                "metanode_rpc_in_flight",
                "Requests being answered.",
                count(b.held(Resource::Request)),
            ),
        ]
    }

    async fn websocket(mut self, mut request: Request<Incoming>) -> Response<HttpBody> {
        request.extensions_mut().insert(Caller { ip: self.ip, transport: Transport::WebSocket });
        let (closed, connection) = (self.inner.on_session_closed(), self.connection.clone());
        let response = self.forward(request.map(HttpBody::new)).await;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            // The connection counts until the session ends, which outlives the HTTP exchange.
            tokio::spawn(async move {
                closed.await;
                drop(connection);
            });
        }
        response
    }

    async fn call(self, request: Request<Incoming>) -> Response<HttpBody> {
        let (mut parts, body) = request.into_parts();
        let json = parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if !json.to_ascii_lowercase().starts_with("application/json") {
            let error = BackendError::new(ErrorKind::InvalidRequest, "the request has another content type")
                .next("send it with content-type: application/json");
            return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, &error);
        }
        let bytes = match self.read(body).await {
            Ok(bytes) => bytes,
            Err(refused) => return *refused,
        };
        if let Err(e) = self.check(&bytes) {
            return refusal(StatusCode::OK, &e);
        }
        parts.extensions.insert(Caller { ip: self.ip, transport: Transport::Http });
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        parts.headers.remove(header::TRANSFER_ENCODING);
        self.forward(Request::from_parts(parts, HttpBody::from(Vec::from(bytes)))).await
    }

    async fn forward(mut self, request: Request<HttpBody>) -> Response<HttpBody> {
        match self.inner.call(request).await {
            Ok(response) => response,
            Err(e) => {
                tracing::error!(error = %e, "the RPC service failed");
                let error = BackendError::internal("the RPC service failed; the node's log says why");
                refusal(StatusCode::INTERNAL_SERVER_ERROR, &error)
            }
        }
    }

    /// The whole body, bounded in size, in time and in how many are read at once.
    async fn read(&self, body: Incoming) -> Result<Bytes, Box<Response<HttpBody>>> {
        let limits = &self.context.limits;
        let cap = limits.request_bytes;
        let small = body.size_hint().exact().is_some_and(|n| n <= SMALL_BODY_BYTES as u64);
        let read = async {
            let _place = if small { None } else { Some(self.budgets.large_bodies.acquire().await) };
            Limited::new(body, cap).collect().await
        };
        match tokio::time::timeout(limits.body_timeout, read).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(e)) if e.is::<http_body_util::LengthLimitError>() => {
                let error = BackendError::limit(format!("the request body exceeds {cap} bytes"));
                Err(Box::new(refusal(StatusCode::PAYLOAD_TOO_LARGE, &error)))
            }
            Ok(Err(e)) => {
                let error =
                    BackendError::new(ErrorKind::InvalidRequest, format!("read the request body: {e}"));
                Err(Box::new(refusal(StatusCode::BAD_REQUEST, &error)))
            }
            Err(_) => {
                let error =
                    BackendError::limit(format!("the body did not arrive within {:?}", limits.body_timeout));
                Err(Box::new(refusal(StatusCode::REQUEST_TIMEOUT, &error)))
            }
        }
    }

    /// Nesting, batch length and syntax, in this order, so that nothing unbounded is parsed.
    fn check(&self, bytes: &[u8]) -> Result<(), BackendError> {
        let shape = shape(bytes, MAX_JSON_DEPTH);
        if shape.depth > MAX_JSON_DEPTH {
            return Err(too_deep());
        }
        let most = self.context.limits.batch;
        match shape.batch {
            Some(0) => return Err(empty_batch()),
            Some(n) if n > most => {
                return Err(BackendError::limit(format!(
                    "the batch has {n} calls, at most {most} are taken"
                )));
            }
            _ => {}
        }
        let value: &JsonRawValue = serde_json::from_slice(bytes)
            .map_err(|e| BackendError::new(ErrorKind::Parse, format!("the request is not JSON: {e}")))?;
        if shape.batch.is_none() {
            serde_json::from_str::<Envelope<'_>>(value.get()).map_err(|e| {
                BackendError::new(ErrorKind::InvalidRequest, format!("not a JSON-RPC 2.0 request: {e}"))
                    .next(r#"send {"jsonrpc":"2.0","id":1,"method":"chain_status"}"#)
            })?;
        }
        Ok(())
    }
}

/// The outer form of a call, to explain what is wrong with one.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only whether it parses matters")]
struct Envelope<'a> {
    jsonrpc: jsonrpsee::types::TwoPointZero,
    #[serde(borrow)]
    method: std::borrow::Cow<'a, str>,
    #[serde(borrow, default)]
    params: Option<&'a JsonRawValue>,
    #[serde(borrow, default)]
    id: Option<jsonrpsee::types::Id<'a>>,
}

fn not_allowed(allow: &'static str) -> Response<HttpBody> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("this page takes {allow}\n"));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}
