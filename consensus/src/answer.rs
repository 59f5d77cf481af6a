//! Answers to the core's effects: sign, verify, log, publish.
//!
//! Owns everything of a node's consensus that is not the core's own state, above all the *order* of what goes
//! out: [`Shell::flush`] puts the log's sync and the sign guard before anything that reveals a signature. An
//! answer that fails is `Fatal` and the core is dropped in the middle of its transition; it is never resumed
//! with a made-up value (the core's own macro would go on).

use crate::Fatal;
use crate::api::{Effect, TimeoutId, TimeoutKind};
use crate::certify;
use crate::context::{Addr, Ctx, Height, Members, Proposal, Vote, defined};
use crate::convert;
use crate::evidence::Evidence;
use crate::guard::{SignGuard, SignRecord, Step};
use crate::scheme::{Scheme, Signer};
use crate::wal::WalRecord;
use crate::wire::{ConsensusMessage, step_of};
use arc_malachitebft_core_consensus as core;
use arc_malachitebft_core_types as types;
use core::{
    ConsensusMsg, LivenessMsg, MisbehaviorEvidence, Resumable, Resume, SignedConsensusMsg, VoteExtensionError,
};
use metanode_types::bls::{BlsPublic, BlsSignature};
use metanode_types::certificate::Certificate;
use metanode_types::ids::{Address, BlockId, ChainId};
use metanode_types::params::ConsensusTimeouts;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use types::{CertificateError, Timeout};

/// No timer waits longer, however high the round.
pub const MAX_TIMEOUT_MS: u64 = 60_000;

/// What the core is told of a certificate that was refused.
const UNPROVEN: CertificateError<Ctx> = CertificateError::VerificationError(None);

/// This node's own key and what it signed.
pub(crate) struct Own {
    pub(crate) address: Addr,
    pub(crate) signer: Box<dyn Signer>,
    pub(crate) guard: SignGuard,
}

impl Own {
    /// The signing that a log record is the trace of, if it is a message of ours.
    pub(crate) fn record_of(&self, chain: &ChainId, record: &WalRecord) -> Option<SignRecord> {
        let own = self.address.0;
        match record {
            WalRecord::Vote(v) if v.voter == own => {
                Some(SignRecord::of(v.content.height, v.content.round, v.step(), &v.preimage(chain)))
            }
            WalRecord::Proposal(p) if p.proposer == own => {
                Some(SignRecord::of(p.content.height, p.content.round, Step::Proposal, &p.preimage(chain)))
            }
            _ => None,
        }
    }
}

/// A signed message whose signature is known to be good.
pub(crate) type Known = (Addr, [u8; 32], BlsSignature);

/// State of one height, forgotten when the next one starts.
#[derive(Default)]
pub(crate) struct HeightState {
    pub(crate) height: u64,
    pub(crate) members: Option<Members>,
    pub(crate) decided: bool,
    /// Signed nothing and will sign nothing at this height.
    pub(crate) muted: bool,
    /// Records fed from the log are not logged again.
    pub(crate) replaying: bool,
    pub(crate) replayed: BTreeSet<WalRecord>,
    /// The question that is open: round and time to answer.
    pub(crate) get_value: Option<(u32, u64)>,
    pub(crate) verdicts: BTreeMap<BlockId, bool>,
    /// Blocks whose verdict the core has.
    pub(crate) fed: BTreeSet<BlockId>,
    /// Proposals whose block has no verdict yet: round and proposer of the first one.
    pub(crate) asked: BTreeMap<BlockId, (u32, Address)>,
    /// Blocks that were proposed after their verdict had come.
    pub(crate) to_feed: Vec<BlockId>,
    /// Signatures made by this process, or by an earlier one that logged them.
    pub(crate) made: BTreeSet<Known>,
    pub(crate) certificate: Option<Certificate>,
}

pub(crate) struct Shell {
    pub(crate) chain: ChainId,
    pub(crate) timeouts: ConsensusTimeouts,
    pub(crate) scheme: Arc<dyn Scheme>,
    pub(crate) own: Option<Own>,
    pub(crate) out: Vec<Effect>,
    wal_dirty: bool,
    guard_dirty: bool,
    pub(crate) at: HeightState,
    /// The foreign message that was verified just before it was handed to the core.
    pub(crate) fresh: Option<Known>,
    /// Set when a certificate from a peer was refused.
    pub(crate) refused: Option<&'static str>,
}

