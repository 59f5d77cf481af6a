//! The write-ahead log: what a height's consensus learned, in the order it learned it.
//!
//! Owns the records and their framing as pure functions over bytes; the node owns the file. One log holds one
//! height: the node empties it on [`crate::Effect::WalReset`]. Refuses to skip anything: a damaged frame with an
//! intact frame behind it is an error that names the offset. Only an unreadable *end* is cut off, and
//! reported: that is what a crash in the middle of a write leaves. (A bit that rots in the very last frame
//! looks the same. It is safe because the sign guard remembers the last signature by itself, and a guard that
//! is ahead of the log makes the node sit the height out.)

mod frame;
mod record;

pub use frame::{MAX_WAL_BYTES, MAX_WAL_RECORD_BYTES, Torn};
pub use record::{ProposedBlock, WalRecord};

/// Why a log cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WalError {
    /// A frame is damaged and intact frames follow it.
    #[error("write-ahead log is damaged at byte {offset} ({why}); the next intact frame is at byte {next}")]
    Damaged {
        /// Where the damaged frame starts.
        offset: usize,
        /// Where the first intact frame behind it starts.
        next: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A frame is intact but does not hold a record of this version.
    #[error("write-ahead log: the frame at byte {offset} does not hold a record: {why}")]
    Undecodable {
        /// Where the frame starts.
        offset: usize,
        /// The codec's reason.
        why: String,
    },
    /// The log is longer than any log this software writes.
    #[error("write-ahead log has {len} bytes, more than {MAX_WAL_BYTES}")]
    TooLong {
        /// Its length.
        len: usize,
    },
}

/// What could be read from a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The records, in the order they were appended.
    pub records: Vec<WalRecord>,
    /// Length of the readable prefix: the node truncates the file to it before appending.
    pub valid_len: usize,
    /// What was cut off, if anything.
    pub torn: Option<Torn>,
}

/// The bytes to append for one record.
pub fn encode(record: &WalRecord) -> Vec<u8> {
    frame::wrap(&record.to_bytes())
}

/// Reads a whole log.
pub fn recover(bytes: &[u8]) -> Result<Recovery, WalError> {
    let frames = frame::split(bytes)?;
    let mut records = Vec::with_capacity(frames.payloads.len());
    for (offset, payload) in frames.payloads {
        let record = WalRecord::from_bytes(payload)
            .map_err(|e| WalError::Undecodable { offset, why: e.to_string() })?;
        records.push(record);
    }
    Ok(Recovery { records, valid_len: frames.valid_len, torn: frames.torn })
}

#[cfg(test)]
mod tests;
