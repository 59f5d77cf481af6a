//! Scenarios and laws over whole blocks: every block of every test is proposed, validated by re-execution, committed
//! and audited.

mod chain;
mod deploys;
mod ledger;
mod nodes;
mod payments;
mod properties;
mod reports;
mod verified;
