//! Moving money: every movement is a double entry with an Economic receipt.
//!
//! Owns fees, transfers, escrow, charges and refunds, and the law that nothing is made or lost: the sum of accounts,
//! escrows and what was burned is the genesis supply, asserted for every block over what it changed.

use crate::draft::{Draft, Step};
use crate::error::Result;
use crate::failure::{Code, Failure, ensure};
use crate::keys;
use crate::records::*;
use crate::store::Column;
use crate::view::{StateRead, decode, required};
use metanode_types::block::Module;
use metanode_types::ids::{Address, Name};
use metanode_types::params::Usage;
use metanode_types::quantity::Amount;
use metanode_types::receipt::{Economic, EconomicKind, Holder, ReceiptBody, Subject};
use metanode_types::workload::ReplicaId;

/// The payment of a transaction: its fee and what moves with it.
pub(crate) fn pay(draft: &mut Draft<'_>, payer: Address, kind: EconomicKind) -> Step {
    let total = match &kind {
        EconomicKind::Fee { fee } => Some(*fee),
        EconomicKind::Transfer { amount, fee, .. }
        | EconomicKind::Escrowed { amount, fee, .. }
        | EconomicKind::Bonded { amount, fee, .. } => amount.checked_add(*fee),
        other => unreachable!("{other:?} is not the payment of a transaction"),
    };
    let mut account = draft.account(&payer)?;
    let balance = account.balance();
    let total = total.filter(|t| *t <= balance).ok_or_else(|| {
        Failure::new(
            Code::InsufficientFunds,
            format!("the account holds {balance}, less than amount and fee"),
        )
    })?;
    let before = account.digest(&payer);
    account.debited = add(account.debited, total);
    account.sent_count += 1;
    let after = account.digest(&payer);
    draft.put_account(&payer, &account);
    let entry =
        Economic::new(kind, payer, draft.block.proposer).expect("amounts below the supply fit an i128");
    apply_credits(draft, &entry)?;
    draft.emit(Subject::Account(payer), before, after, ReceiptBody::Economic(entry))?;
    Ok(())
}

fn add(a: Amount, b: Amount) -> Amount {
    a.checked_add(b).expect("cumulative amounts stay below 2^128: the supply is below 2^80")
}

/// Credits the accounts among an entry's postings; escrows and burns are booked by who knows them.
fn apply_credits(draft: &mut Draft<'_>, entry: &Economic) -> Result<()> {
    assert!(entry.is_balanced(), "debits equal credits");
    for p in &entry.postings {
        if let (Holder::Account(a), Ok(credit)) = (&p.holder, u128::try_from(p.delta)) {
            let mut account = draft.account(a)?;
            account.credited = add(account.credited, Amount(credit));
            draft.put_account(a, &account);
        }
    }
    Ok(())
}

/// Books the change of the escrows' total and of what was burned.
pub(crate) fn book_supply(
    draft: &mut Draft<'_>,
    escrow_in: Amount,
    escrow_out: Amount,
    burned: Amount,
) -> Result<()> {
    let mut supply = draft.supply()?;
    let escrowed = add(supply.escrowed, escrow_in).checked_sub(escrow_out);
    supply.escrowed = escrowed.expect("no more leaves escrow than is in it");
    supply.burned = add(supply.burned, burned);
    assert_within(&supply);
    draft.put(keys::supply(), &supply);
    Ok(())
}

fn assert_within(supply: &SupplyRecord) {
    let out = add(add(supply.escrowed, supply.bonded), supply.burned);
    assert!(out <= supply.genesis, "the supply never grows");
}

/// Takes a bond from an account, with the fee of the transaction if one asks for it.
pub(crate) fn bond(
    draft: &mut Draft<'_>,
    payer: Address,
    replica: &ReplicaId,
    amount: Amount,
    fee: Amount,
) -> Step {
    pay(draft, payer, EconomicKind::Bonded { replica: replica.clone(), amount, fee })?;
    let mut deployment = required(draft.deployment(&replica.deployment)?, "deployment")?;
    deployment.bonds = add(deployment.bonds, amount);
    draft.put_deployment(&deployment);
    let mut supply = draft.supply()?;
    supply.bonded = add(supply.bonded, amount);
    assert_within(&supply);
    draft.put(keys::supply(), &supply);
    Ok(())
}

/// Moves a bond, or a part of it, to whom it is due. The caller takes it from its record and makes the receipt.
pub(crate) fn unbond(draft: &mut Draft<'_>, kind: EconomicKind) -> Result<Economic> {
    let (replica, amount, burned) = match &kind {
        EconomicKind::BondReturned { replica, amount, .. }
        | EconomicKind::BondPaid { replica, amount, .. } => (replica, *amount, Amount::ZERO),
        EconomicKind::BondBurned { replica, amount, .. } => (replica, *amount, *amount),
        other => unreachable!("{other:?} moves no bond"),
    };
    let mut deployment = required(draft.deployment(&replica.deployment)?, "deployment")?;
    deployment.bonds =
        deployment.bonds.checked_sub(amount).expect("no more leaves the bonds than is in them");
    draft.put_deployment(&deployment);
    let mut supply = draft.supply()?;
    supply.bonded = supply.bonded.checked_sub(amount).expect("the bonds' total is their sum");
    supply.burned = add(supply.burned, burned);
    assert_within(&supply);
    draft.put(keys::supply(), &supply);
    let nobody = Address::default();
    let entry = Economic::new(kind, nobody, nobody).expect("amounts below the supply fit an i128");
    apply_credits(draft, &entry)?;
    Ok(entry)
}

