//! Owns images: what they are called, how they come in, where they are kept, how peers pass them on. Refuses
//! registries and tags. Reading order: `reference`, `store`, then `layout` → `oci` → `layer` → `unpack` for the way
//! an OCI image takes, `descriptor` → `chunks` → `fetch` for the way over the network, `pack` for making one.

pub mod chunks;
mod descriptor;
mod fetch;
mod layer;
mod layout;
mod oci;
mod pack;
mod reference;
mod rootdir;
mod stage;
mod store;
mod tree;
mod unpack;

pub use descriptor::{BlobRef, Descriptor, ImageKind, RunConfig};
pub use fetch::Fetch;
pub(crate) use layout::open_regular;
pub use pack::{PackSpec, pack};
pub use reference::Reference;
pub use store::{Chunk, Image, ImageStore};

#[cfg(test)]
mod tests;
