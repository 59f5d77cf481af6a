//! Moves money from the sender to another account.

use crate::draft::{Draft, Step};
use crate::machine::Call;
use crate::money;
use metanode_types::ids::Address;
use metanode_types::quantity::Amount;
use metanode_types::receipt::EconomicKind;

pub(crate) fn run(draft: &mut Draft<'_>, call: &Call, to: Address, amount: Amount) -> Step {
    money::moves(amount)?;
    let fee = call.fee.expect("only heartbeats and reports are ever free");
    money::pay(draft, call.sender, EconomicKind::Transfer { to, amount, fee })
}
