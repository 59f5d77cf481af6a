//! Between the core's generic messages and our wire and log forms.
//!
//! Owns nothing but the mapping; every conversion is total. Certificates and votes keep their signatures as
//! they came, so that what is logged and re-published is what was verified.

use crate::api::{TimeoutId, TimeoutKind};
use crate::context::{Addr, Block, Ctx, Height, Proposal, Vote, defined};
use crate::wal::{ProposedBlock, WalRecord};
use crate::wire;
use arc_malachitebft_core_consensus as core;
use arc_malachitebft_core_types as types;
use metanode_types::vote::VoteKind;
use types::{NilOrVal, Round, Validity, ValueOrigin};

pub(crate) type CoreVote = types::SignedVote<Ctx>;
pub(crate) type CoreProposal = types::SignedProposal<Ctx>;

pub(crate) fn vote_out(vote: &CoreVote) -> wire::SignedVote {
    wire::SignedVote { content: vote.message.content, voter: vote.message.voter.0, signature: vote.signature }
}

pub(crate) fn vote_in(vote: &wire::SignedVote) -> CoreVote {
    CoreVote::new(Vote::new(vote.content, Addr(vote.voter)), vote.signature)
}

pub(crate) fn proposal_out(proposal: &CoreProposal) -> wire::SignedProposal {
    let Proposal { content, proposer, .. } = &proposal.message;
    wire::SignedProposal { content: *content, proposer: proposer.0, signature: proposal.signature }
}

pub(crate) fn proposal_in(proposal: &wire::SignedProposal) -> CoreProposal {
    CoreProposal::new(Proposal::new(proposal.content, Addr(proposal.proposer)), proposal.signature)
}

pub(crate) fn polka_out(c: &types::PolkaCertificate<Ctx>) -> wire::PolkaCertificate {
    wire::PolkaCertificate {
        height: c.height.0,
        round: defined(c.round),
        block: c.value_id.0,
        signatures: c.polka_signatures.iter().map(|s| (s.address.0, s.signature)).collect(),
    }
}

pub(crate) fn polka_in(c: &wire::PolkaCertificate) -> types::PolkaCertificate<Ctx> {
    types::PolkaCertificate {
        height: Height(c.height),
        round: Round::new(c.round),
        value_id: Block(c.block),
        polka_signatures: c
            .signatures
            .iter()
            .map(|(a, s)| types::PolkaSignature::new(Addr(*a), *s))
            .collect(),
    }
}

pub(crate) fn kind_out(kind: types::VoteType) -> VoteKind {
    match kind {
        types::VoteType::Prevote => VoteKind::Prevote,
        types::VoteType::Precommit => VoteKind::Precommit,
    }
}

fn kind_in(kind: VoteKind) -> types::VoteType {
    match kind {
        VoteKind::Prevote => types::VoteType::Prevote,
        VoteKind::Precommit => types::VoteType::Precommit,
    }
}

pub(crate) fn block_out(value: &NilOrVal<Block>) -> Option<metanode_types::ids::BlockId> {
    match value {
        NilOrVal::Nil => None,
        NilOrVal::Val(b) => Some(b.0),
    }
}

pub(crate) fn round_out(c: &types::RoundCertificate<Ctx>) -> wire::RoundCertificate {
    let vote = |s: &types::RoundSignature<Ctx>| wire::RoundVote {
        kind: kind_out(s.vote_type),
        block: block_out(&s.value_id),
        voter: s.address.0,
        signature: s.signature,
    };
    wire::RoundCertificate {
        height: c.height.0,
        round: defined(c.round),
        kind: match c.cert_type {
            types::RoundCertificateType::Skip => wire::RoundCertificateKind::Skip,
            types::RoundCertificateType::Precommit => wire::RoundCertificateKind::Precommit,
        },
        votes: c.round_signatures.iter().map(vote).collect(),
    }
}

