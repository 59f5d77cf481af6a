//! Messages from peers, before the core sees them.
//!
//! Owns the gate: bytes are decoded strictly, authors must be validators, every signature is verified by itself,
//! and what is kept for later heights is bounded per author, so that no peer can push out another's messages.
//! A message that no honest node sends is an [`Effect::Offence`] with its reason; one that is merely late,
//! early or known is dropped without cost.

use crate::Fatal;
use crate::answer::Known;
use crate::api::{Effect, OffenceReason, PeerId};
use crate::consensus::{Consensus, FUTURE_HEIGHTS, FUTURE_ROUNDS};
use crate::context::{Addr, Ctx};
use crate::convert;
use crate::guard::Step;
use crate::wire::{ConsensusMessage, SignedProposal, SignedVote};
use arc_malachitebft_core_consensus as core;
use metanode_types::bls::BlsSignature;
use metanode_types::ids::Address;
use metanode_types::vote::VoteContent;

/// A signed message reduced to what the gate looks at.
struct Claim {
    author: Address,
    height: u64,
    round: u32,
    step: Step,
    preimage: [u8; 32],
    signature: BlsSignature,
}

impl Consensus {
    pub(crate) fn message(&mut self, peer: PeerId, bytes: &[u8]) -> Result<(), Fatal> {
        let message = match ConsensusMessage::from_bytes(bytes) {
            Ok(message) => message,
            Err(e) => return self.offence(peer, OffenceReason::Undecodable(e.to_string())),
        };
        let at = &self.shell.at;
        if self.core.is_none() {
            return Ok(());
        }
        let height = message.height();
        if height < at.height || (height == at.height && at.decided) {
            self.shell.out.push(Effect::PeerBehind { peer, height });
            return Ok(());
        }
        match message {
            ConsensusMessage::Vote(vote) => self.vote(peer, &vote),
            ConsensusMessage::Proposal(proposal) => self.proposal(peer, &proposal),
            // Certificates of a later height cannot be judged yet; their sender repeats them.
            ConsensusMessage::Polka(_) | ConsensusMessage::Round(_) if height > at.height => Ok(()),
            ConsensusMessage::Polka(c) => {
                let votes = c.votes();
                self.certificate(peer, &votes, core::Input::PolkaCertificate(convert::polka_in(&c)))
            }
            ConsensusMessage::Round(c) => {
                let votes = c.votes();
                self.certificate(peer, &votes, core::Input::RoundCertificate(convert::round_in(&c)))
            }
        }
    }

    fn offence(&mut self, peer: PeerId, why: OffenceReason) -> Result<(), Fatal> {
        self.shell.out.push(Effect::Offence { peer, why });
        Ok(())
    }

    fn vote(&mut self, peer: PeerId, vote: &SignedVote) -> Result<(), Fatal> {
        let input = convert::vote_in(vote);
        let claim = Claim {
            author: vote.voter,
            height: vote.content.height,
            round: vote.content.round,
            step: vote.step(),
            preimage: vote.preimage(&self.shell.chain),
            signature: vote.signature,
        };
        if claim.height == self.shell.at.height {
            let keeper = self.core.as_ref().expect("checked at the gate").driver.votes();
            if keeper.has_vote(&input) || keeper.is_saturated_conflict(&input) {
                return Ok(());
            }
        }
        self.admit(peer, claim, core::Input::Vote(input))
    }

    fn proposal(&mut self, peer: PeerId, proposal: &SignedProposal) -> Result<(), Fatal> {
        let content = &proposal.content;
        let claim = Claim {
            author: proposal.proposer,
            height: content.height,
            round: content.round,
            step: Step::Proposal,
            preimage: proposal.preimage(&self.shell.chain),
            signature: proposal.signature,
        };
        if content.pol_round.is_some_and(|r| r >= content.round) {
            return self
                .offence(peer, OffenceReason::Nonsense("the proof-of-lock round is not an earlier round"));
        }
        if claim.height == self.shell.at.height {
            let expected = self.shell.members().proposer(claim.height, claim.round).address;
            if expected != Addr(claim.author) {
                return self.offence(peer, OffenceReason::NotTheProposer(claim.author, claim.round));
            }
        }
        self.admit(peer, claim, core::Input::Proposal(convert::proposal_in(proposal)))
    }

