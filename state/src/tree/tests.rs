//! Proofs, determinism and pruning of the modules' trees.

use super::*;
use crate::store::{MemStore, Store};

const M: Module = Module::Accounts;

fn key(i: u32) -> Vec<u8> {
    [&[M as u8][..], &i.to_be_bytes()].concat()
}

fn apply(store: &MemStore, before: Option<u64>, changes: &[(u32, Option<&str>)]) -> TreeUpdate {
    let set: Vec<_> = changes.iter().map(|(k, v)| (key(*k), v.map(|v| v.as_bytes().to_vec()))).collect();
    let update = update(store, M, before, set.clone()).unwrap();
    let mut batch = Batch::new();
    for (k, v) in set {
        match v {
            Some(v) => batch.put(Column::Entries, k, v),
            None => batch.delete(Column::Entries, k),
        }
    }
    write(store, &update, &mut batch).unwrap();
    store.commit(&batch).unwrap();
    assert_eq!(root(store, M, update.version).unwrap(), update.root);
    update
}

#[test]
fn an_empty_tree_has_a_root_and_proves_absence() {
    let store = MemStore::new();
    let empty = apply(&store, None, &[]);
    let proof = prove(&store, M, 0, key(1)).unwrap();
    assert_eq!(proof.value, None);
    proof.verify(&empty.root).unwrap();
    let one = apply(&store, Some(0), &[(1, Some("a"))]);
    assert_eq!(apply(&store, Some(one.version), &[(1, None)]).root, empty.root, "the root is of the content");
}

#[test]
fn proofs_of_presence_and_absence_verify_and_forgeries_do_not() {
    let store = MemStore::new();
    apply(&store, None, &[(1, Some("a")), (2, Some("b")), (3, Some("c"))]);
    let update = apply(&store, Some(0), &[(2, Some("B")), (3, None)]);
    let other = [9; 32];
    for (k, want) in [(1, Some("a")), (2, Some("B")), (3, None), (4, None)] {
        let mut proof = prove(&store, M, 1, key(k)).unwrap();
        assert_eq!(proof.value.as_deref(), want.map(str::as_bytes));
        proof.verify(&update.root).unwrap();
        assert!(proof.verify(&other).is_err());
        proof.value = if want.is_some() { None } else { Some(b"forged".to_vec()) };
        assert!(proof.verify(&update.root).is_err());
    }
}

#[test]
fn the_root_depends_on_the_content_alone_not_on_the_way_there() {
    let (a, b) = (MemStore::new(), MemStore::new());
    apply(&a, None, &[(1, Some("x")), (2, Some("y"))]);
    let root_a = apply(&a, Some(0), &[(3, Some("z")), (1, Some("w"))]).root;
    let root_b = apply(&b, None, &[(3, Some("z")), (2, Some("y")), (1, Some("w"))]).root;
    assert_eq!(root_a, root_b);
}

#[test]
fn stale_nodes_go_and_the_kept_versions_stay_readable() {
    let store = MemStore::new();
    let mut version = apply(&store, None, &[(0, Some("0")), (1, Some("1")), (2, Some("2"))]).version;
    for i in 0..200u32 {
        let text = i.to_string();
        version = apply(&store, Some(version), &[(i % 3, Some(&text)), (i % 7 + 10, Some(&text))]).version;
    }
    assert!(root(&store, M, version - TREE_VERSIONS_KEPT + 1).is_ok());
    assert!(root(&store, M, 0).is_err(), "version 0 is long stale");
    let nodes = store.scan_all(Column::TreeNodes, &[]).unwrap().len();
    let stale = store.scan_all(Column::TreeStale, &[]).unwrap().len();
    assert!(nodes < 64 * 12 && stale < 64 * 12, "{nodes} nodes, {stale} stale");
    assert!(nodes - stale < 40, "live nodes of ten entries: {}", nodes - stale);
}