pub(crate) fn round_in(c: &wire::RoundCertificate) -> types::RoundCertificate<Ctx> {
    let vote = |v: &wire::RoundVote| {
        let value = v.block.map_or(NilOrVal::Nil, |b| NilOrVal::Val(Block(b)));
        types::RoundSignature::new(kind_in(v.kind), value, Addr(v.voter), v.signature)
    };
    types::RoundCertificate {
        height: Height(c.height),
        round: Round::new(c.round),
        cert_type: match c.kind {
            wire::RoundCertificateKind::Skip => types::RoundCertificateType::Skip,
            wire::RoundCertificateKind::Precommit => types::RoundCertificateType::Precommit,
        },
        round_signatures: c.votes.iter().map(vote).collect(),
    }
}

/// `None` for the finalisation timer, which a chain without a target time never sets.
pub(crate) fn timeout_out(height: u64, t: &types::Timeout) -> Option<TimeoutId> {
    let kind = match t.kind {
        types::TimeoutKind::Propose => TimeoutKind::Propose,
        types::TimeoutKind::Prevote => TimeoutKind::Prevote,
        types::TimeoutKind::Precommit => TimeoutKind::Precommit,
        types::TimeoutKind::Rebroadcast => TimeoutKind::Rebroadcast,
        types::TimeoutKind::FinalizeHeight(_) => return None,
    };
    Some(TimeoutId { height, round: t.round.as_u32()?, kind })
}

pub(crate) fn timeout_in(id: &TimeoutId) -> types::Timeout {
    let kind = match id.kind {
        TimeoutKind::Propose => types::TimeoutKind::Propose,
        TimeoutKind::Prevote => types::TimeoutKind::Prevote,
        TimeoutKind::Precommit => types::TimeoutKind::Precommit,
        TimeoutKind::Rebroadcast => types::TimeoutKind::Rebroadcast,
    };
    types::Timeout::new(Round::new(id.round), kind)
}

pub(crate) fn block_in(b: &ProposedBlock) -> core::Input<Ctx> {
    core::Input::ProposedValue(
        core::ProposedValue {
            height: Height(b.height),
            round: Round::new(b.round),
            valid_round: Round::Nil,
            proposer: Addr(b.proposer),
            value: Block(b.block),
            validity: Validity::from_bool(b.valid),
        },
        ValueOrigin::Consensus,
    )
}

/// The record of an input that the core wants logged; `None` for inputs that it never logs.
pub(crate) fn record_out(height: u64, input: &core::Input<Ctx>) -> Option<WalRecord> {
    Some(match input {
        core::Input::Vote(v) => WalRecord::Vote(vote_out(v)),
        core::Input::Proposal(p) => WalRecord::Proposal(proposal_out(p)),
        core::Input::PolkaCertificate(c) => WalRecord::Polka(polka_out(c)),
        core::Input::TimeoutElapsed(t) => WalRecord::Timeout(timeout_out(height, t)?),
        core::Input::ProposedValue(v, _) => WalRecord::Block(ProposedBlock {
            height: v.height.0,
            round: v.round.as_u32()?,
            proposer: v.proposer.0,
            block: v.value.0,
            valid: v.validity.is_valid(),
        }),
        core::Input::StartHeight(..)
        | core::Input::RoundCertificate(_)
        | core::Input::Propose(_)
        | core::Input::SyncValueResponse(_) => return None,
    })
}

pub(crate) fn record_in(record: &WalRecord) -> core::Input<Ctx> {
    match record {
        WalRecord::Vote(v) => core::Input::Vote(vote_in(v)),
        WalRecord::Proposal(p) => core::Input::Proposal(proposal_in(p)),
        WalRecord::Block(b) => block_in(b),
        WalRecord::Polka(c) => core::Input::PolkaCertificate(polka_in(c)),
        WalRecord::Timeout(t) => core::Input::TimeoutElapsed(timeout_in(t)),
    }
}
