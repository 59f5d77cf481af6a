//! Chain parameters: the rules that genesis fixes and every header commits by hash.
//!
//! Owns consensus limits, timeouts, the tariff and the table of security profiles. Refuses values that break a
//! relation between parameters (an idle interval longer than a third of the node timeout would lose every
//! node of a quiet chain).

use crate::hash::{Domain, Hash, hash_value};
use crate::level::{CageLevel, SecurityLevel};
use crate::limits;
use crate::quantity::Amount;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// Timeouts of the consensus rounds, in milliseconds.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsensusTimeouts {
    /// Waiting for a proposal in round 0.
    pub propose_ms: u64,
    /// Waiting for more prevotes after a split quorum, round 0.
    pub prevote_ms: u64,
    /// Waiting for more precommits after a split quorum, round 0.
    pub precommit_ms: u64,
    /// Added to each per round.
    pub delta_ms: u64,
    /// Votes are sent again after this long without progress.
    pub rebroadcast_ms: u64,
}

/// Prices. Integers of micro-units.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tariff {
    /// Fee of any transaction (reports and heartbeats of nodes are free within their quota).
    pub base_fee: Amount,
    /// Fee per byte of the signed transaction.
    pub byte_fee: Amount,
    /// Price of one CPU-millisecond used.
    pub cpu_ms: Amount,
    /// Price of one MiB of memory held for one second.
    pub memory_mib_s: Amount,
    /// Part of each charge that is burned, in thousandths; the rest goes to the node that ran the workload.
    pub burn_permille: u32,
}

/// What a security level demands.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecurityProfile {
    /// The level this row is for.
    pub level: SecurityLevel,
    /// Workloads run in a user namespace.
    pub user_namespace: bool,
    /// Lowest cage level that satisfies the profile.
    pub cage_level: CageLevel,
    /// A witness must be recorded.
    pub witness: bool,
    /// Approvals needed before admission.
    pub approvals: u8,
    /// Largest memory one replica may ask for, in bytes.
    pub max_memory_bytes: u64,
    /// Largest CPU share one replica may ask for, in thousandths of a core.
    pub max_cpu_milli: u32,
    /// Most processes one replica may have.
    pub max_pids: u32,
}

/// Rules of verified jobs.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyParams {
    /// What a node puts up for each execution of a verified job, from its account, when it is assigned.
    pub bond: Amount,
    /// Chain-alive time beyond the job's timeout within which every node must commit to its report.
    pub commit_ms: u64,
    /// Chain-alive time within which committed reports must be revealed.
    pub reveal_ms: u64,
    /// Blocks after the end of a pinned job in which it may be challenged.
    pub challenge_window: u64,
}

/// The rules of a chain.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainParams {
    /// Bytes of one signed transaction at most.
    pub max_tx_bytes: u32,
    /// Bytes of one block at most.
    pub max_block_bytes: u32,
    /// Transactions in one block at most.
    pub max_block_txs: u32,
    /// An empty block is made after this long without one.
    pub idle_interval_ms: u64,
    /// A node is lost after this long of chain-alive time without a heartbeat.
    pub node_timeout_ms: u64,
    /// A node sends a heartbeat this often.
    pub heartbeat_interval_ms: u64,
    /// How far a proposer's clock may be from a validator's.
    pub max_clock_skew_ms: u64,
    /// How long a finished job's or stopped deployment's records stay in the state.
    pub retention_ms: u64,
    /// Consensus round timeouts.
    pub consensus: ConsensusTimeouts,
    /// Prices.
    pub tariff: Tariff,
    /// One row per security level, ascending.
    pub security: Vec<SecurityProfile>,
    /// Rules of verified jobs.
    pub verify: VerifyParams,
}

/// A parameter or a relation between parameters that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parameter {name}: {why}")]
pub struct ParamsError {
    /// Parameter named.
    pub name: &'static str,
    /// The rule it breaks.
    pub why: &'static str,
}

impl ChainParams {
    /// Hash committed in every header.
    pub fn hash(&self) -> Hash {
        hash_value(Domain::Params, self)
    }

    /// The profile of `level`.
    pub fn profile(&self, level: SecurityLevel) -> Option<&SecurityProfile> {
        self.security.iter().find(|p| p.level == level)
    }

