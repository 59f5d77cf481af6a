//! The randomness of a pinned program: ChaCha20 streams keyed by the seed of the run.
//!
//! Owns the derivation: one stream per task, and one per execution for `AT_RANDOM`, so that a reader more or less
//! does not shift the others. The seed is public on the ledger, so nothing drawn here is a secret.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

/// Domain of the derivation.
const DOMAIN: &[u8] = b"metanode/cage/stream/v1";

/// What a stream is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// Calls and devices that one task reads.
    Task = 0,
    /// Instructions that one task executes.
    Instruction = 1,
    /// The bytes that the kernel gives every execution.
    Execution = 2,
    /// Names of the machine itself.
    Machine = 3,
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Stream(ChaCha20Rng);

impl Stream {
    /// The stream for `purpose` number `index` under `seed`.
    pub(crate) fn new(seed: &[u8; 32], purpose: Purpose, index: u64) -> Self {
        let mut hash = Sha256::new();
        hash.update(DOMAIN);
        hash.update(seed);
        hash.update([purpose as u8]);
        hash.update(index.to_le_bytes());
        Self(ChaCha20Rng::from_seed(hash.finalize().into()))
    }

    /// The next bytes of the stream.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}
