//! The two messages of the transfer, and the serving side.
//!
//! Owns their encoding (strict borsh) and the bounds on what one answer may hold.

use super::{BlobId, ChunkList};
use crate::{
    Error,
    limits::{MAX_BLOB_REQUEST_BYTES, MAX_BLOB_RESPONSE_BYTES, MAX_CHUNKS_PER_REQUEST},
};
use borsh::{BorshDeserialize, BorshSerialize};
use metanode_types::codec;
use std::io;

/// What a fetcher asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum BlobRequest {
    /// The chunk list of a blob.
    ChunkList {
        /// The blob.
        id: BlobId,
    },
    /// A run of chunks.
    Chunks {
        /// The blob.
        id: BlobId,
        /// The first of them.
        first: u32,
        /// How many; fewer may come.
        count: u16,
    },
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum BlobResponse {
    /// It has not got what was asked for.
    Missing,
    /// The chunk list.
    ChunkList(ChunkList),
    /// The run of chunks, from the first asked for; perhaps not to the last.
    Chunks(Run),
}

/// Consecutive chunks.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize)]
pub struct Run(pub Vec<Vec<u8>>);

impl BorshDeserialize for Run {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        codec::bounded_vec(reader, usize::from(MAX_CHUNKS_PER_REQUEST)).map(Run)
    }
}

impl BlobRequest {
    /// The request's bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads a request; the bytes are a stranger's.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let fail = |why: String| Error::ReadBlobRequest { why };
        let request = codec::decode("a blob request", bytes, MAX_BLOB_REQUEST_BYTES)
            .map_err(|e| fail(e.to_string()))?;
        match request {
            BlobRequest::Chunks { count, .. } if count == 0 || count > MAX_CHUNKS_PER_REQUEST => {
                Err(fail(format!("{count} chunks, 1 to {MAX_CHUNKS_PER_REQUEST} can be asked for")))
            }
            request => Ok(request),
        }
    }
}

impl BlobResponse {
    /// The response's bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads a response; the bytes are a stranger's.
    pub fn decode(bytes: &[u8]) -> Result<Self, codec::DecodeError> {
        codec::decode("a blob response", bytes, MAX_BLOB_RESPONSE_BYTES)
    }
}

/// Where blobs are stored. What it returns is trusted to be what was stored under the id.
pub trait BlobSource {
    /// The chunk list of a blob, if it is there completely or in part.
    fn chunk_list(&self, id: BlobId) -> Option<ChunkList>;

    /// One chunk, if it is there.
    fn chunk(&self, id: BlobId, n: u32) -> Option<Vec<u8>>;
}

/// Answers one request from what is stored. An error says that the *request* is invalid: the peer is to be
/// penalized with [`crate::Offence::InvalidRequest`].
pub fn serve(source: &dyn BlobSource, request: &[u8]) -> Result<Vec<u8>, Error> {
    let response = match BlobRequest::decode(request)? {
        BlobRequest::ChunkList { id } => source.chunk_list(id).map(BlobResponse::ChunkList),
        BlobRequest::Chunks { id, first, count } => {
            let last = first.saturating_add(u32::from(count));
            let run: Vec<Vec<u8>> = (first..last).map_while(|n| source.chunk(id, n)).collect();
            (!run.is_empty()).then_some(BlobResponse::Chunks(Run(run)))
        }
    };
    Ok(response.unwrap_or(BlobResponse::Missing).encode())
}
