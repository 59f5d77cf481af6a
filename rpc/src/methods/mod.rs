//! The table of methods: what is registered, and what the OpenRPC document says, are both read from it.
//!
//! Owns the parsing of parameters, the choice of where a call runs (inline, on the blocking pool, or as a
//! wait) and the caps of an answer. Refuses unknown parameters by name.

mod chain;
mod deployment;
mod ledger;
mod node;
pub mod params;

use crate::backend::{Answer, Backend};
use crate::error::{BackendError, ErrorKind};
use crate::limits::{DEFAULT_PAGE, Limits, MAX_HEAVY_CALLS, MAX_STORE_CALLS};
use crate::schema::{Field, ObjectSchema, Schema};
use futures::future::BoxFuture;
use jsonrpsee::core::{JsonRawValue, to_json_raw_value};
use metanode_types::limits::MAX_PAGE;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{future::Future, net::IpAddr, sync::Arc};
use tokio::sync::Semaphore;

/// How a caller reached the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// One request, one answer.
    Http,
    /// A connection that can carry subscriptions.
    WebSocket,
}

/// Who calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caller {
    /// Address of the other end.
    pub ip: IpAddr,
    /// How it reached the node.
    pub transport: Transport,
}

/// Who may hand images to this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ImageUpload {
    /// Nobody.
    Refused,
    /// Callers on this machine.
    #[default]
    Loopback,
    /// Everybody who reaches the port.
    Anyone,
}

/// What every method may use.
pub struct Context {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) limits: Limits,
    pub(crate) image_upload: ImageUpload,
    store: Arc<Semaphore>,
    heavy: Arc<Semaphore>,
}

impl Context {
    pub(crate) fn new(backend: Arc<dyn Backend>, limits: Limits, image_upload: ImageUpload) -> Arc<Context> {
        let store = Arc::new(Semaphore::new(MAX_STORE_CALLS));
        Arc::new(Context {
            backend,
            limits,
            image_upload,
            store,
            heavy: Arc::new(Semaphore::new(MAX_HEAVY_CALLS)),
        })
    }

    /// Runs `ask` on the blocking pool, bounded in number and time. The permit is held until the work has
    /// really ended, even when the caller gave up, so that abandoned calls cannot pile up.
    pub(crate) async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        cost: Cost,
        ask: impl FnOnce(&dyn Backend) -> Answer<T> + Send + 'static,
    ) -> Answer<T> {
        let (gate, timeout) = match cost {
            Cost::Inline => return ask(self.backend.as_ref()),
            Cost::Store => (self.store.clone(), self.limits.call_timeout),
            Cost::Heavy => (self.heavy.clone(), self.limits.call_timeout * 4),
        };
        let backend = self.backend.clone();
        let work = async move {
            let permit =
                gate.acquire_owned().await.map_err(|_| BackendError::unavailable("the node is stopping"))?;
            let work = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                ask(backend.as_ref())
            });
            work.await
                .map_err(|_| BackendError::internal("the call failed inside the node; its log says why"))?
        };
        tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| {
            Err(BackendError::unavailable(format!("the node did not answer within {timeout:?}"))
                .next("try again later, or ask for less"))
        })
    }
}

/// Where a call runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cost {
    /// Touches memory only: answered at once.
    Inline,
    /// May touch the disk.
    Store,
    /// Reads much of the chain.
    Heavy,
}

type Result<T> = std::result::Result<T, BackendError>;
type Outcome = BoxFuture<'static, Result<Box<JsonRawValue>>>;
type CallFn = dyn Fn(Arc<Context>, Caller, String) -> Outcome + Send + Sync;

/// What a name stands for.
#[derive(Clone)]
pub(crate) enum Call {
    /// Request and answer.
    Once(Arc<CallFn>),
    /// A stream of notifications until the unsubscribe method is called.
    Subscription {
        /// Method name of the notifications.
        notification: &'static str,
        /// Method that ends the stream.
        unsubscribe: &'static str,
    },
}