impl Shell {
    pub(crate) fn new(
        chain: ChainId,
        timeouts: ConsensusTimeouts,
        scheme: Arc<dyn Scheme>,
        own: Option<Own>,
    ) -> Self {
        Shell {
            chain,
            timeouts,
            scheme,
            own,
            out: Vec::new(),
            wal_dirty: false,
            guard_dirty: false,
            at: HeightState::default(),
            fresh: None,
            refused: None,
        }
    }

    pub(crate) fn members(&self) -> &Members {
        self.at.members.as_ref().expect("the core runs only after a height was started")
    }

    /// Our address, or one that no validator has: nobody knows an account key that hashes to zero.
    pub(crate) fn address(&self) -> Addr {
        self.own.as_ref().map_or(Addr(Address([0; 32])), |own| own.address)
    }

    /// Makes durable what the next effect relies on: first the log, then the guard, so that the guard is
    /// never ahead of the log unless the log was lost.
    pub(crate) fn flush(&mut self) {
        if std::mem::take(&mut self.wal_dirty) {
            self.out.push(Effect::WalSync);
        }
        if std::mem::take(&mut self.guard_dirty) {
            let own = self.own.as_ref().expect("only a signer makes the guard dirty");
            self.out.push(Effect::PersistGuard(own.guard.history().clone()));
        }
    }

    /// Before a replay publishes again what the log holds: the process may have died after the log's sync and
    /// before the guard's, or before any sync at all, so both are due again.
    pub(crate) fn catch_up_guard(&mut self, replay: &[WalRecord]) {
        self.wal_dirty |= !replay.is_empty();
        let Some(own) = self.own.as_mut() else { return };
        for logged in replay {
            let Some(record) = own.record_of(&self.chain, logged) else { continue };
            let (preimage, signature) = match logged {
                WalRecord::Vote(v) => (v.preimage(&self.chain), v.signature),
                WalRecord::Proposal(p) => (p.preimage(&self.chain), p.signature),
                _ => continue,
            };
            if self.scheme.verify(&own.signer.public(), &preimage, &signature).is_ok() {
                self.at.made.insert((own.address, preimage, signature));
            }
            // What lies behind the guard is covered already.
            if own.guard.check(&record).is_ok() {
                self.guard_dirty |= own.guard.advance(record).expect("it was just checked");
            }
        }
    }

    /// A signature was made that no `PersistGuard` covers yet.
    pub(crate) fn owes_guard(&self) -> bool {
        self.guard_dirty
    }

    fn publish(&mut self, message: &ConsensusMessage) {
        self.flush();
        self.out.push(Effect::Publish(message.to_bytes()));
    }

    /// Answers one effect of the core.
    pub(crate) fn answer(&mut self, effect: core::Effect<Ctx>) -> Result<Resume<Ctx>, Fatal> {
        use core::Effect as E;
        Ok(match effect {
            E::SignVote(vote, r) => r.resume_with(self.sign_vote(vote)?),
            E::SignProposal(proposal, r) => r.resume_with(self.sign_proposal(proposal)?),
            E::VerifySignature(message, key, r) => r.resume_with(self.verify(&message, &key)),
            E::VerifyCommitCertificate(c, members, thresholds, r) => {
                let made = certify::aggregate(&*self.scheme, &self.chain, &members, &thresholds, &c);
                let fail = |why| Fatal::Certify { height: c.height.0, round: c.round.as_i64(), why };
                self.at.certificate = Some(made.map_err(fail)?);
                r.resume_with(Ok(()))
            }
            E::VerifyPolkaCertificate(c, members, thresholds, r) => {
                let checked = certify::check_polka(&*self.scheme, &self.chain, &members, &thresholds, &c);
                r.resume_with(if self.note_refusal(checked) { Ok(()) } else { Err(UNPROVEN) })
            }
            E::VerifyRoundCertificate(c, members, thresholds, r) => {
                let checked = certify::check_round(&*self.scheme, &self.chain, &members, &thresholds, &c);
                r.resume_with(if self.note_refusal(checked) { Ok(()) } else { Err(UNPROVEN) })
            }
            // Blocks are synced outside of the core, and vote extensions are disabled: these are never asked.
            E::VerifyExtendedCommitCertificate(.., r) => r.resume_with(Err(UNPROVEN)),
            E::VerifyVoteExtension(.., r) => r.resume_with(Err(VoteExtensionError::InvalidVoteExtension)),
            E::ExtendVote(.., r) => r.resume_with(None),
            other => {
                self.perform(other)?;
                Resume::Continue
            }
        })
    }

