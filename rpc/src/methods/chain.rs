//! `chain_*` and `state_*`: blocks, validators, accounts, clusters, nodes.

use super::params::*;
use super::{Cost, Method, ask, cursor, page_limit};
use crate::backend::{Answer, Backend, BlockKey, IdPrefix};
use crate::error::{BackendError, ErrorKind};
use crate::views::*;

const FIND: &[ErrorKind] = &[ErrorKind::InvalidInput, ErrorKind::NotFound];
const LIST: &[ErrorKind] = &[ErrorKind::InvalidInput];

pub(super) fn methods() -> Vec<Method> {
    use Cost::{Inline, Store};
    vec![
        ask(
            "chain_status",
            "What the answering node knows of itself and of the head of its chain.",
            Inline,
            &[],
            |b, _: NoParams| b.status(),
        ),
        ask("chain_block", "A final block, by height, by id or the newest.", Store, FIND, block),
        ask("chain_blocks", "Final blocks from the newest down.", Store, LIST, blocks),
        ask(
            "chain_validators",
            "The validators of a height, or of the next one.",
            Store,
            FIND,
            |b, p: HeightParams| b.validators(p.height),
        ),
        ask("chain_genesis", "The genesis and its hash.", Store, &[], |b, _: NoParams| b.genesis()),
        ask(
            "chain_production",
            "Block production per validator: turns taken and missed.",
            Store,
            &[],
            |b, _: NoParams| b.production(),
        ),
        ask("chain_stats", "Counts over the whole ledger.", Store, &[], |b, _: NoParams| b.stats()),
        ask("state_account", "An account's balance.", Store, &[], |b, p: AccountParams| {
            b.account(&p.address)
        }),
        ask("state_supply", "Units in existence, burned and in escrow.", Store, &[], |b, _: NoParams| {
            b.supply()
        }),
        ask("state_cluster", "One cluster.", Store, FIND, |b, p: NameParams| b.cluster(&p.name)),
        ask("state_clusters", "Clusters by name.", Store, LIST, clusters),
        ask("state_nodes", "Registered nodes by address.", Store, LIST, nodes),
    ]
}

fn block(backend: &dyn Backend, params: BlockParams) -> Answer<BlockView> {
    let key = match (params.height, params.id) {
        (None, None) => BlockKey::Latest,
        (Some(height), None) => BlockKey::Height(height),
        (None, Some(id)) => BlockKey::Id(IdPrefix::parse("0x", &id)?),
        (Some(_), Some(_)) => return Err(BackendError::invalid("give a height or an id, not both")),
    };
    backend.block(&key)
}

fn blocks(backend: &dyn Backend, params: PageParams) -> Answer<PageView<BlockSummary>> {
    Ok(backend.blocks(cursor(params.cursor)?, page_limit(params.limit)?)?.into())
}

fn clusters(backend: &dyn Backend, params: PageParams) -> Answer<PageView<ClusterView>> {
    Ok(backend.clusters(cursor(params.cursor)?, page_limit(params.limit)?)?.into())
}

fn nodes(backend: &dyn Backend, params: PageParams) -> Answer<PageView<NodeView>> {
    Ok(backend.nodes(cursor(params.cursor)?, page_limit(params.limit)?)?.into())
}
