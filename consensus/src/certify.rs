//! Checks and makes certificates of one height, with that height's members.
//!
//! Owns the rules: every signer known and counted once, enough power, every signature valid. Polka and round
//! certificates are checked signature by signature, because the core re-publishes the parts and a sum that
//! verifies may hide two invalid halves. Refuses to aggregate what is not a quorum.

use crate::context::{Addr, Ctx, Members};
use crate::scheme::Scheme;
use arc_malachitebft_core_types as types;
use metanode_types::bls::{BlsPublic, BlsSignature};
use metanode_types::certificate::{Bitmap, Certificate};
use metanode_types::ids::ChainId;
use metanode_types::vote::{VoteContent, VoteKind};
use std::collections::BTreeSet;
use types::{ThresholdParam, ThresholdParams};

/// Why a certificate proves nothing, in words for the log and for whoever sent it.
pub(crate) type Refusal = &'static str;

/// Counts signers once each and adds their power.
struct Tally<'a> {
    members: &'a Members,
    seen: BTreeSet<Addr>,
    power: u64,
}

impl<'a> Tally<'a> {
    fn new(members: &'a Members) -> Self {
        Tally { members, seen: BTreeSet::new(), power: 0 }
    }

    fn count(&mut self, address: &Addr) -> Result<BlsPublic, Refusal> {
        let member = self.members.get(address).ok_or("it names someone who is not a validator")?;
        if !self.seen.insert(*address) {
            return Err("it counts a validator twice");
        }
        // The total of a validator set is bounded by 2^60, and nobody is counted twice.
        self.power += member.power;
        Ok(member.key)
    }

    fn require(&self, threshold: ThresholdParam) -> Result<(), Refusal> {
        if threshold.is_met(self.power, self.members.total()) {
            return Ok(());
        }
        Err("its signers are too few")
    }
}

/// Checks a quorum of prevotes.
pub(crate) fn check_polka(
    scheme: &dyn Scheme,
    chain: &ChainId,
    members: &Members,
    thresholds: &ThresholdParams,
    c: &types::PolkaCertificate<Ctx>,
) -> Result<(), Refusal> {
    let mut tally = Tally::new(members);
    let round = c.round.as_u32().ok_or("its round is undefined")?;
    let content =
        VoteContent { kind: VoteKind::Prevote, height: c.height.0, round, block: Some(c.value_id.0) };
    let preimage = content.signed_bytes(chain);
    let keys = c.polka_signatures.iter().map(|s| tally.count(&s.address)).collect::<Result<Vec<_>, _>>()?;
    tally.require(thresholds.quorum)?;
    for (key, s) in keys.iter().zip(&c.polka_signatures) {
        scheme.verify(key, &preimage, &s.signature).map_err(|_| "a signature in it does not verify")?;
    }
    Ok(())
}

/// Checks the votes that justify entering a round.
pub(crate) fn check_round(
    scheme: &dyn Scheme,
    chain: &ChainId,
    members: &Members,
    thresholds: &ThresholdParams,
    c: &types::RoundCertificate<Ctx>,
) -> Result<(), Refusal> {
    let mut tally = Tally::new(members);
    let round = c.round.as_u32().ok_or("its round is undefined")?;
    let precommits = c.cert_type == types::RoundCertificateType::Precommit;
    let mut keys = Vec::with_capacity(c.round_signatures.len());
    for s in &c.round_signatures {
        if precommits && s.vote_type != types::VoteType::Precommit {
            return Err("it holds a vote of the wrong kind");
        }
        keys.push(tally.count(&s.address)?);
    }
    tally.require(if precommits { thresholds.quorum } else { thresholds.honest })?;
    for (key, s) in keys.iter().zip(&c.round_signatures) {
        let kind = crate::convert::kind_out(s.vote_type);
        let content =
            VoteContent { kind, height: c.height.0, round, block: crate::convert::block_out(&s.value_id) };
        scheme
            .verify(key, &content.signed_bytes(chain), &s.signature)
            .map_err(|_| "a signature in it does not verify")?;
    }
    Ok(())
}

/// Folds the precommits of a decision into one signature and a bitmap, and checks the result.
pub(crate) fn aggregate(
    scheme: &dyn Scheme,
    chain: &ChainId,
    members: &Members,
    thresholds: &ThresholdParams,
    c: &types::CommitCertificate<Ctx>,
) -> Result<Certificate, Refusal> {
    let mut tally = Tally::new(members);
    let mut parts = Vec::with_capacity(c.commit_signatures.len());
    for s in &c.commit_signatures {
        let key = tally.count(&s.address)?;
        parts.push((members.index_of(&s.address).expect("it was just counted"), key, s.signature));
    }
    tally.require(thresholds.quorum)?;
    parts.sort_unstable_by_key(|(index, ..)| *index);
    let mut signers = Bitmap::new();
    parts.iter().for_each(|(index, ..)| signers.set(*index));
    let signatures: Vec<BlsSignature> = parts.iter().map(|(.., s)| *s).collect();
    let keys: Vec<BlsPublic> = parts.iter().map(|(_, k, _)| *k).collect();
    let certificate = Certificate {
        height: c.height.0,
        round: c.round.as_u32().ok_or("the round is undefined")?,
        block: c.value_id.0,
        signers,
        signature: scheme.aggregate(&signatures).map_err(|_| "a precommit is not a signature")?,
    };
    let preimage = certificate.vote().signed_bytes(chain);
    scheme
        .verify_aggregate(&keys, &preimage, &certificate.signature)
        .map_err(|_| "the aggregate of the precommits does not verify")?;
    Ok(certificate)
}