    /// The effects that want no answer.
    fn perform(&mut self, effect: core::Effect<Ctx>) -> Result<(), Fatal> {
        use core::Effect as E;
        match effect {
            E::CancelAllTimeouts(_) => self.out.push(Effect::CancelAllTimeouts),
            E::CancelTimeout(t, _) => {
                let id = self.timeout_id(&t)?;
                self.out.push(Effect::CancelTimeout(id));
            }
            E::ScheduleTimeout(t, _) => {
                let id = self.timeout_id(&t)?;
                self.out.push(Effect::ScheduleTimeout { id, after_ms: self.duration(&id) });
            }
            E::StartRound(height, round, proposer, role, _) => {
                self.flush();
                let ours = role == core::Role::Proposer;
                let (height, round, proposer) = (height.0, defined(round), proposer.0);
                self.out.push(Effect::StartedRound { height, round, proposer, ours });
                self.at.get_value = None;
            }
            E::PublishConsensusMsg(SignedConsensusMsg::Vote(v), _)
            | E::PublishLivenessMsg(LivenessMsg::Vote(v), _)
            | E::RepublishVote(v, _) => self.publish(&ConsensusMessage::Vote(convert::vote_out(&v))),
            E::PublishConsensusMsg(SignedConsensusMsg::Proposal(p), _) => {
                self.publish(&ConsensusMessage::Proposal(convert::proposal_out(&p)));
            }
            E::PublishLivenessMsg(LivenessMsg::PolkaCertificate(c), _) => {
                self.publish(&ConsensusMessage::Polka(convert::polka_out(&c)));
            }
            E::PublishLivenessMsg(LivenessMsg::SkipRoundCertificate(c), _)
            | E::RepublishRoundCertificate(c, _) => {
                self.publish(&ConsensusMessage::Round(convert::round_out(&c)));
            }
            E::GetValue(height, round, timeout, _) => self.get_value(height, defined(round), &timeout)?,
            E::RestreamProposal(height, _, _, _, block, _) => {
                self.out.push(Effect::RepublishBlock { height: height.0, block: block.0 });
            }
            E::WalAppend(height, input, _) => self.log(height, &input)?,
            E::Decide(certificate, _, _) => self.decide(&certificate)?,
            E::Finalize(_, _, evidence, _) => self.finalize(evidence),
            other => {
                return Err(Fatal::Drive(format!(
                    "the core asked for something this chain does not use: {other:?}"
                )));
            }
        }
        Ok(())
    }

    fn sign(&mut self, record: SignRecord, preimage: &[u8; 32]) -> Result<BlsSignature, Fatal> {
        let own = self.own.as_mut().filter(|_| !self.at.muted);
        let own =
            own.ok_or_else(|| Fatal::Drive("the core wants a signature of a node that only listens".into()))?;
        self.guard_dirty |= own.guard.advance(record)?;
        let signature = own.signer.sign(preimage).map_err(crate::guard::SignRefused::Signer)?;
        self.at.made.insert((own.address, *preimage, signature));
        Ok(signature)
    }

    fn sign_vote(&mut self, vote: Vote) -> Result<convert::CoreVote, Fatal> {
        let c = vote.content;
        let preimage = c.signed_bytes(&self.chain);
        let record = SignRecord::of(c.height, c.round, step_of(c.kind), &preimage);
        let signature = self.sign(record, &preimage)?;
        Ok(convert::CoreVote::new(vote, signature))
    }

    fn sign_proposal(&mut self, proposal: Proposal) -> Result<convert::CoreProposal, Fatal> {
        let c = proposal.content;
        let preimage = c.signed_bytes(&self.chain);
        let signature = self.sign(SignRecord::of(c.height, c.round, Step::Proposal, &preimage), &preimage)?;
        Ok(convert::CoreProposal::new(proposal, signature))
    }

    /// Our own signatures and the one verified a moment ago are known to be good; everything else is checked.
    fn verify(&self, message: &types::SignedMessage<Ctx, ConsensusMsg<Ctx>>, key: &BlsPublic) -> bool {
        let (author, preimage) = match &message.message {
            ConsensusMsg::Vote(v) => (v.voter, v.content.signed_bytes(&self.chain)),
            ConsensusMsg::Proposal(p) => (p.proposer, p.content.signed_bytes(&self.chain)),
        };
        let known = (author, preimage, message.signature);
        self.fresh == Some(known)
            || self.at.made.contains(&known)
            || self.scheme.verify(key, &preimage, &message.signature).is_ok()
    }

