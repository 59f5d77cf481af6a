//! The last gate before a method: unknown names, subscriptions on the wrong transport, nesting.
//!
//! Owns errors that jsonrpsee would give without data, so that all errors look alike on both transports.

use super::scan::shape;
use crate::error::{BackendError, ErrorKind};
use crate::events::{SUBSCRIBE, UNSUBSCRIBE};
use crate::limits::{MAX_BUNDLE_RESPONSE_BYTES, MAX_JSON_DEPTH};
use crate::methods::{Caller, Transport};
use jsonrpsee::core::middleware::{Batch, BatchEntry, Notification, RpcServiceT};
use jsonrpsee::server::{BatchResponseBuilder, MethodResponse};
use jsonrpsee::types::{ErrorObjectOwned, Request};
use std::{collections::BTreeSet, future::Future, sync::Arc};
use tower::Layer;

/// Wraps the service of every connection.
#[derive(Clone)]
pub(super) struct DispatchLayer {
    names: Arc<BTreeSet<&'static str>>,
}

impl DispatchLayer {
    pub fn new(names: BTreeSet<&'static str>) -> Self {
        DispatchLayer { names: Arc::new(names) }
    }
}

impl<S> Layer<S> for DispatchLayer {
    type Service = Dispatch<S>;
    fn layer(&self, inner: S) -> Dispatch<S> {
        Dispatch { inner: Arc::new(inner), names: self.names.clone() }
    }
}

/// The gate of one connection.
pub(super) struct Dispatch<S> {
    inner: Arc<S>,
    names: Arc<BTreeSet<&'static str>>,
}

impl<S> Clone for Dispatch<S> {
    fn clone(&self) -> Self {
        Dispatch { inner: self.inner.clone(), names: self.names.clone() }
    }
}

impl<S> Dispatch<S> {
    fn check(&self, request: &Request<'_>) -> Result<(), BackendError> {
        let name = request.method_name();
        if !self.names.contains(name) {
            let shown: String = name.chars().take(80).collect();
            let error = BackendError::new(ErrorKind::MethodNotFound, format!("there is no method {shown:?}"));
            return Err(error.next("rpc.discover lists the methods"));
        }
        let streams = name == SUBSCRIBE || name == UNSUBSCRIBE;
        let http = request.extensions().get::<Caller>().is_none_or(|c| c.transport == Transport::Http);
        if streams && http {
            let error = BackendError::unsupported(format!("{name} needs a connection that stays open"));
            return Err(error.next("open a WebSocket to the same address"));
        }
        let depth = request.params.as_ref().map_or(0, |p| shape(p.get().as_bytes(), MAX_JSON_DEPTH).depth);
        if depth > MAX_JSON_DEPTH {
            return Err(too_deep());
        }
        Ok(())
    }
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

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let this = self.clone();
        async move {
            match this.check(&request) {
                Ok(()) => this.inner.call(request).await,
                Err(e) => MethodResponse::error(request.id.clone(), ErrorObjectOwned::from(e)),
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
            if out.is_empty() && notified {
                MethodResponse::notification()
            } else {
                MethodResponse::from_batch(out.finish())
            }
        }
    }

    fn notification<'a>(&self, n: Notification<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let inner = self.inner.clone();
        async move { inner.notification(n).await }
    }
}
