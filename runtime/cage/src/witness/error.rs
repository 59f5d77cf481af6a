//! Why a witness is not accepted. Every variant says where.

use std::io;
use std::path::PathBuf;

use super::Log;

/// Why a witness is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The file cannot be opened.
    #[error("cannot open the witness {}: {source}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("cannot read the witness at byte {offset}: {source}")]
    Read {
        /// Where.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// The file does not begin as a witness of this version does.
    #[error("this is not a witness of this version: wrong first 8 bytes")]
    NotAWitness,
    /// The header is damaged or malformed.
    #[error("the witness's header (from byte {offset}) is refused: {why}")]
    Header {
        /// Where it begins.
        offset: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// What stands where a chunk should begin does not belong there.
    #[error("the head at byte {offset}, before trace chunk {trace} or input chunk {input}, is damaged")]
    Head {
        /// Where.
        offset: u64,
        /// The trace chunk that would be next.
        trace: u64,
        /// The input chunk that would be next.
        input: u64,
    },
    /// A chunk is damaged or malformed.
    #[error("{log} chunk {chunk} (from byte {offset}) is refused: {why}")]
    Chunk {
        /// Of which log.
        log: Log,
        /// Its number, from 0.
        chunk: u64,
        /// Where its records begin.
        offset: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// The footer is damaged or malformed.
    #[error("the witness's footer (from byte {offset}) is refused: {why}")]
    Footer {
        /// Where it begins.
        offset: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// The chunks are not those that the footer sums up.
    #[error("the {log} log is not the one that the footer names: {what} differs")]
    Totals {
        /// Which log.
        log: Log,
        /// What differs.
        what: &'static str,
    },
    /// The file ends before its footer: the recording was never finished, or the file was cut.
    #[error("the witness ends at byte {offset}, inside {within}")]
    Ends {
        /// The length of the file.
        offset: u64,
        /// What should have gone on.
        within: &'static str,
    },
    /// Something stands behind the footer.
    #[error("the witness goes on behind its footer, at byte {offset}")]
    Trailing {
        /// Where.
        offset: u64,
    },
    /// The records from here on were dropped when the witness reached its limit.
    #[error("the {log} log from number {first} on was dropped when the witness reached its limit")]
    Dropped {
        /// Which log.
        log: Log,
        /// The first event or input that is not there, or not whole.
        first: u64,
    },
}
