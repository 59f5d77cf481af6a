//! Laws over a whole committed state, for tests and for an operator who wants certainty.
//!
//! Owns checks that read everything: supply, capacity, indices. Execution asserts the same laws over what each block
//! changed; a difference between the two is a bug that this finds.

use crate::error::{Error, Result};
use crate::keys;
use crate::records::*;
use crate::view::{StateRead, View, decode, required};
use metanode_types::ids::Address;
use metanode_types::quantity::Amount;
use metanode_types::workload::Resources;
use std::collections::BTreeMap;

fn law<T: PartialEq + std::fmt::Debug>(check: &'static str, stored: T, computed: T) -> Result<()> {
    if stored == computed {
        return Ok(());
    }
    Err(Error::Inconsistent { check, stored: format!("{stored:?}"), computed: format!("{computed:?}") })
}

/// Accounts + escrows + bonds + burned = genesis supply, by adding up every record.
pub fn audit_supply(view: &View<'_>) -> Result<SupplyRecord> {
    let supply = view.supply()?;
    let mut sum = supply.burned;
    for (_, value) in view.rows(&keys::accounts())? {
        let balance = decode::<AccountRecord>(&value, "account")?.balance();
        sum = required(sum.checked_add(balance), "sum of balances")?;
    }
    let (mut escrowed, mut bonded) = (Amount::ZERO, Amount::ZERO);
    for (_, value) in view.rows(&keys::deployments())? {
        let d: DeploymentRecord = decode(&value, "deployment")?;
        escrowed = required(escrowed.checked_add(d.escrow), "sum of escrows")?;
        bonded = required(bonded.checked_add(audit_bonds(view, &d)?), "sum of bonds")?;
    }
    law("escrowed", supply.escrowed, escrowed)?;
    law("bonded", supply.bonded, bonded)?;
    let held = required(escrowed.checked_add(bonded), "what is held")?;
    law("supply", supply.genesis, required(sum.checked_add(held), "supply")?)?;
    Ok(supply)
}

/// A deployment's bonds are those of its replicas' executions and challenges, and closed ones hold none.
fn audit_bonds(view: &View<'_>, d: &DeploymentRecord) -> Result<Amount> {
    let (mut sum, mut open, mut due) = (Amount::ZERO, 0, 0);
    for v in view.replicas(&d.name)?.into_iter().filter_map(|r| Some((r.id.clone(), r.verification?))) {
        let (id, v) = v;
        sum = required(sum.checked_add(v.bonds()), "sum of a replica's bonds")?;
        open += u32::from(v.stage != Stage::Closed);
        if let Some(key) = crate::verified::due_key(&v, &id) {
            law("due index", view.raw(&key)?.is_some(), true)?;
            due += 1;
        }
    }
    law("bonds of a deployment", d.bonds, sum)?;
    law("open verifications", d.open, open)?;
    law("each open verification is due", due, open)?;
    Ok(sum)
}

/// Every replica stands in exactly the indices of its phase, and no node holds more than it offers.
pub fn audit_replicas(view: &View<'_>) -> Result<()> {
    let mut held: BTreeMap<Address, (Resources, u32)> = BTreeMap::new();
    let mut pending = 0;
    for (_, value) in view.rows(&keys::deployments())? {
        let d: DeploymentRecord = decode(&value, "deployment")?;
        let mut live = 0;
        for r in view.replicas(&d.name)? {
            match &r.phase {
                ReplicaPhase::Pending { since_height, .. } => {
                    let indexed = view.raw(&keys::pending(*since_height, &r.id))?.is_some();
                    law("pending index", indexed, true)?;
                    (pending, live) = (pending + 1, live + 1);
                }
                ReplicaPhase::Held(a) => {
                    law("node index", view.raw(&keys::node_replica(&a.node, &r.id))?.is_some(), true)?;
                    let workload = required(view.workload(&d.name)?, "workload")?;
                    let slot = held.entry(a.node).or_default();
                    *slot = (slot.0.saturating_add(workload.resources), slot.1 + 1);
                    live += 1;
                }
                ReplicaPhase::Verifying => live += 1,
                _ => {}
            }
            for node in r.verification.iter().flat_map(Verification::holders) {
                law("node index", view.raw(&keys::node_replica(&node, &r.id))?.is_some(), true)?;
                let workload = required(view.workload(&d.name)?, "workload")?;
                let slot = held.entry(node).or_default();
                *slot = (slot.0.saturating_add(workload.resources), slot.1 + 1);
            }
        }
        law("live replicas", d.live, live)?;
    }
    law("pending rows", view.rows(&keys::all_pending())?.len(), pending)?;
    for (address, node) in view.nodes()? {
        let (sum, count) = held.remove(&address).unwrap_or_default();
        law("reserved by replicas", node.reserved, sum)?;
        law("replicas of a node", node.replicas, count)?;
        law("capacity", node.spec.capacity.checked_sub(sum).is_some(), true)?;
    }
    law("holders are registered", held.len(), 0)
}
