//! Roots and paths against the whole tree in memory.

use super::*;
use crate::store::{Batch, MemStore, Store};
use metanode_types::merkle;

fn stored(leaves: &[Hash], block: usize) -> MemStore {
    let store = MemStore::new();
    let mut frontier = Frontier::default();
    for chunk in leaves.chunks(block) {
        let mut log = Appender::new(&store, frontier);
        chunk.iter().for_each(|l| {
            log.append(*l).unwrap();
        });
        let (after, nodes) = log.finish();
        frontier = after;
        let mut batch = Batch::new();
        nodes.into_iter().for_each(|(k, v)| batch.put(Column::LogNodes, k, v));
        store.commit(&batch).unwrap();
    }
    assert_eq!(frontier.root(), merkle::root(leaves));
    store
}

#[test]
fn roots_and_paths_equal_those_of_the_whole_tree_at_every_size() {
    let leaves: Vec<Hash> = (0u8..45).map(|i| merkle::leaf_hash(&[i])).collect();
    let store = stored(&leaves, 7);
    for size in 0..=leaves.len() {
        let part = &leaves[..size];
        assert_eq!(root(&store, size as u64).unwrap(), merkle::root(part), "size {size}");
        for index in 0..size {
            let path = inclusion_path(&store, index as u64, size as u64).unwrap();
            assert_eq!(path, merkle::inclusion_path(part, index), "leaf {index} of {size}");
        }
        for old in 0..=size {
            let path = consistency_path(&store, old as u64, size as u64).unwrap();
            assert_eq!(path, merkle::consistency_path(part, old), "from {old} to {size}");
        }
        assert_eq!(inclusion_path(&store, size as u64, size as u64).unwrap(), None);
    }
}

#[test]
fn a_missing_node_is_an_error_not_a_panic() {
    let store = stored(&[[1; 32], [2; 32], [3; 32]], 1);
    assert!(matches!(root(&store, 5), Err(Error::Corrupt { .. })));
    assert!(matches!(inclusion_path(&store, 0, 4), Err(Error::Corrupt { .. })));
}
