//! Why a genesis was refused.
//!
//! Every message names the entry as a path into the file and ends with what to do next.

use crate::diff::FirstDifference;
use metanode_types::bls::BlsError;
use metanode_types::ids::ChainId;
use metanode_types::limits::MAX_VALIDATORS;
use std::path::PathBuf;

/// The intent that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read.
    #[error("read genesis {}: {source}", path.display())]
    Read {
        /// File asked for.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file could not be written.
    #[error("write genesis {}: {source}", path.display())]
    Write {
        /// File asked for.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The text is longer than any genesis.
    #[error("parse genesis: more than {cap} bytes; is this the right file?")]
    TooLong {
        /// Bytes allowed.
        cap: usize,
    },
    /// The text is not JSON of the right form. The message of the parser names field, line and column.
    #[error("parse genesis: {0}; correct that place, or start again with `metanode genesis new`")]
    Parse(#[source] serde_json::Error),
    /// An entry breaks a rule.
    #[error("genesis {entry}: {problem}")]
    Invalid {
        /// Path of the entry in the file, such as `validators[2].power`.
        entry: String,
        /// The rule and the next step.
        problem: Problem,
    },
    /// A valid genesis, but of another chain than the one expected.
    #[error(
        "this genesis is of chain {got}, but chain {expected} was expected; \
         use the genesis file of that chain, unedited"
    )]
    WrongChain {
        /// Chain asked for.
        expected: ChainId,
        /// Chain of this genesis.
        got: ChainId,
    },
    /// A valid genesis, but not the one that was stored.
    #[error(
        "the genesis given differs from the stored one: at {} it has {}, stored is {}; \
         use the original file, or another home directory for another chain",
        difference.path, difference.right, difference.left
    )]
    Differs {
        /// Where they part: left is stored, right is given.
        difference: FirstDifference,
    },
}

/// A rule that an entry breaks, with the next step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Another version of the format.
    #[error("format {0} is unknown; this version reads format 1")]
    Format(u16),
    /// Zero, or beyond the year 9999.
    #[error("{0} is not a time in Unix milliseconds between 1 and 253402300799999; check its unit")]
    Time(u64),
    /// No validator.
    #[error("a chain needs at least one validator; add one with `metanode genesis add-validator`")]
    NoValidators,
    /// Too many validators.
    #[error("{0} validators, at most {MAX_VALIDATORS} are allowed; remove some")]
    TooManyValidators(usize),
    /// Zero power.
    #[error("voting power must be at least 1; give it power or remove the validator")]
    NoPower,
    /// Sum of powers too large.
    #[error("the total voting power exceeds 2^60; scale all powers down")]
    PowerOverflow,
    /// Bytes that are no BLS key.
    #[error("{0}; export it again with `metanode keys show`")]
    BlsKey(BlsError),
    /// The proof does not fit the key.
    #[error("the proof of possession does not fit bls_key ({0}); the key's holder must make it again")]
    Possession(BlsError),
    /// Bytes that are no usable account key.
    #[error("{0}; export the key again with `metanode keys show`")]
    AccountKey(&'static str),
    /// Something that must be unique is there twice.
    #[error(
        "the same as {other}; every validator and account is listed once, with keys and a name of its own"
    )]
    Duplicate {
        /// Path of the earlier entry.
        other: String,
    },
    /// An account with nothing.
    #[error("the balance is zero; an account comes into being with its first money, remove the entry")]
    NoBalance,
    /// Too many accounts.
    #[error("{0} accounts, at most {max} are allowed; distribute the rest by transfers", max = crate::MAX_ACCOUNTS)]
    TooManyAccounts(usize),
    /// Sum of balances too large.
    #[error("the supply up to here exceeds {max} tokens; lower the balances", max = crate::MAX_SUPPLY)]
    SupplyOverflow,
    /// A parameter or a relation between two.
    #[error("{0}")]
    Params(&'static str),
}
