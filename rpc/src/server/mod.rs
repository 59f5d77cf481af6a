//! The server: one port for JSON-RPC over HTTP and WebSocket and for the plain pages.
//!
//! Owns the accept loop and the life of connections. A connection that exceeds a budget is told so and
//! closed; nothing a stranger sends ends the server. HTTP/1.1 only.

mod budget;
mod dispatch;
mod front;
mod paced;
mod reply;
mod scan;

use crate::backend::Backend;
use crate::error::{BackendError, Error};
use crate::events;
use crate::limits::{Limits, MAX_BUNDLE_RESPONSE_BYTES, MAX_REQUEST_BYTES, MAX_WS_BUFFERED};
use crate::methods::{Call, Caller, Context, ImageUpload, Transport, table};
use budget::{Budgets, Permit, Resource};
use dispatch::DispatchLayer;
use front::Front;
use hyper_util::rt::{TokioIo, TokioTimer};
use jsonrpsee::RpcModule;
use jsonrpsee::core::JsonRawValue;
use jsonrpsee::core::middleware::RpcServiceBuilder;
use jsonrpsee::server::{
    BatchRequestConfig, Methods, PingConfig, ResponsePayload, Server, ServerConfig, StopHandle,
    TowerServiceBuilder, stop_channel,
};
use jsonrpsee::types::ErrorObjectOwned;
use paced::Paced;
use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tower::layer::util::{Identity, Stack};

/// How to serve.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Budgets.
    pub limits: Limits,
    /// Web origins whose pages may call; none by default.
    pub allowed_origins: Vec<String>,
    /// Who may hand images to this node.
    pub image_upload: ImageUpload,
}

impl Config {
    /// The defaults on this address.
    pub fn new(listen: SocketAddr) -> Config {
        Config {
            listen,
            limits: Limits::default(),
            allowed_origins: Vec::new(),
            image_upload: ImageUpload::default(),
        }
    }
}

/// A running server; it stops when this is dropped.
pub struct ServerHandle {
    local_addr: SocketAddr,
    stop: jsonrpsee::server::ServerHandle,
    task: JoinHandle<()>,
}

impl ServerHandle {
    /// Address that it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops listening, lets answers under way finish for a few seconds, and closes what is left.
    pub async fn stop(self) {
        // An error says that it has stopped already.
        let _ = self.stop.stop();
        let _ = self.task.await;
    }
}

/// Time that answers under way have when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// Opens the port and serves in the background.
pub async fn serve(config: Config, backend: Arc<dyn Backend>) -> Result<ServerHandle, Error> {
    check_limits(&config.limits)?;
    let listener =
        TcpListener::bind(config.listen).await.map_err(|cause| listen_error(config.listen, cause))?;
    let local_addr = listener.local_addr().map_err(|cause| listen_error(config.listen, cause))?;
    let context = Context::new(backend, config.limits.clone(), config.image_upload);
    let (methods, names) = register(&context)?;
    let (stop_handle, stop) = stop_channel();
    let budgets = Budgets::new(config.limits.clone());
    let rpc = RpcServiceBuilder::new().layer(DispatchLayer::new(names, budgets.clone()));
    let service =
        Server::builder().set_config(rpc_config(&config.limits)).set_rpc_middleware(rpc).to_service_builder();
    let acceptor = Acceptor {
        budgets,
        origins: Arc::new(config.allowed_origins),
        context,
        methods,
        service,
        stop: stop_handle,
    };
    let task = tokio::spawn(acceptor.run(listener));
    Ok(ServerHandle { local_addr, stop, task })
}

fn listen_error(addr: SocketAddr, cause: std::io::Error) -> Error {
    let port = addr.port();
    let next_step = match cause.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!("port {port} is in use: stop the program that holds it, or choose another with --port")
        }
        std::io::ErrorKind::PermissionDenied => {
            format!("port {port} needs privileges: choose one above 1023 with --port")
        }
        _ => "check rpc.listen in config.toml".to_owned(),
    };
    Error::Listen { addr, cause, next_step }
}

fn check_limits(limits: &Limits) -> Result<(), Error> {
    let fail = |name, why: String| Err(Error::Limit { name, why });
    if limits.request_bytes == 0 || limits.request_bytes > MAX_REQUEST_BYTES {
        return fail("request_bytes", format!("must be 1 to {MAX_REQUEST_BYTES}"));
    }
    if limits.response_bytes == 0 || limits.response_bytes > MAX_BUNDLE_RESPONSE_BYTES {
        return fail("response_bytes", format!("must be 1 to {MAX_BUNDLE_RESPONSE_BYTES}"));
    }
    for (name, value) in [
        ("batch", limits.batch),
        ("connections", limits.connections),
        ("connections_per_ip", limits.connections_per_ip),
        ("in_flight", limits.in_flight),
        ("in_flight_per_ip", limits.in_flight_per_ip),
    ] {
        if value == 0 || u32::try_from(value).is_err() {
            return fail(name, format!("must be 1 to {}", u32::MAX));
        }
    }
    Ok(())
}

fn rpc_config(limits: &Limits) -> ServerConfig {
    let bound = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    ServerConfig::builder()
        .max_request_body_size(bound(limits.request_bytes))
        .max_response_body_size(bound(MAX_BUNDLE_RESPONSE_BYTES))
        // Connections and requests are counted by `Budgets`; this only must not be less.
        .max_connections(bound(limits.connections.saturating_add(limits.in_flight)))
        .max_subscriptions_per_connection(limits.subscriptions)
        .set_batch_request_config(BatchRequestConfig::Limit(bound(limits.batch)))
        .set_message_buffer_capacity(MAX_WS_BUFFERED)
        .enable_ws_ping(PingConfig::new())
        .build()
}