    /// Checks every bound and relation.
    pub fn validate(&self) -> Result<(), ParamsError> {
        let rule = |ok: bool, name, why| if ok { Ok(()) } else { Err(ParamsError { name, why }) };
        let tx = self.max_tx_bytes as usize;
        let block = self.max_block_bytes as usize;
        rule((1024..=limits::MAX_TX_BYTES).contains(&tx), "max_tx_bytes", "must be from 1024 to 65536")?;
        rule(block <= limits::MAX_BLOCK_BYTES, "max_block_bytes", "must be at most 1048576")?;
        rule(block >= 2 * tx, "max_block_bytes", "must hold at least two of the largest transactions")?;
        let txs = self.max_block_txs as usize;
        rule((1..=limits::MAX_BLOCK_TXS).contains(&txs), "max_block_txs", "must be from 1 to 8192")?;
        rule(self.node_timeout_ms <= 86_400_000, "node_timeout_ms", "must be at most a day")?;
        rule(self.idle_interval_ms >= 100, "idle_interval_ms", "must be at least 100")?;
        // Saturating: the values come from a file and may be anything.
        rule(
            self.idle_interval_ms.saturating_mul(3) <= self.node_timeout_ms,
            "idle_interval_ms",
            "must be at most a third of node_timeout_ms, or a quiet chain loses its nodes",
        )?;
        rule(
            self.heartbeat_interval_ms.saturating_mul(3) <= self.node_timeout_ms,
            "heartbeat_interval_ms",
            "must be at most a third of node_timeout_ms",
        )?;
        rule(self.heartbeat_interval_ms >= 100, "heartbeat_interval_ms", "must be at least 100")?;
        let skew = self.max_clock_skew_ms;
        rule((100..=3_600_000).contains(&skew), "max_clock_skew_ms", "must be from 100 to an hour")?;
        rule(self.retention_ms <= 315_360_000_000, "retention_ms", "must be at most ten years")?;
        rule(self.tariff.burn_permille <= 1000, "tariff.burn_permille", "must be at most 1000")?;
        let c = &self.consensus;
        for ms in [c.propose_ms, c.prevote_ms, c.precommit_ms, c.delta_ms, c.rebroadcast_ms] {
            rule((1..=600_000).contains(&ms), "consensus", "every timeout must be from 1 ms to 10 min")?;
        }
        let v = &self.verify;
        for ms in [v.commit_ms, v.reveal_ms] {
            rule((1_000..=86_400_000).contains(&ms), "verify", "times must be from a second to a day")?;
        }
        let window = v.challenge_window;
        rule((1..=1 << 32).contains(&window), "verify.challenge_window", "must be from 1 to 2^32 blocks")?;
        rule(v.bond.0 > 0 && v.bond.0 <= 1 << 64, "verify.bond", "must be above zero and at most 2^64")?;
        let levels: Vec<SecurityLevel> = self.security.iter().map(|p| p.level).collect();
        let all =
            [SecurityLevel::Standard, SecurityLevel::Enterprise, SecurityLevel::High, SecurityLevel::Maximum];
        rule(levels == all, "security", "must have one row per level: standard, enterprise, high, maximum")
    }
}

impl Default for ChainParams {
    fn default() -> Self {
        let profile = |level, cage_level, witness, approvals| SecurityProfile {
            level,
            user_namespace: true,
            cage_level,
            witness,
            approvals,
            max_memory_bytes: 64 << 30,
            max_cpu_milli: 64_000,
            max_pids: 4096,
        };
        ChainParams {
            max_tx_bytes: limits::MAX_TX_BYTES as u32,
            max_block_bytes: limits::MAX_BLOCK_BYTES as u32,
            max_block_txs: limits::MAX_BLOCK_TXS as u32,
            idle_interval_ms: 5_000,
            node_timeout_ms: 20_000,
            heartbeat_interval_ms: 5_000,
            max_clock_skew_ms: 10_000,
            retention_ms: 86_400_000,
            consensus: ConsensusTimeouts {
                propose_ms: 1_000,
                prevote_ms: 500,
                precommit_ms: 500,
                delta_ms: 250,
                rebroadcast_ms: 1_000,
            },
            tariff: Tariff {
                base_fee: Amount(100),
                byte_fee: Amount(1),
                cpu_ms: Amount(2),
                memory_mib_s: Amount(1),
                burn_permille: 100,
            },
            security: vec![
                profile(SecurityLevel::Standard, CageLevel::Contained, false, 0),
                profile(SecurityLevel::Enterprise, CageLevel::Contained, false, 0),
                profile(SecurityLevel::High, CageLevel::Pinned, true, 0),
                profile(SecurityLevel::Maximum, CageLevel::Replayed, true, 2),
            ],
            verify: VerifyParams {
                bond: Amount(1_000_000),
                commit_ms: 60_000,
                reveal_ms: 60_000,
                challenge_window: 100,
            },
        }
    }
}

/// Resources metered for one replica over some time.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// CPU time, milliseconds.
    pub cpu_ms: u64,
    /// Memory held, MiB times seconds.
    pub memory_mib_s: u64,
}

impl Tariff {
    /// Fee of a transaction of `bytes` signed bytes. `None` on overflow.
    pub fn tx_fee(&self, bytes: usize) -> Option<Amount> {
        self.byte_fee.checked_mul(bytes as u128)?.checked_add(self.base_fee)
    }

    /// Price of `usage`. `None` on overflow.
    pub fn price(&self, usage: &Usage) -> Option<Amount> {
        let cpu = self.cpu_ms.checked_mul(usage.cpu_ms.into())?;
        self.memory_mib_s.checked_mul(usage.memory_mib_s.into())?.checked_add(cpu)
    }

    /// Part of `charge` that is burned (rounded down).
    pub fn burned(&self, charge: Amount) -> Option<Amount> {
        charge.checked_mul(self.burn_permille.into()).map(|a| Amount(a.0 / 1000))
    }
}
