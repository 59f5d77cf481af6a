//! Errors of the interface: EIP-1474 codes and the data that goes with each.
//!
//! Owns the one table of codes and the error that a [`crate::Backend`] returns. Every error that leaves this
//! crate's methods carries `{code_name, reason, next_step?, tx?}`. Refuses free-form codes.

use jsonrpsee::types::ErrorObjectOwned;
use metanode_types::ids::TxId;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// What kind of refusal, with its JSON-RPC code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// The bytes are not JSON.
    Parse,
    /// The JSON is not a request.
    InvalidRequest,
    /// No such method.
    MethodNotFound,
    /// Parameters are missing, unknown or of the wrong type.
    InvalidParams,
    /// A fault of the node.
    Internal,
    /// Parameters are well-formed, but what they say is not acceptable.
    InvalidInput,
    /// Nothing has this name or id.
    NotFound,
    /// The node can not answer now, or did not within the time given.
    Unavailable,
    /// The transaction can never be accepted as it is.
    Rejected,
    /// This node or transport does not offer that.
    Unsupported,
    /// A budget is used up.
    LimitExceeded,
}

impl ErrorKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [ErrorKind; 11] = [
        ErrorKind::Parse,
        ErrorKind::InvalidRequest,
        ErrorKind::MethodNotFound,
        ErrorKind::InvalidParams,
        ErrorKind::Internal,
        ErrorKind::InvalidInput,
        ErrorKind::NotFound,
        ErrorKind::Unavailable,
        ErrorKind::Rejected,
        ErrorKind::Unsupported,
        ErrorKind::LimitExceeded,
    ];

    /// The JSON-RPC code.
    pub const fn code(self) -> i32 {
        match self {
            ErrorKind::Parse => -32700,
            ErrorKind::InvalidRequest => -32600,
            ErrorKind::MethodNotFound => -32601,
            ErrorKind::InvalidParams => -32602,
            ErrorKind::Internal => -32603,
            ErrorKind::InvalidInput => -32000,
            ErrorKind::NotFound => -32001,
            ErrorKind::Unavailable => -32002,
            ErrorKind::Rejected => -32003,
            ErrorKind::Unsupported => -32004,
            ErrorKind::LimitExceeded => -32005,
        }
    }

    /// Stable name, `code_name` in the data.
    pub const fn name(self) -> &'static str {
        match self {
            ErrorKind::Parse => "parse_error",
            ErrorKind::InvalidRequest => "invalid_request",
            ErrorKind::MethodNotFound => "method_not_found",
            ErrorKind::InvalidParams => "invalid_params",
            ErrorKind::Internal => "internal_error",
            ErrorKind::InvalidInput => "invalid_input",
            ErrorKind::NotFound => "not_found",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Rejected => "transaction_rejected",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::LimitExceeded => "limit_exceeded",
        }
    }

    /// The kind with this code.
    pub fn from_code(code: i32) -> Option<ErrorKind> {
        ErrorKind::ALL.into_iter().find(|k| k.code() == code)
    }
}

/// `data` of every error object.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ErrorData {
    /// [`ErrorKind::name`].
    pub code_name: String,
    /// What failed and why.
    pub reason: String,
    /// What the caller can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_step: Option<String>,
    /// Transaction concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tx: Option<TxId>,
}

/// Why a call was refused: what a backend returns, and what a caller reads.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct BackendError {
    /// Kind, which fixes the code.
    pub kind: ErrorKind,
    /// What failed and why.
    pub reason: String,
    /// What the caller can do about it.
    pub next_step: Option<String>,
    /// Transaction concerned.
    pub tx: Option<TxId>,
}

impl BackendError {
    /// A refusal of `kind` because of `reason`.
    pub fn new(kind: ErrorKind, reason: impl Into<String>) -> Self {
        BackendError { kind, reason: reason.into(), next_step: None, tx: None }
    }
    /// Nothing has this name or id.
    pub fn not_found(reason: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, reason)
    }
    /// What the parameters say is not acceptable.
    pub fn invalid(reason: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, reason)
    }
    /// The node can not answer now.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, reason)
    }
    /// The transaction can never be accepted as it is.
    pub fn rejected(tx: TxId, reason: impl Into<String>) -> Self {
        Self::new(ErrorKind::Rejected, reason).tx(tx)
    }
    /// This node does not offer that.
    pub fn unsupported(reason: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, reason)
    }
    /// A budget is used up.
    pub fn limit(reason: impl Into<String>) -> Self {
        Self::new(ErrorKind::LimitExceeded, reason)
    }
    /// A fault of the node itself.
    pub fn internal(reason: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, reason)
    }
    /// Adds the next step.
    pub fn next(mut self, step: impl Into<String>) -> Self {
        self.next_step = Some(step.into());
        self
    }
    /// Adds the transaction concerned.
    pub fn tx(mut self, tx: TxId) -> Self {
        self.tx = Some(tx);
        self
    }
    /// The data of the error object.
    pub fn data(&self) -> ErrorData {
        ErrorData {
            code_name: self.kind.name().to_owned(),
            reason: self.reason.clone(),
            next_step: self.next_step.clone(),
            tx: self.tx,
        }
    }
}

impl From<BackendError> for ErrorObjectOwned {
    fn from(e: BackendError) -> Self {
        ErrorObjectOwned::owned(e.kind.code(), e.reason.clone(), Some(e.data()))
    }
}

/// Why the server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port could not be opened.
    #[error("listen on {addr}: {cause}; {next_step}")]
    Listen {
        /// Address asked for.
        addr: SocketAddr,
        /// The system's reason.
        cause: std::io::Error,
        /// What to do about it.
        next_step: String,
    },
    /// The methods contradict each other.
    #[error("register the methods: {0}")]
    Register(#[from] jsonrpsee::core::RegisterMethodError),
    /// A limit is out of its range.
    #[error("limit {name}: {why}")]
    Limit {
        /// Field of `Limits`.
        name: &'static str,
        /// Rule that it breaks.
        why: String,
    },
}
