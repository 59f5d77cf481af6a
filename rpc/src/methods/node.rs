//! `node_*`: the machine behind the interface, and the upload of images to it.
//!
//! An upload is `node_image_have` (hand over the descriptor, learn what is missing), `node_image_put` per
//! chunk, `node_image_commit`. It spends the node's disk, so by default only callers on the same machine may.

use super::params::*;
use super::{Caller, Context, Cost, ImageUpload, Method, Result, ask, wait};
use crate::backend::ImageChunk;
use crate::error::{BackendError, ErrorKind};
use crate::limits::{IMAGE_CHUNK_BYTES, MAX_DESCRIPTOR_BYTES};
use crate::views::*;
use metanode_types::workload::ImageRef;
use std::sync::Arc;

const UPLOAD: &[ErrorKind] =
    &[ErrorKind::InvalidInput, ErrorKind::NotFound, ErrorKind::Unavailable, ErrorKind::Unsupported];

pub(super) fn methods() -> Vec<Method> {
    use Cost::{Inline, Store};
    vec![
        ask("node_status", "The machine behind this interface.", Store, &[], |b, _: NoParams| {
            b.node_status()
        }),
        ask("node_peers", "Connected peers.", Inline, &[], |b, _: NoParams| b.peers()),
        ask("node_images", "Images that this node holds.", Store, &[], |b, _: NoParams| b.images()),
        wait("node_image_have", "Begins the upload of an image: says which blobs are missing.", UPLOAD, have),
        wait("node_image_put", "Stores one chunk of a blob.", UPLOAD, put),
        wait("node_image_commit", "Verifies an uploaded image as a whole and offers it.", UPLOAD, commit),
    ]
}

fn allowed(context: &Context, caller: Caller) -> Result<()> {
    match context.image_upload {
        ImageUpload::Anyone => Ok(()),
        ImageUpload::Loopback if caller.ip.is_loopback() => Ok(()),
        ImageUpload::Loopback => {
            Err(BackendError::unsupported("this node takes images only from its own machine")
                .next("import the image on that machine, or set rpc.image_upload = \"anyone\" there"))
        }
        ImageUpload::Refused => {
            Err(BackendError::unsupported("this node takes no images over this interface")
                .next("import the image on that machine with `metanode image import`"))
        }
    }
}

fn bytes(what: &str, text: &str, cap: usize) -> Result<Vec<u8>> {
    if text.len() > 2 * cap {
        return Err(BackendError::limit(format!(
            "{what} has {} bytes, at most {cap} are taken",
            text.len() / 2
        )));
    }
    hex::decode(text).map_err(|e| BackendError::invalid(format!("{what} is not hex: {e}")))
}

async fn have(context: Arc<Context>, caller: Caller, params: ImageHaveParams) -> Result<ImageHaveView> {
    allowed(&context, caller)?;
    let descriptor = bytes("the descriptor", &params.descriptor, MAX_DESCRIPTOR_BYTES)?;
    context.ask(Cost::Store, move |backend| backend.image_have(&descriptor)).await
}

async fn put(context: Arc<Context>, caller: Caller, params: ImagePutParams) -> Result<ImagePutView> {
    allowed(&context, caller)?;
    let bytes = bytes("the chunk", &params.bytes, IMAGE_CHUNK_BYTES)?;
    if bytes.is_empty() {
        return Err(BackendError::invalid("the chunk is empty"));
    }
    let chunk = ImageChunk { descriptor: params.descriptor, blob: params.blob, offset: params.offset, bytes };
    context.ask(Cost::Store, move |backend| backend.image_put(chunk)).await
}

async fn commit(context: Arc<Context>, caller: Caller, params: ImageCommitParams) -> Result<ImageRef> {
    allowed(&context, caller)?;
    context.ask(Cost::Store, move |backend| backend.image_commit(&params.descriptor)).await
}
