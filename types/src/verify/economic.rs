//! POG: the double entry balances and the price is the tariff's.

use super::{Check, Outcome, Status, TrustRoot, check, ensure};
use crate::bundle::Bundle;
use crate::ids::Address;
use crate::quantity::Amount;
use crate::receipt::{Economic, EconomicKind, Holder, ReceiptBody, Subject};
use crate::tx::SignedTx;

const POG: &str = "Proof of Gold: debits equal credits, and the price is use x tariff";

/// Proof of Gold.
pub(super) fn pog(bundle: &Bundle, trust: &TrustRoot) -> Check {
    match &bundle.receipts[0].receipt.body {
        ReceiptBody::Economic(e) => check("POG", POG, balanced(bundle, trust, e)),
        _ => Check {
            name: "POG",
            title: POG,
            status: Status::NotApplicable("no money moved by this receipt".into()),
        },
    }
}

fn balanced(bundle: &Bundle, trust: &TrustRoot, e: &Economic) -> Outcome {
    ensure(e.is_balanced(), || "the postings do not sum to zero".into())?;
    let (payer, fee_to) = parties(bundle, e)?;
    let canonical = Economic::new(e.kind.clone(), payer, fee_to).ok_or("an amount does not fit")?;
    ensure(canonical == *e, || "the postings are not those of this kind of payment".into())?;
    let priced = price(bundle, trust, &e.kind)?;
    Ok(format!("{} postings sum to zero; {priced}", e.postings.len()))
}

/// The paying account and the receiver of the fee, read from subject and postings.
fn parties(bundle: &Bundle, e: &Economic) -> Result<(Address, Address), String> {
    let account = |h: &Holder| match h {
        Holder::Account(a) => Some(*a),
        _ => None,
    };
    let last = e.postings.last().and_then(|p| account(&p.holder)).unwrap_or_default();
    match (&e.kind, &bundle.receipts[0].receipt.subject) {
        (EconomicKind::Charged { .. } | EconomicKind::Refunded { .. }, Subject::Deployment(_)) => {
            Ok((last, last))
        }
        (EconomicKind::Charged { .. } | EconomicKind::Refunded { .. }, s) => {
            Err(format!("an escrow cannot belong to {s}"))
        }
        (EconomicKind::Bonded { .. }, Subject::Account(a)) => Ok((*a, last)),
        (kind, subject) if kind.bond_of().is_some() => match subject {
            Subject::Replica(r) if kind.bond_of() == Some(r) => Ok((last, last)),
            s => Err(format!("a bond of another replica than {s}")),
        },
        (_, Subject::Account(a)) => Ok((*a, last)),
        (_, s) => Err(format!("{s} cannot pay a fee")),
    }
}

fn price(bundle: &Bundle, trust: &TrustRoot, kind: &EconomicKind) -> Outcome {
    let tariff = &trust.params.tariff;
    match kind {
        EconomicKind::Charged { usage, price, charged, burned, .. } => {
            let want = tariff.price(usage).ok_or("the price overflows")?;
            ensure(*price == want, || format!("{price} for this use, the tariff says {want}"))?;
            ensure(charged <= price, || format!("charged {charged}, more than the price {price}"))?;
            let burn = tariff.burned(*charged).ok_or("the burned part overflows")?;
            ensure(*burned == burn, || format!("{burned} burned, the tariff says {burn}"))?;
            Ok(format!(
                "{} CPU-ms and {} MiB-s cost {price}, {charged} charged, {burned} burned",
                usage.cpu_ms, usage.memory_mib_s
            ))
        }
        EconomicKind::Transfer { amount, fee, .. } => {
            fee_is_tariffs(bundle, trust, fee, format!("{amount} moved"))
        }
        EconomicKind::Fee { fee } => fee_is_tariffs(bundle, trust, fee, "a fee alone".into()),
        EconomicKind::Escrowed { amount, fee, .. } => {
            fee_is_tariffs(bundle, trust, fee, format!("{amount} put in escrow"))
        }
        EconomicKind::Refunded { amount, .. } => Ok(format!("{amount} returned from escrow")),
        EconomicKind::Bonded { amount, fee, .. } if bundle.cause.is_none() => {
            ensure(*fee == Amount::ZERO, || "a fee without a transaction".into())?;
            let most = trust.params.verify.bond;
            ensure(*amount <= most, || format!("a bond of {amount}, the chain's is {most}"))?;
            Ok(format!("a bond of {amount} put up for an execution"))
        }
        EconomicKind::Bonded { amount, fee, .. } => {
            fee_is_tariffs(bundle, trust, fee, format!("a bond of {amount} put up"))
        }
        EconomicKind::BondReturned { amount, .. } => Ok(format!("a bond of {amount} returned")),
        EconomicKind::BondPaid { amount, .. } => Ok(format!("{amount} of a bond lost to another account")),
        EconomicKind::BondBurned { amount, .. } => Ok(format!("{amount} of a bond lost and burned")),
    }
}

/// The fee is the tariff's for the transaction's signed bytes, when its body is here.
fn fee_is_tariffs(bundle: &Bundle, trust: &TrustRoot, fee: &Amount, what: String) -> Outcome {
    let Some(cause) = &bundle.cause else { return Err("no transaction to which the fee belongs".into()) };
    ensure(*fee <= cause.envelope.fee_limit, || format!("fee {fee} is above the limit the sender signed"))?;
    let Some(body) = cause.body.clone() else {
        return Ok(format!("{what}, fee {fee} within the signed limit (body not in a core bundle)"));
    };
    let tx = SignedTx { envelope: cause.envelope.clone(), body, key: cause.key, signature: cause.signature };
    let bytes = crate::codec::encode(&tx).len();
    let want = trust.params.tariff.tx_fee(bytes).ok_or("the fee overflows")?;
    ensure(*fee == want, || format!("fee {fee}, the tariff says {want} for {bytes} bytes"))?;
    Ok(format!("{what}, fee {fee} for {bytes} bytes"))
}