    /// The gate for votes and proposals.
    fn admit(&mut self, peer: PeerId, claim: Claim, input: core::Input<Ctx>) -> Result<(), Fatal> {
        let current = self.shell.at.height;
        let round = self.core.as_ref().and_then(|c| c.round().as_u32()).unwrap_or(0);
        let ceiling = if claim.height == current { round } else { 0 }.saturating_add(FUTURE_ROUNDS);
        if claim.round > ceiling {
            return Ok(());
        }
        let later = claim.height > current;
        let place = (claim.author, claim.step, claim.round);
        if later && self.future.get(&claim.height).is_some_and(|seen| seen.contains(&place)) {
            return Ok(());
        }
        let Some(member) = self.shell.members().get(&Addr(claim.author)) else {
            // At a later height it may be a new validator: no offence, but nothing to verify it with.
            return if later {
                Ok(())
            } else {
                self.offence(peer, OffenceReason::NotAValidator(claim.author))
            };
        };
        if self.shell.scheme.verify(&member.key, &claim.preimage, &claim.signature).is_err() {
            // A key may change between heights, so only this height's signatures are an offence.
            return if later {
                Ok(())
            } else {
                self.offence(peer, OffenceReason::BadSignature(claim.author))
            };
        }
        if Addr(claim.author) == self.shell.address() {
            self.our_own(&claim);
            return Ok(());
        }
        if later {
            self.shell.out.push(Effect::HeightSeen { height: claim.height, peer });
            if claim.height > current.saturating_add(FUTURE_HEIGHTS) {
                return Ok(());
            }
            self.future.entry(claim.height).or_default().insert(place);
        }
        let known: Known = (Addr(claim.author), claim.preimage, claim.signature);
        self.shell.fresh = Some(known);
        let result = self.drive(input);
        self.shell.fresh = None;
        result
    }

    /// Our own signature, verified, came back. Everything this process said or found in its log is known; with
    /// the log lost (muted) nothing can be told; anything else was made by somebody else who holds our key.
    fn our_own(&mut self, claim: &Claim) {
        if !self.shell.knows(&claim.preimage, &claim.signature) {
            self.shell.out.push(Effect::TwinDetected { height: claim.height, round: claim.round });
        }
    }

    /// Certificates carry our own votes too. One that we did not cast must not get into the log as ours.
    fn own_votes_known(&mut self, peer: &PeerId, votes: &[(VoteContent, Address, BlsSignature)]) -> bool {
        let own = self.shell.address();
        for (content, voter, signature) in votes.iter().filter(|(_, voter, _)| Addr(*voter) == own) {
            let preimage = content.signed_bytes(&self.shell.chain);
            if self.shell.knows(&preimage, signature) {
                continue;
            }
            let key = self.shell.members().get(&Addr(*voter)).map(|m| m.key);
            let genuine = key.is_some_and(|k| self.shell.scheme.verify(&k, &preimage, signature).is_ok());
            self.shell.out.push(if genuine {
                Effect::TwinDetected { height: content.height, round: content.round }
            } else {
                let why = OffenceReason::BadCertificate("a signature in it does not verify");
                Effect::Offence { peer: peer.clone(), why }
            });
            return false;
        }
        true
    }

    fn certificate(
        &mut self,
        peer: PeerId,
        votes: &[(VoteContent, Address, BlsSignature)],
        input: core::Input<Ctx>,
    ) -> Result<(), Fatal> {
        if !self.own_votes_known(&peer, votes) {
            return Ok(());
        }
        self.shell.refused = None;
        self.drive(input)?;
        match self.shell.refused.take() {
            Some(why) => self.offence(peer, OffenceReason::BadCertificate(why)),
            None => Ok(()),
        }
    }
}
