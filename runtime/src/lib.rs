//! The runtime: images, the WASM cage, the reconcile planner and the driver that makes its plans so.
//!
//! Refuses to know the chain: it is handed assignments and gives back observations. It does no networking and holds
//! no keys. Everything unsafe or privileged is in `metanode-cage`; this crate forbids unsafe code. Reading order:
//! `reconcile` (what should happen), `driver` (making it so), `wasm` (the cage for modules), `image`.

#![forbid(unsafe_code)]

mod digest;
pub mod driver;
mod error;
pub mod image;
pub mod levels;
pub mod limits;
pub mod reconcile;
pub mod wasm;

pub use error::{Error, Result};