/// One line of the table.
pub struct Method {
    /// Name on the wire.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Kinds of error beyond those that every method may return.
    pub errors: &'static [ErrorKind],
    /// Parameters in order.
    pub params: fn() -> Vec<Field>,
    /// Schema of the answer.
    pub result: fn() -> Value,
    pub(crate) call: Call,
}

/// A method that asks the backend once.
pub(crate) fn ask<P, R>(
    name: &'static str,
    summary: &'static str,
    cost: Cost,
    errors: &'static [ErrorKind],
    question: fn(&dyn Backend, P) -> Answer<R>,
) -> Method
where
    P: DeserializeOwned + ObjectSchema + Send + 'static,
    R: Serialize + Schema + Send + 'static,
{
    wait(name, summary, errors, move |context: Arc<Context>, _, params: P| async move {
        context.ask(cost, move |backend| question(backend, params)).await
    })
}

/// A method that bounds its own time.
pub(crate) fn wait<P, R, F, Fut>(
    name: &'static str,
    summary: &'static str,
    errors: &'static [ErrorKind],
    run: F,
) -> Method
where
    P: DeserializeOwned + ObjectSchema + Send + 'static,
    R: Serialize + Schema + Send + 'static,
    F: Fn(Arc<Context>, Caller, P) -> Fut + Send + Sync + Clone + 'static,
    Fut: Future<Output = Result<R>> + Send + 'static,
{
    let call: Arc<CallFn> = Arc::new(move |context, caller, text| {
        let run = run.clone();
        Box::pin(async move {
            let cap = response_cap(name, &context.limits);
            let params = parse::<P>(name, &text)?;
            let answer = to_json_raw_value(&run(context, caller, params).await?)
                .map_err(|e| BackendError::internal(format!("{name}: write the answer: {e}")))?;
            let bytes = answer.get().len();
            if bytes > cap {
                return Err(BackendError::limit(format!(
                    "the answer has {bytes} bytes, at most {cap} are sent"
                ))
                .next("ask for a smaller page"));
            }
            Ok(answer)
        })
    });
    Method { name, summary, errors, params: P::fields, result: R::schema, call: Call::Once(call) }
}

fn response_cap(name: &str, limits: &Limits) -> usize {
    if name == "proof_export" { crate::limits::MAX_BUNDLE_RESPONSE_BYTES } else { limits.response_bytes }
}

/// Reads parameters by name or by position.
pub(crate) fn parse<P: DeserializeOwned + ObjectSchema>(name: &str, text: &str) -> Result<P> {
    let text = if text.is_empty() { "{}" } else { text };
    serde_json::from_str(text).map_err(|e| {
        let names: Vec<&str> = P::fields().iter().map(|f| f.name).collect();
        let expected = if names.is_empty() { "no parameters".to_owned() } else { names.join(", ") };
        BackendError::new(ErrorKind::InvalidParams, format!("{name}: {e}"))
            .next(format!("{name} takes {expected}; rpc.discover describes them"))
    })
}

/// The number of entries of a page.
pub(crate) fn page_limit(limit: Option<u32>) -> Result<usize> {
    match limit.map(|l| l as usize) {
        None => Ok(DEFAULT_PAGE),
        Some(0) => Err(BackendError::invalid("limit must be above zero")),
        Some(l) if l > MAX_PAGE => {
            Err(BackendError::limit(format!("limit {l} exceeds {MAX_PAGE}"))
                .next("follow the cursor in `next`"))
        }
        Some(l) => Ok(l),
    }
}

/// A typed cursor from its text.
pub(crate) fn cursor<C: std::str::FromStr>(text: Option<String>) -> Result<Option<C>> {
    let bad = |t: &str| {
        let shown: String = t.chars().take(80).collect();
        BackendError::invalid(format!("{shown:?} is not a cursor of this list"))
            .next("pass `next` of the page before, unchanged")
    };
    text.map(|t| t.parse().map_err(|_| bad(&t))).transpose()
}

/// Every method, in the order of the document.
pub fn table() -> Vec<Method> {
    let mut all = chain::methods();
    all.extend(ledger::methods());
    all.extend(deployment::methods());
    all.extend(node::methods());
    all.extend(crate::events::methods());
    all.extend(crate::openrpc::methods());
    all
}
