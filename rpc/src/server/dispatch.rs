//! The last gate before a method: unknown names, subscriptions on the wrong transport, nesting.
//!
//! Owns errors that jsonrpsee would give without data, so that errors look alike on both transports. What it
//! refuses before any middleware keeps jsonrpsee's form, on a WebSocket only (the front checks HTTP bodies):
//! -32007 an oversized message, -32010 an over-long batch, -32700 and -32600 what is not a request.

use super::budget::{Budgets, Permit, Resource};
use super::scan::shape;
use crate::error::{BackendError, ErrorKind};
use crate::events::{SUBSCRIBE, UNSUBSCRIBE};
use crate::limits::{MAX_BUNDLE_RESPONSE_BYTES, MAX_JSON_DEPTH};
use crate::methods::{Caller, Transport};
use jsonrpsee::core::middleware::{Batch, BatchEntry, Notification, RpcServiceT};
use jsonrpsee::server::{BatchResponseBuilder, MethodResponse};
use jsonrpsee::types::error::TOO_MANY_SUBSCRIPTIONS_CODE;
use jsonrpsee::types::{ErrorObjectOwned, Id, Request};
use std::{collections::BTreeSet, future::Future, sync::Arc};
use tower::Layer;

/// Wraps the service of every connection.
#[derive(Clone)]
pub(super) struct DispatchLayer {
    names: Arc<BTreeSet<&'static str>>,
    budgets: Arc<Budgets>,
}

impl DispatchLayer {
    pub fn new(names: BTreeSet<&'static str>, budgets: Arc<Budgets>) -> Self {
        DispatchLayer { names: Arc::new(names), budgets }
    }
}

impl<S> Layer<S> for DispatchLayer {
    type Service = Dispatch<S>;
    fn layer(&self, inner: S) -> Dispatch<S> {
        Dispatch { inner: Arc::new(inner), gate: self.clone() }
    }
}

/// The gate of one connection.
pub(super) struct Dispatch<S> {
    inner: Arc<S>,
    gate: DispatchLayer,
}

impl<S> Clone for Dispatch<S> {
    fn clone(&self) -> Self {
        Dispatch { inner: self.inner.clone(), gate: self.gate.clone() }
    }
}

impl<S> Dispatch<S> {
    /// Admits a call. HTTP requests were counted at the front; messages of a WebSocket are counted here.
    fn admit(&self, request: &Request<'_>) -> Result<Option<Permit>, BackendError> {
        let name = request.method_name();
        if !self.gate.names.contains(name) {
            let shown: String = name.chars().take(80).collect();
            let error = BackendError::new(ErrorKind::MethodNotFound, format!("there is no method {shown:?}"));
            return Err(error.next("rpc.discover lists the methods"));
        }
        let streams = name == SUBSCRIBE || name == UNSUBSCRIBE;
        let caller = request.extensions().get::<Caller>().filter(|c| c.transport == Transport::WebSocket);
        if streams && caller.is_none() {
            let error = BackendError::unsupported(format!("{name} needs a connection that stays open"));
            return Err(error.next("open a WebSocket to the same address"));
        }
        let depth = request.params.as_ref().map_or(0, |p| shape(p.get().as_bytes(), MAX_JSON_DEPTH).depth);
        if depth > MAX_JSON_DEPTH {
            return Err(too_deep());
        }
        match caller.map(|c| self.gate.budgets.take(c.ip, Resource::Request)) {
            Some(None) => Err(too_busy()),
            Some(permit) => Ok(permit),
            None => Ok(None),
        }
    }
}

/// The refusal of one more request.
pub(super) fn too_busy() -> BackendError {
    BackendError::limit("too many requests at once").next("retry after a second")
}

/// jsonrpsee has a code of its own for this budget; callers see one code for all budgets.
fn same_codes(id: Id<'_>, response: MethodResponse) -> MethodResponse {
    if response.as_error_code() != Some(TOO_MANY_SUBSCRIPTIONS_CODE) {
        return response;
    }
    let error =
        BackendError::limit("too many subscriptions on this connection").next("end one, or open another");
    MethodResponse::error(id, ErrorObjectOwned::from(error))
}

/// The refusal of a batch without calls.
pub(super) fn empty_batch() -> BackendError {
    BackendError::new(ErrorKind::InvalidRequest, "the batch is empty")
}

/// The refusal of deeply nested JSON.
pub(super) fn too_deep() -> BackendError {
    BackendError::limit(format!("the request nests deeper than {MAX_JSON_DEPTH} levels"))
}

impl<S> RpcServiceT for Dispatch<S>
where
    S: RpcServiceT<
            MethodResponse = MethodResponse,
            NotificationResponse = MethodResponse,
            BatchResponse = MethodResponse,
        > + Send
        + Sync
        + 'static,
{
    type MethodResponse = MethodResponse;
    type NotificationResponse = MethodResponse;
    type BatchResponse = MethodResponse;

    fn call<'a>(&self, mut request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let this = self.clone();
        async move {
            let id = request.id.clone();
            match this.admit(&request) {
                Ok(permit) => {
                    // The method holds it until its answer was sent.
                    if let Some(permit) = permit {
                        request.extensions_mut().insert(Arc::new(permit));
                    }
                    same_codes(id, this.inner.call(request).await)
                }
                Err(e) => MethodResponse::error(id, ErrorObjectOwned::from(e)),
            }
        }
    }

    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let this = self.clone();
        async move {
            let mut out = BatchResponseBuilder::new_with_limit(MAX_BUNDLE_RESPONSE_BYTES);
            let mut notified = false;
            for entry in batch {
                let answer = match entry {
                    Ok(BatchEntry::Call(request)) => this.call(request).await,
                    Ok(BatchEntry::Notification(n)) => {
                        notified = true;
                        this.notification(n).await;
                        continue;
                    }
                    Err(e) => {
                        let (error, id) = e.into_parts();
                        MethodResponse::error(id, error)
                    }
                };
                if let Err(too_large) = out.append(answer) {
                    return too_large;
                }
            }
            match (out.is_empty(), notified) {
                (true, true) => MethodResponse::notification(),
                (true, false) => MethodResponse::error(Id::Null, ErrorObjectOwned::from(empty_batch())),
                _ => MethodResponse::from_batch(out.finish()),
            }
        }
    }

    fn notification<'a>(&self, n: Notification<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let inner = self.inner.clone();
        async move { inner.notification(n).await }
    }
}
