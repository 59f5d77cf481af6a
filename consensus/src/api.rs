//! What goes into [`crate::Consensus::step`] and what comes out.
//!
//! Owns the contract: effects are performed in the order of the list, and an effect that fails (a write, a sync)
//! stops the process, because everything behind it in the list relies on it.

use crate::evidence::Evidence;
use crate::guard::SignHistory;
use crate::wal::WalRecord;
use borsh::{BorshDeserialize, BorshSerialize};
use metanode_types::certificate::Certificate;
use metanode_types::ids::{Address, BlockId};
use metanode_types::validator::ValidatorSet;

/// A peer's name, as the network layer spells it. Opaque here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub Vec<u8>);

/// Which timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum TimeoutKind {
    /// Waiting for a proposal.
    Propose = 1,
    /// Waiting for more prevotes.
    Prevote = 2,
    /// Waiting for more precommits.
    Precommit = 3,
    /// Time to send votes again.
    Rebroadcast = 4,
}

/// Names a timer. Scheduling the same id again replaces the timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct TimeoutId {
    /// Height it was set at.
    pub height: u64,
    /// Round it was set in.
    pub round: u32,
    /// What it waits for.
    pub kind: TimeoutKind,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Begin a height. The application paces the chain by when it says this.
    StartHeight {
        /// The height; higher than every height started before.
        height: u64,
        /// Who votes at this height.
        validators: ValidatorSet,
        /// What the write-ahead log holds (after a restart), else nothing. Records of lower heights are ignored.
        replay: Vec<WalRecord>,
    },
    /// Bytes from the consensus topic.
    Message {
        /// Who handed them over.
        peer: PeerId,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// The block built in answer to [`Effect::GetValue`].
    Propose {
        /// Height of the question.
        height: u64,
        /// Round of the question.
        round: u32,
        /// The block. The application holds it and published it on the block topic.
        block: BlockId,
    },
    /// The answer to [`Effect::NeedBlockVerdict`].
    BlockVerdict {
        /// Height of the question.
        height: u64,
        /// The block judged.
        block: BlockId,
        /// Whether re-execution gave exactly the header's roots and every rule held.
        valid: bool,
    },
    /// A timer fired.
    Timeout(TimeoutId),
}

/// Why a peer's message was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OffenceReason {
    /// The bytes are not a message.
    #[error("undecodable bytes: {0}")]
    Undecodable(String),
    /// Its author is not a validator at its height.
    #[error("{0} is not a validator")]
    NotAValidator(Address),
    /// Its author may not propose in that round.
    #[error("{0} is not the proposer of round {1}")]
    NotTheProposer(Address, u32),
    /// A signature does not verify.
    #[error("the signature of {0} does not verify")]
    BadSignature(Address),
    /// A certificate proves nothing.
    #[error("the certificate is not valid: {0}")]
    BadCertificate(&'static str),
    /// A field contradicts another.
    #[error("nonsense: {0}")]
    Nonsense(&'static str),
}

/// Something to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Empty the write-ahead log: a height begins that has no records.
    WalReset {
        /// The height.
        height: u64,
    },
    /// Append a record (see [`crate::wal::encode`]).
    WalAppend(WalRecord),
    /// Make all appended records durable before performing anything that follows.
    WalSync,
    /// Make the block durable before performing anything that follows.
    PersistBlock {
        /// The block.
        block: BlockId,
    },
    /// Make the history durable before performing anything that follows.
    PersistGuard(SignHistory),
    /// Send bytes on the consensus topic.
    Publish(Vec<u8>),
    /// This node entered a round.
    StartedRound {
        /// The height.
        height: u64,
        /// The round.
        round: u32,
        /// Who proposes.
        proposer: Address,
        /// Whether that is this node.
        ours: bool,
    },
    /// Build a block and answer with [`Input::Propose`] in time.
    GetValue {
        /// Height to build for.
        height: u64,
        /// Round to propose in.
        round: u32,
        /// How long other validators wait.
        timeout_ms: u64,
    },
    /// Get this block, re-execute it, and answer with [`Input::BlockVerdict`].
    NeedBlockVerdict {
        /// Height proposed for.
        height: u64,
        /// Round proposed in.
        round: u32,
        /// The block.
        block: BlockId,
        /// Who proposed it.
        proposer: Address,
    },
    /// Send a known block again: it is proposed again and peers may lack it.
    RepublishBlock {
        /// Height proposed for.
        height: u64,
        /// The block.
        block: BlockId,
    },
    /// Set a timer.
    ScheduleTimeout {
        /// Its name.
        id: TimeoutId,
        /// How long.
        after_ms: u64,
    },
    /// Forget a timer.
    CancelTimeout(TimeoutId),
    /// Forget every timer.
    CancelAllTimeouts,
    /// The height is decided. The application commits block and certificate; consensus rests until the next
    /// [`Input::StartHeight`].
    Decide(Certificate),
    /// A validator contradicted itself.
    Evidence(Evidence),
    /// A peer sent something that no honest node sends.
    Offence {
        /// The peer.
        peer: PeerId,
        /// Why.
        why: OffenceReason,
    },
    /// A signed message for a later height arrived: others have started it. If it is the next height and the
    /// current one is decided here, an idle node starts it too; otherwise this node needs block sync.
    HeightSeen {
        /// The later height.
        height: u64,
        /// Who handed it over.
        peer: PeerId,
    },
    /// A peer is still busy with a height that is decided here: it needs block sync.
    PeerBehind {
        /// The peer.
        peer: PeerId,
        /// The height it is at.
        height: u64,
    },
    /// The sign history is ahead of the write-ahead log, so this node does not know what it promised. It
    /// listens at this height and signs nothing.
    Muted {
        /// The height.
        height: u64,
    },
    /// A message with *our* valid signature that this process did not sign: the key is in use elsewhere.
    TwinDetected {
        /// Height of the message.
        height: u64,
        /// Round of the message.
        round: u32,
    },
    /// The core gave up on something that is not a matter of safety; the next round repairs it.
    Degraded {
        /// The core's words.
        what: String,
    },
}
