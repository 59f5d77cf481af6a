//! Economic receipts: who paid whom, as a double entry.
//!
//! Owns the kinds of payment and the one canonical list of postings for each. The deltas of a receipt sum to zero.

use crate::codec::bounded_vec;
use crate::ids::{Address, Name};
use crate::params::Usage;
use crate::quantity::Amount;
use crate::workload::ReplicaId;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// Who holds money.
#[derive(
    Clone, PartialEq, Eq, PartialOrd, Ord, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Holder {
    /// An account.
    Account(Address),
    /// A deployment's escrow.
    Escrow(Name),
    /// Taken out of the supply.
    Burned,
    /// The bonds of a replica's executions and challenge.
    Bond(ReplicaId),
}

/// One side of a booking: positive = credited, negative = debited, in micro-units.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Posting {
    /// Whose.
    pub holder: Holder,
    /// Change in micro-units; fits JSON as a string.
    #[serde(with = "signed_text")]
    pub delta: i128,
}

mod signed_text {
    use serde::{Deserializer, Serializer};
    pub fn serialize<S: Serializer>(v: &i128, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(v)
    }
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<i128, D::Error> {
        <String as serde::Deserialize>::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Why money moved.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "economic")]
pub enum EconomicKind {
    /// A transfer, with its fee.
    Transfer {
        /// Receiving account.
        to: Address,
        /// Amount moved.
        amount: Amount,
        /// Fee paid.
        fee: Amount,
    },
    /// A fee alone.
    Fee {
        /// Fee paid.
        fee: Amount,
    },
    /// Escrow put up for a deployment, with the transaction's fee.
    Escrowed {
        /// Deployment.
        deployment: Name,
        /// Put in escrow.
        amount: Amount,
        /// Fee paid.
        fee: Amount,
    },
    /// Metered use was paid from the escrow.
    Charged {
        /// Replica that used it.
        replica: ReplicaId,
        /// Node that is paid.
        node: Address,
        /// Use that is paid for (after the cap of declared limits x elapsed time).
        usage: Usage,
        /// Use x tariff.
        price: Amount,
        /// What the escrow could pay of it.
        charged: Amount,
        /// Part of the charge that was burned.
        burned: Amount,
    },
    /// What was left in escrow went back to the payer.
    Refunded {
        /// Deployment.
        deployment: Name,
        /// Amount returned.
        amount: Amount,
    },
    /// A bond was put up: by placement for an execution, or by a transaction that challenges.
    Bonded {
        /// Replica that it is for.
        replica: ReplicaId,
        /// Put up.
        amount: Amount,
        /// Fee paid.
        fee: Amount,
    },
    /// A bond went back to who put it up.
    BondReturned {
        /// Replica that it was for.
        replica: ReplicaId,
        /// Who put it up.
        to: Address,
        /// Amount returned.
        amount: Amount,
    },
    /// A bond, or a part of it, was lost to another account.
    BondPaid {
        /// Replica that it was for.
        replica: ReplicaId,
        /// Who put it up.
        from: Address,
        /// Who receives it.
        to: Address,
        /// Amount paid.
        amount: Amount,
    },
    /// A bond, or a part of it, was lost to nobody.
    BondBurned {
        /// Replica that it was for.
        replica: ReplicaId,
        /// Who put it up.
        from: Address,
        /// Amount burned.
        amount: Amount,
    },
}

impl EconomicKind {
    /// Replica whose bonds move.
    pub fn bond_of(&self) -> Option<&ReplicaId> {
        match self {
            EconomicKind::Bonded { replica, .. }
            | EconomicKind::BondReturned { replica, .. }
            | EconomicKind::BondPaid { replica, .. }
            | EconomicKind::BondBurned { replica, .. } => Some(replica),
            _ => None,
        }
    }
}

/// Body of an Economic receipt.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, Serialize, Deserialize)]
pub struct Economic {
    /// Why.
    #[serde(flatten)]
    pub kind: EconomicKind,
    /// Double entry: the deltas sum to zero.
    pub postings: Vec<Posting>,
}

impl Economic {
    /// Builds the double entry of `kind`, in the one canonical order; zero deltas are left out.
    ///
    /// `payer` is the account that pays (or is refunded), `fee_to` the proposer that earns the fee. `None`
    /// when an amount does not fit an `i128`.
    pub fn new(kind: EconomicKind, payer: Address, fee_to: Address) -> Option<Economic> {
        let credit = |a: &Amount| i128::try_from(a.0).ok();
        let debit = |a: &Amount| credit(a).map(|v| -v);
        let account = Holder::Account;
        let rows: Vec<(Holder, i128)> = match &kind {
            EconomicKind::Transfer { to, amount, fee } => vec![
                (account(payer), debit(&amount.checked_add(*fee)?)?),
                (account(*to), credit(amount)?),
                (account(fee_to), credit(fee)?),
            ],
            EconomicKind::Fee { fee } => vec![(account(payer), debit(fee)?), (account(fee_to), credit(fee)?)],
            EconomicKind::Escrowed { deployment, amount, fee } => vec![
                (account(payer), debit(&amount.checked_add(*fee)?)?),
                (Holder::Escrow(deployment.clone()), credit(amount)?),
                (account(fee_to), credit(fee)?),
            ],
            EconomicKind::Charged { replica, node, charged, burned, .. } => vec![
                (Holder::Escrow(replica.deployment.clone()), debit(charged)?),
                (account(*node), credit(&charged.checked_sub(*burned)?)?),
                (Holder::Burned, credit(burned)?),
            ],
            EconomicKind::Refunded { deployment, amount } => {
                vec![(Holder::Escrow(deployment.clone()), debit(amount)?), (account(payer), credit(amount)?)]
            }
            EconomicKind::Bonded { replica, amount, fee } => vec![
                (account(payer), debit(&amount.checked_add(*fee)?)?),
                (Holder::Bond(replica.clone()), credit(amount)?),
                (account(fee_to), credit(fee)?),
            ],
            EconomicKind::BondReturned { replica, to, amount }
            | EconomicKind::BondPaid { replica, to, amount, .. } => {
                vec![(Holder::Bond(replica.clone()), debit(amount)?), (account(*to), credit(amount)?)]
            }
            EconomicKind::BondBurned { replica, amount, .. } => {
                vec![(Holder::Bond(replica.clone()), debit(amount)?), (Holder::Burned, credit(amount)?)]
            }
        };
        let postings = rows.into_iter().filter(|(_, delta)| *delta != 0);
        let postings = postings.map(|(holder, delta)| Posting { holder, delta }).collect();
        Some(Economic { kind, postings })
    }

    /// True when the deltas sum to zero.
    pub fn is_balanced(&self) -> bool {
        self.postings.iter().try_fold(0i128, |sum, p| sum.checked_add(p.delta)) == Some(0)
    }
}

impl BorshDeserialize for Economic {
    fn deserialize_reader<R: borsh::io::Read>(r: &mut R) -> borsh::io::Result<Self> {
        Ok(Economic { kind: EconomicKind::deserialize_reader(r)?, postings: bounded_vec(r, 16)? })
    }
}
