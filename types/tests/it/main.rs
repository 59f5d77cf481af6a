//! Tests of `metanode-types` from outside: vectors by other authors, frozen encodings, strict decoding.
//!
//! One binary, so that it links once. Everything here goes through public interfaces.

#![forbid(unsafe_code)]

mod bls;
mod ed25519;
mod frozen;
mod json;
mod limits;
mod samples;
mod strict;

/// The crate's `tests/vectors` directory.
fn vectors() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}