/// Pays for use from the escrow, as far as it goes. Returns false when the escrow is used up.
pub(crate) fn charge(
    draft: &mut Draft<'_>,
    deployment: &mut DeploymentRecord,
    replica: &ReplicaId,
    node: Address,
    usage: Usage,
) -> Result<bool> {
    let tariff = draft.params().tariff.clone();
    // A price beyond all money is as good as any: a report that was checked does not fail.
    let price = tariff.price(&usage).unwrap_or(Amount(u128::MAX));
    let charged = price.min(deployment.escrow);
    let burned = tariff.burned(charged).expect("an escrow is below 2^80");
    assert!(burned <= charged, "a part is not more than the whole");
    if price == Amount::ZERO {
        return Ok(true);
    }
    let before = deployment.digest();
    deployment.escrow = deployment.escrow.checked_sub(charged).expect("at most what is in escrow");
    deployment.charged = add(deployment.charged, charged);
    draft.put_deployment(deployment);
    book_supply(draft, Amount::ZERO, charged, burned)?;
    let kind = EconomicKind::Charged { replica: replica.clone(), node, usage, price, charged, burned };
    let entry = Economic::new(kind, deployment.owner, node).expect("amounts below the supply fit an i128");
    apply_credits(draft, &entry)?;
    let subject = Subject::Deployment(deployment.name.clone());
    draft.emit(subject, before, deployment.digest(), ReceiptBody::Economic(entry))?;
    Ok(deployment.escrow > Amount::ZERO)
}

/// Returns what is left in escrow to the owner.
pub(crate) fn refund(draft: &mut Draft<'_>, deployment: &mut DeploymentRecord) -> Result<()> {
    let amount = deployment.escrow;
    if amount == Amount::ZERO {
        return Ok(());
    }
    let before = deployment.digest();
    deployment.escrow = Amount::ZERO;
    draft.put_deployment(deployment);
    book_supply(draft, Amount::ZERO, amount, Amount::ZERO)?;
    let kind = EconomicKind::Refunded { deployment: deployment.name.clone(), amount };
    let owner = deployment.owner;
    let entry = Economic::new(kind, owner, owner).expect("amounts below the supply fit an i128");
    apply_credits(draft, &entry)?;
    let subject = Subject::Deployment(deployment.name.clone());
    draft.emit(subject, before, deployment.digest(), ReceiptBody::Economic(entry))?;
    Ok(())
}

/// Puts `amount` of the payer's money into a deployment's escrow, with the fee of the transaction.
pub(crate) fn escrow(
    draft: &mut Draft<'_>,
    payer: Address,
    deployment: Name,
    amount: Amount,
    fee: Amount,
) -> Step {
    pay(draft, payer, EconomicKind::Escrowed { deployment, amount, fee })?;
    book_supply(draft, amount, Amount::ZERO, Amount::ZERO)?;
    Ok(())
}

/// Checks that an amount moves anything at all.
pub(crate) fn moves(amount: Amount) -> Result<(), Failure> {
    ensure(amount > Amount::ZERO, Code::NothingToMove, || "the amount is zero".into())
}

/// Asserts over everything the block changed that no money was made or lost.
pub(crate) fn assert_conserved(draft: &Draft<'_>) -> Result<()> {
    let signed = |a: Amount| i128::try_from(a.0).expect("amounts below the supply fit an i128");
    let (mut accounts, mut escrows, mut bonds) = (0i128, 0i128, 0i128);
    for (key, value) in draft.changes().iter().filter(|(k, _)| k.column == Column::Entries) {
        let old = || draft.view.raw(key);
        match (key.module(), key.bytes.get(1)) {
            (Some(Module::Accounts), Some(b'a')) => {
                let balance = |b: Option<Vec<u8>>| -> Result<i128> {
                    let r: Option<AccountRecord> = b.map(|b| decode(&b, "account")).transpose()?;
                    Ok(r.map_or(0, |r| signed(r.balance())))
                };
                accounts += balance(value.clone())? - balance(old()?)?;
            }
            (Some(Module::Deployments), Some(b'd')) => {
                let held = |b: Option<Vec<u8>>| -> Result<(i128, i128)> {
                    let r: Option<DeploymentRecord> = b.map(|b| decode(&b, "deployment")).transpose()?;
                    Ok(r.map_or((0, 0), |r| (signed(r.escrow), signed(r.bonds))))
                };
                let (now, then) = (held(value.clone())?, held(old()?)?);
                escrows += now.0 - then.0;
                bonds += now.1 - then.1;
            }
            _ => {}
        }
    }
    let (before, after) = (draft.view.supply()?, draft.supply()?);
    let burned = signed(after.burned) - signed(before.burned);
    assert_eq!(after.genesis, before.genesis, "the genesis supply never changes");
    assert_eq!(
        accounts + escrows + bonds + burned,
        0,
        "money was made or lost in block {}",
        draft.block.height
    );
    assert_eq!(escrows, signed(after.escrowed) - signed(before.escrowed), "the escrows' total is their sum");
    assert_eq!(bonds, signed(after.bonded) - signed(before.bonded), "the bonds' total is their sum");
    Ok(())
}
