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
use types::{CertificateError, ThresholdParam, ThresholdParams};

type Refusal = CertificateError<Ctx>;

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
        let member = self.members.get(address).ok_or(CertificateError::UnknownValidator(*address))?;
        if !self.seen.insert(*address) {
            return Err(CertificateError::DuplicateVote(*address));
        }
        // The total of a validator set is bounded by 2^60, and nobody is counted twice.
        self.power += member.power;
        Ok(member.key)
    }

    fn require(&self, threshold: ThresholdParam) -> Result<(), Refusal> {
        let total = self.members.total();
        if threshold.is_met(self.power, total) {
            return Ok(());
        }
        Err(CertificateError::NotEnoughVotingPower {
            signed: self.power,
            total,
            expected: threshold.min_expected(total),
        })
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
    let round = c.round.as_u32().ok_or(CertificateError::VerificationError(None))?;
    let content =
        VoteContent { kind: VoteKind::Prevote, height: c.height.0, round, block: Some(c.value_id.0) };
    let preimage = content.signed_bytes(chain);
    let keys = c.polka_signatures.iter().map(|s| tally.count(&s.address)).collect::<Result<Vec<_>, _>>()?;
    tally.require(thresholds.quorum)?;
    for (key, s) in keys.iter().zip(&c.polka_signatures) {
        scheme
            .verify(key, &preimage, &s.signature)
            .map_err(|_| CertificateError::InvalidPolkaSignature(s.clone()))?;
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
    let round = c.round.as_u32().ok_or(CertificateError::VerificationError(None))?;
    let precommits = c.cert_type == types::RoundCertificateType::Precommit;
    let mut keys = Vec::with_capacity(c.round_signatures.len());
    for s in &c.round_signatures {
        if precommits && s.vote_type != types::VoteType::Precommit {
            return Err(CertificateError::InvalidVoteType(s.address));
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
            .map_err(|_| CertificateError::InvalidRoundSignature(s.clone()))?;
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
) -> Result<Certificate, &'static str> {
    let mut tally = Tally::new(members);
    let mut parts = Vec::with_capacity(c.commit_signatures.len());
    for s in &c.commit_signatures {
        let key = tally.count(&s.address).map_err(|_| "a signer is unknown or named twice")?;
        parts.push((members.index_of(&s.address).expect("it was just counted"), key, s.signature));
    }
    tally.require(thresholds.quorum).map_err(|_| "the precommits are not a quorum")?;
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
