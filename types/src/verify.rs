//! The offline verifier: named checks with evidence, never a bare bool.
//!
//! Owns the meaning of POT, POA, POE, POG, receipt linkage and state transition for one bundle against one
//! trust root (what a genesis file says). It needs no network, clock or state. Every check says what it
//! looked at; what does not apply says so, what the bundle cannot show is `unavailable`. All of it holds
//! under the usual assumption, which the report prints: fewer than a third of the voting power is faulty, and
//! signatures and hashes are unbroken.

mod action;
mod economic;
mod full;
mod verified;

#[cfg(test)]
mod tests;

use crate::bundle::Bundle;
use crate::ids::{ChainId, Digest, ReceiptId};
use crate::merkle;
use crate::params::ChainParams;
use crate::quantity::Amount;
use crate::receipt::{Action, Receipt, ReceiptBody};
use crate::validator::ValidatorSet;
use serde::Serialize;

/// The assumption under which every passed check holds.
pub const ASSUMPTION: &str = "fewer than one third of the genesis validators' voting power is faulty or has \
    leaked its keys, and SHA-256, Ed25519 and BLS12-381 are unbroken";

/// What a genesis file says, as far as verification needs it.
#[derive(Clone, Debug)]
pub struct TrustRoot {
    /// Hash of the canonical genesis.
    pub chain_id: ChainId,
    /// Validators (the set changes by later issues; today it is the genesis set at every height).
    pub validators: ValidatorSet,
    /// Rules of the chain.
    pub params: ChainParams,
    /// Sum of the genesis balances.
    pub supply: Amount,
}

/// Outcome of one check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "status", content = "detail")]
pub enum Status {
    /// Checked and true; says what was looked at.
    Passed(String),
    /// Checked and false; says what is wrong.
    Failed(String),
    /// Has no meaning for this receipt; says why.
    NotApplicable(String),
    /// Cannot be checked with what is here; says what is missing.
    Unavailable(String),
}

/// One named check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Check {
    /// Stable name.
    pub name: &'static str,
    /// What the name stands for.
    pub title: &'static str,
    /// Outcome.
    #[serde(flatten)]
    pub status: Status,
}

/// All checks of one bundle.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Verification {
    /// Receipt in question.
    pub receipt: ReceiptId,
    /// The checks, in a fixed order.
    pub checks: Vec<Check>,
    /// Under which assumption the passed checks hold.
    pub assumption: &'static str,
}

impl Verification {
    /// True when no check failed and the ones that carry the proof passed.
    pub fn verified(&self) -> bool {
        let must_pass = ["format", "chain", "POT", "inclusion"];
        self.checks.iter().all(|c| match c.status {
            Status::Failed(_) => false,
            Status::Passed(_) => true,
            _ => !must_pass.contains(&c.name),
        })
    }
    /// Checks that passed, and checks that were made (passed or failed).
    pub fn score(&self) -> (usize, usize) {
        let passed = self.checks.iter().filter(|c| matches!(c.status, Status::Passed(_))).count();
        let failed = self.checks.iter().filter(|c| matches!(c.status, Status::Failed(_))).count();
        (passed, passed + failed)
    }
    /// Names of the checks that failed.
    pub fn failed(&self) -> Vec<&'static str> {
        let failed = self.checks.iter().filter(|c| matches!(c.status, Status::Failed(_)));
        failed.map(|c| c.name).collect()
    }
}

type Outcome = Result<String, String>;

fn check(name: &'static str, title: &'static str, outcome: Outcome) -> Check {
    let status = match outcome {
        Ok(evidence) => Status::Passed(evidence),
        Err(why) => Status::Failed(why),
    };
    Check { name, title, status }
}

fn ensure(ok: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if ok { Ok(()) } else { Err(why()) }
}

/// Verifies a bundle against a trust root. Replay stays `unavailable` here: see [`verify_with_replay`].
pub fn verify(bundle: &Bundle, trust: &TrustRoot) -> Verification {
    verify_with_replay(bundle, trust, None)
}

/// A state machine that can execute a block again from a witness of what it read.
pub trait Replay {
    /// Executes the block of `full` on its witness under `parent`'s roots; returns the receipts it makes.
    fn replay(&self, bundle: &Bundle, trust: &TrustRoot) -> Result<Vec<Receipt>, String>;
}

/// As [`verify`], with a state machine for the replay check of full bundles.
pub fn verify_with_replay(bundle: &Bundle, trust: &TrustRoot, replay: Option<&dyn Replay>) -> Verification {
    let receipt = &bundle.receipts[0].receipt;
    let mut checks = vec![
        check("format", "the bundle is in canonical form", format(bundle)),
        check("chain", "the bundle is from the chain of this genesis", chain(bundle, trust)),
        check("POT", "Proof of Transact: a quorum of validators certified the header", pot(bundle, trust)),
        check("inclusion", "every receipt here stands in the certified log", inclusion(bundle)),
        action::poa(bundle),
        action::poe(bundle),
        economic::pog(bundle, trust),
        check("linkage", "Receipt linkage: the subject's chain is unbroken", linkage(bundle)),
        check("state-transition", "State transition composes", transition(bundle)),
    ];
    checks.extend(full::checks(bundle, trust, replay));
    Verification { receipt: receipt.id(), checks, assumption: ASSUMPTION }
}

