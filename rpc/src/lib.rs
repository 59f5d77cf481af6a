//! JSON-RPC 2.0 over HTTP and WebSocket on one port, a few plain HTTP pages beside it, and the typed client.
//!
//! Owns what the outside sees: the views, the methods, the error codes, the budgets of a request and the
//! OpenRPC document. Refuses to know consensus, state, p2p or runtime: all knowledge comes through
//! [`Backend`], which `node` implements.
//!
//! **Invariants.** A method cannot be registered without standing in the OpenRPC document: both come from
//! [`methods::table`]. Every queue, body, batch and wait has a bound named in [`limits`]. Bytes of strangers
//! end in an error with a code, never in a panic or in unbounded work.
//!
//! ```text
//! socket -> server::accept (connections) -> server::front (origin, routes, size, depth, in flight)
//!        -> jsonrpsee -> server::dispatch (unknown methods, batches) -> methods -> Backend
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used))]

pub mod backend;
pub mod client;
pub mod error;
mod events;
pub mod limits;
pub mod methods;
pub mod metrics;
pub mod openrpc;
pub mod schema;
pub mod server;
pub mod views;

pub use backend::{Backend, BlockKey, IdPrefix};
pub use client::{Client, ClientError, EventStream};
pub use error::{BackendError, Error, ErrorKind};
pub use server::{Config, ServerHandle, serve};