/// Registers the whole table, and nothing else.
fn register(context: &Arc<Context>) -> Result<(Methods, std::collections::BTreeSet<&'static str>), Error> {
    let mut module = RpcModule::new(context.clone());
    let mut names = std::collections::BTreeSet::new();
    for method in table() {
        names.insert(method.name);
        match method.call {
            Call::Once(call) => {
                module.register_async_method(method.name, move |params, context, extensions| {
                    let caller = caller(&extensions);
                    let outcome =
                        call((*context).clone(), caller, params.as_str().unwrap_or_default().to_owned());
                    let permit = extensions.get::<Arc<Permit>>().cloned();
                    async move {
                        match outcome.await {
                            Ok(answer) => until_sent(ResponsePayload::success(answer), permit),
                            Err(e) => until_sent(ResponsePayload::error(ErrorObjectOwned::from(e)), permit),
                        }
                    }
                })?;
            }
            Call::Subscription { notification, unsubscribe } => {
                names.insert(unsubscribe);
                module.register_subscription(
                    method.name,
                    notification,
                    unsubscribe,
                    |params, pending, context, _| {
                        events::serve(
                            (*context).clone(),
                            params.as_str().unwrap_or_default().to_owned(),
                            pending,
                        )
                    },
                )?;
            }
        }
    }
    Ok((module.into(), names))
}

type Payload = ResponsePayload<'static, Box<JsonRawValue>>;

/// Holds the permit of a WebSocket call until its answer is in the connection's bounded buffer.
fn until_sent(payload: Payload, permit: Option<Arc<Permit>>) -> Payload {
    let Some(permit) = permit else { return payload };
    let (payload, sent) = payload.notify_on_completion();
    tokio::spawn(async move {
        // An error says that the connection is gone, which ends the wait as well.
        let _ = sent.await;
        drop(permit);
    });
    payload
}

/// Who calls; without a note of it, the least trusted.
fn caller(extensions: &http::Extensions) -> Caller {
    let unknown = Caller { ip: std::net::Ipv4Addr::UNSPECIFIED.into(), transport: Transport::Http };
    extensions.get().copied().unwrap_or(unknown)
}

struct Acceptor {
    budgets: Arc<Budgets>,
    origins: Arc<Vec<String>>,
    context: Arc<Context>,
    methods: Methods,
    service: TowerServiceBuilder<Stack<DispatchLayer, Identity>, Identity>,
    stop: StopHandle,
}

impl Acceptor {
    async fn run(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        let stopped = self.stop.clone().shutdown();
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                () = &mut stopped => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = listener.accept() => match accepted {
                    Ok((socket, remote)) => self.admit(&mut connections, socket, remote),
                    Err(e) => {
                        // Out of descriptors, most likely: leave those that are open time to end.
                        tracing::warn!(error = %e, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
            }
        }
        drop(listener);
        let ended = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(STOP_GRACE, ended).await;
        connections.shutdown().await;
    }

    fn admit(&self, connections: &mut JoinSet<()>, socket: TcpStream, remote: SocketAddr) {
        let ip = remote.ip().to_canonical();
        let Some(permit) = self.budgets.take(ip, Resource::Connection) else {
            if let Ok(slot) = self.budgets.refusals.clone().try_acquire_owned() {
                connections.spawn(async move {
                    refuse(socket).await;
                    drop(slot);
                });
            }
            return;
        };
        let front = Front {
            context: self.context.clone(),
            budgets: self.budgets.clone(),
            origins: self.origins.clone(),
            inner: self.service.clone().build(self.methods.clone(), self.stop.clone()),
            ip,
            connection: Arc::new(permit),
        };
        connections.spawn(attend(socket, front, self.stop.clone()));
    }
}

/// Serves one connection to its end.
async fn attend(socket: TcpStream, front: Front, stop: StopHandle) {
    // Only latency depends on it.
    let _ = socket.set_nodelay(true);
    let Limits { header_timeout, write_timeout, .. } = front.context.limits;
    let service = hyper::service::service_fn(move |request| {
        let front = front.clone();
        async move { Ok::<_, Infallible>(front.answer(request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(Paced::new(socket, write_timeout)), service)
        .with_upgrades();
    tokio::pin!(connection);
    let outcome = tokio::select! {
        outcome = &mut connection => outcome,
        () = stop.shutdown() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(e) = outcome {
        tracing::debug!(error = %e, "a connection ended early");
    }
}

/// Tells a connection beyond the budget why it is closed, without reading more than a little of it.
async fn refuse(mut socket: TcpStream) {
    let error =
        BackendError::limit("too many connections").next("retry after a second, or reuse connections");
    let body = reply::error_text(&error);
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json; charset=utf-8\r\n\
         content-length: {}\r\nretry-after: 1\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let tell = async {
        socket.write_all(head.as_bytes()).await?;
        socket.write_all(body.as_bytes()).await?;
        socket.shutdown().await?;
        // Unread input would turn the close into a reset and lose the answer.
        let mut rest = [0u8; 4096];
        for _ in 0..16 {
            if socket.read(&mut rest).await? == 0 {
                break;
            }
        }
        std::io::Result::Ok(())
    };
    let _ = tokio::time::timeout(Duration::from_millis(500), tell).await;
}