/// Receipt that must stand after the first one: the predecessor, then the assignment, without repetition.
fn expected_companions(receipt: &Receipt) -> Vec<ReceiptId> {
    let mut out: Vec<ReceiptId> = receipt.previous.into_iter().collect();
    if let ReceiptBody::Action(a) = &receipt.body {
        out.extend(a.shown_assignment().filter(|id| !out.contains(id)).into_iter().collect::<Vec<_>>());
    }
    out
}

fn companion<'a>(bundle: &'a Bundle, id: &ReceiptId) -> Option<(u64, &'a Receipt)> {
    let found = bundle.receipts[1..].iter().find(|r| r.receipt.id() == *id)?;
    Some((found.log_index, &found.receipt))
}

fn format(bundle: &Bundle) -> Outcome {
    ensure(bundle.is_canonical(), || "inclusion paths are not in canonical form".into())?;
    let want = expected_companions(&bundle.receipts[0].receipt).len();
    let have = bundle.receipts.len() - 1;
    ensure(have <= want, || format!("{have} accompanying receipts, {want} expected"))?;
    Ok(format!("{} receipts, {} shared hashes", bundle.receipts.len(), bundle.hashes.len()))
}

fn chain(bundle: &Bundle, trust: &TrustRoot) -> Outcome {
    let (want, got) = (trust.chain_id, bundle.chain_id);
    ensure(got == want, || format!("the bundle is from chain {got}, the genesis is {want}"))?;
    Ok(format!("chain {}", want.short()))
}

fn pot(bundle: &Bundle, trust: &TrustRoot) -> Outcome {
    let (h, c) = (&bundle.header, &bundle.certificate);
    ensure(h.chain_id == trust.chain_id, || format!("the header is from chain {}", h.chain_id))?;
    ensure(c.block == h.id(), || {
        format!("the certificate is for block {}, the header is {}", c.block, h.id())
    })?;
    ensure(c.height == h.height, || format!("certificate of height {}, header of {}", c.height, h.height))?;
    let set = &trust.validators;
    ensure(h.validators_hash == set.hash(), || "the header names another validator set than genesis".into())?;
    ensure(h.params_hash == trust.params.hash(), || "the header names other parameters than genesis".into())?;
    let power = c.verify(&trust.chain_id, set).map_err(|e| e.to_string())?;
    let signers = c.signers.count();
    Ok(format!(
        "block {} at height {}: {signers} of {} validators, power {power} of {}",
        c.block.short(),
        h.height,
        set.len(),
        set.total_power()
    ))
}

fn inclusion(bundle: &Bundle) -> Outcome {
    let (size, root) = (bundle.header.receipts_size, &bundle.header.receipts_root);
    for (i, r) in bundle.receipts.iter().enumerate() {
        let path = bundle.path(i).ok_or("a path points outside the hash table")?;
        let id = r.receipt.id().short();
        merkle::verify_inclusion(&r.receipt.leaf(), r.log_index, size, &path, root)
            .map_err(|e| format!("receipt {id} at leaf {}: {e}", r.log_index))?;
        ensure(r.receipt.height <= bundle.header.height, || {
            format!("receipt {id} is younger than the header")
        })?;
    }
    let at = bundle.receipts[0].log_index;
    Ok(format!("leaf {at} of {size}, root {}", Digest(*root).short()))
}

fn linkage(bundle: &Bundle) -> Outcome {
    let at = bundle.receipts[0].log_index;
    let r = &bundle.receipts[0].receipt;
    let Some(previous) = r.previous else {
        ensure(r.seq == 0, || format!("sequence {} but no predecessor", r.seq))?;
        return Ok(format!("first receipt of {}", r.subject));
    };
    ensure(r.seq > 0, || "sequence 0 names a predecessor".into())?;
    let (p_at, p) = companion(bundle, &previous).ok_or("the predecessor is not in the bundle")?;
    ensure(p.subject == r.subject, || format!("the predecessor is about {}", p.subject))?;
    ensure(p.seq + 1 == r.seq, || format!("sequence {} follows {}", r.seq, p.seq))?;
    ensure(p_at < at, || "the predecessor stands later in the log".into())?;
    let order = |r: &Receipt| (r.height, r.tx_index.unwrap_or(u32::MAX));
    ensure(order(p) <= order(r), || "the predecessor is from a later block or transaction".into())?;
    Ok(format!("number {} of {}, after {}", r.seq, r.subject, previous.short()))
}

fn transition(bundle: &Bundle) -> Outcome {
    let r = &bundle.receipts[0].receipt;
    let Some(previous) = r.previous else {
        ensure(r.before == Digest::default(), || "a first receipt starts from nothing".into())?;
        return Ok(format!("nothing -> {}", r.after.short()));
    };
    let (_, p) = companion(bundle, &previous).ok_or("the predecessor is not in the bundle")?;
    ensure(p.after == r.before, || {
        format!("the predecessor ended at {}, this starts at {}", p.after, r.before)
    })?;
    Ok(format!("{} -> {}, starting where the predecessor ended", r.before.short(), r.after.short()))
}

/// The assignment receipt that an action names, if the bundle holds it.
fn assignment_of<'a>(bundle: &'a Bundle, action: &Action) -> Option<&'a Receipt> {
    companion(bundle, &action.shown_assignment()?).map(|(_, r)| r)
}