    /// Whether a signature in our name is one that this node remembers making, or cannot deny.
    pub(crate) fn knows(&self, preimage: &[u8; 32], signature: &BlsSignature) -> bool {
        self.at.muted || self.at.made.contains(&(self.address(), *preimage, *signature))
    }

    /// Remembers why a peer's certificate was refused; the core wants only a yes or a no.
    fn note_refusal(&mut self, checked: Result<(), certify::Refusal>) -> bool {
        if let Err(why) = checked {
            self.refused = Some(why);
        }
        checked.is_ok()
    }

    fn get_value(&mut self, height: Height, round: u32, timeout: &Timeout) -> Result<(), Fatal> {
        let id = self.timeout_id(timeout)?;
        let timeout_ms = self.duration(&id);
        self.at.get_value = Some((round, timeout_ms));
        // During replay the log may still hold what was proposed: the question waits for its end.
        if !self.at.replaying {
            self.flush();
            self.out.push(Effect::GetValue { height: height.0, round, timeout_ms });
        }
        Ok(())
    }

    fn log(&mut self, height: Height, input: &core::Input<Ctx>) -> Result<(), Fatal> {
        let record = convert::record_out(height.0, input)
            .ok_or_else(|| Fatal::Drive("the core wants to log something that is never logged".into()))?;
        if let WalRecord::Proposal(p) = &record {
            self.want_verdict(p.content.round, p.content.block, p.proposer);
        }
        if !self.at.replayed.contains(&record) {
            self.out.push(Effect::WalAppend(record));
            self.wal_dirty = true;
        }
        Ok(())
    }

    fn want_verdict(&mut self, round: u32, block: BlockId, proposer: Address) {
        let at = &mut self.at;
        if at.verdicts.contains_key(&block) {
            if !at.fed.contains(&block) {
                at.asked.insert(block, (round, proposer));
                at.to_feed.push(block);
            }
            return;
        }
        // Asked again when it is proposed again: the application may have failed to get the block so far.
        at.asked.insert(block, (round, proposer));
        if !at.replaying {
            self.out.push(Effect::NeedBlockVerdict { height: at.height, round, block, proposer });
        }
    }

    fn decide(&mut self, c: &types::CommitCertificate<Ctx>) -> Result<(), Fatal> {
        let fail = |why| Fatal::Certify { height: c.height.0, round: c.round.as_i64(), why };
        let certificate = self.at.certificate.take().ok_or_else(|| fail("it was never verified"))?;
        if (certificate.height, certificate.block) != (c.height.0, c.value_id.0) {
            return Err(fail("it is not the one that was verified"));
        }
        self.flush();
        self.out.push(Effect::Decide(certificate));
        Ok(())
    }

    fn finalize(&mut self, evidence: MisbehaviorEvidence<Ctx>) {
        for (_, pairs) in evidence.votes {
            for (a, b) in pairs {
                let evidence = Evidence::votes(convert::vote_out(&a), convert::vote_out(&b));
                self.out.push(Effect::Evidence(evidence));
            }
        }
        for (_, pairs) in evidence.proposals {
            for (a, b) in pairs {
                let evidence = Evidence::proposals(convert::proposal_out(&a), convert::proposal_out(&b));
                self.out.push(Effect::Evidence(evidence));
            }
        }
        self.out.push(Effect::CancelAllTimeouts);
        self.at.decided = true;
        self.at.get_value = None;
    }

    fn timeout_id(&self, t: &Timeout) -> Result<TimeoutId, Fatal> {
        convert::timeout_out(self.at.height, t)
            .ok_or_else(|| Fatal::Drive("the core set a timer of a kind this chain does not use".into()))
    }

    fn duration(&self, id: &TimeoutId) -> u64 {
        let base = match id.kind {
            TimeoutKind::Propose => self.timeouts.propose_ms,
            TimeoutKind::Prevote => self.timeouts.prevote_ms,
            TimeoutKind::Precommit => self.timeouts.precommit_ms,
            TimeoutKind::Rebroadcast => self.timeouts.rebroadcast_ms,
        };
        let grown = base.saturating_add(self.timeouts.delta_ms.saturating_mul(u64::from(id.round)));
        grown.min(MAX_TIMEOUT_MS.max(base))
    }
}
