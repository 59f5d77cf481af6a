//! Levels: how determined a cage run is, and which protection a deployment asks for.
//!
//! Owns the two ordered scales. A cage level is *reached, not claimed*; a security level is a fixed table row
//! of the chain's parameters ([`crate::params::SecurityProfile`]).

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// How determined a cage run was: `contained < pinned < reproduced < replayed`.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Debug,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum CageLevel {
    /// Limits, namespaces, seccomp and the other barriers were really installed.
    Contained,
    /// Time, randomness, identity, metadata and scheduling were virtualised.
    Pinned,
    /// Run twice, all digests equal.
    Reproduced,
    /// Re-run from the witness alone.
    Replayed,
}

/// Protection that a deployment asks for: `standard < enterprise < high < maximum`.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Debug,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum SecurityLevel {
    /// Contained cage.
    Standard,
    /// Contained cage, stricter defaults.
    Enterprise,
    /// Pinned cage and a witness.
    High,
    /// As high, with approvals. Alias: `military-grade`.
    #[serde(alias = "military-grade")]
    Maximum,
}

/// The text names no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {scale} level {text:?}: expected {expected}")]
pub struct UnknownLevel {
    scale: &'static str,
    text: String,
    expected: &'static str,
}

impl fmt::Display for CageLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CageLevel::Contained => "contained",
            CageLevel::Pinned => "pinned",
            CageLevel::Reproduced => "reproduced",
            CageLevel::Replayed => "replayed",
        })
    }
}
impl FromStr for CageLevel {
    type Err = UnknownLevel;
    fn from_str(s: &str) -> Result<Self, UnknownLevel> {
        Ok(match s {
            "contained" => CageLevel::Contained,
            "pinned" => CageLevel::Pinned,
            "reproduced" => CageLevel::Reproduced,
            "replayed" => CageLevel::Replayed,
            _ => {
                let expected = "contained, pinned, reproduced or replayed";
                return Err(UnknownLevel { scale: "cage", text: s.chars().take(40).collect(), expected });
            }
        })
    }
}
impl fmt::Display for SecurityLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SecurityLevel::Standard => "standard",
            SecurityLevel::Enterprise => "enterprise",
            SecurityLevel::High => "high",
            SecurityLevel::Maximum => "maximum",
        })
    }
}
impl FromStr for SecurityLevel {
    type Err = UnknownLevel;
    fn from_str(s: &str) -> Result<Self, UnknownLevel> {
        Ok(match s {
            "standard" => SecurityLevel::Standard,
            "enterprise" => SecurityLevel::Enterprise,
            "high" => SecurityLevel::High,
            "maximum" | "military-grade" => SecurityLevel::Maximum,
            _ => {
                let expected = "standard, enterprise, high or maximum";
                return Err(UnknownLevel { scale: "security", text: s.chars().take(40).collect(), expected });
            }
        })
    }
}
