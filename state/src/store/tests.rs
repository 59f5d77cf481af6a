//! One conformance suite for both stores, and what only one of them can show.

use super::*;

fn conforms(store: &dyn Store) {
    let mut b = Batch::new();
    for (k, v) in [("a", "1"), ("ab", "2"), ("ab\0", "3"), ("ac", "4"), ("b", "5")] {
        b.put(Column::Entries, k, v);
    }
    b.put(Column::Pending, "ab", "other column");
    b.put(Column::Entries, [0xff, 0xff], "6");
    store.commit(&b).unwrap();
    assert_eq!(store.get(Column::Entries, b"ab").unwrap(), Some(b"2".to_vec()));
    assert_eq!(store.get(Column::Nonces, b"ab").unwrap(), None);
    let keys = |prefix: &[u8], after: Option<&[u8]>, limit| -> Vec<Vec<u8>> {
        store.scan(Column::Entries, prefix, after, limit).unwrap().into_iter().map(|r| r.0).collect()
    };
    assert_eq!(keys(b"a", None, 9), [&b"a"[..], b"ab", b"ab\0", b"ac"]);
    assert_eq!(keys(b"a", Some(b"ab"), 9), [&b"ab\0"[..], b"ac"]);
    assert_eq!(keys(b"a", Some(b"b"), 9), Vec::<Vec<u8>>::new());
    assert_eq!(keys(b"ab", None, 1), [b"ab"]);
    assert_eq!(keys(&[0xff], None, 9), [[0xff, 0xff]]);
    assert_eq!(keys(b"", None, 99).len(), 6);

    let snapshot = store.snapshot().unwrap();
    let mut b = Batch::new();
    b.delete_prefix(Column::Entries, "ab");
    b.delete(Column::Entries, "b");
    b.put(Column::Entries, "abc", "after the removal in the same batch");
    store.commit(&b).unwrap();
    assert_eq!(keys(b"", None, 99), [&b"a"[..], b"abc", b"ac", &[0xff, 0xff]]);
    assert_eq!(store.get(Column::Pending, b"ab").unwrap(), Some(b"other column".to_vec()));
    assert_eq!(snapshot.get(Column::Entries, b"b").unwrap(), Some(b"5".to_vec()), "a snapshot stays");
    assert_eq!(snapshot.scan_all(Column::Entries, b"").unwrap().len(), 6);
}

#[test]
fn both_stores_conform() {
    conforms(&MemStore::new());
    let dir = tempfile::tempdir().unwrap();
    conforms(&RocksStore::open(dir.path()).unwrap());
}

#[test]
fn rocks_keeps_commits_over_reopening_and_names_a_second_process() {
    let dir = tempfile::tempdir().unwrap();
    let store = RocksStore::open(dir.path()).unwrap();
    let mut b = Batch::new();
    b.put(Column::Meta, "k", "v");
    store.commit(&b).unwrap();
    assert_eq!(RocksStore::open(dir.path()).unwrap_err(), Error::HomeInUse { path: dir.path().into() });
    drop(store);
    let store = RocksStore::open(dir.path()).unwrap();
    assert_eq!(store.get(Column::Meta, b"k").unwrap(), Some(b"v".to_vec()));
}

#[test]
fn rocks_refuses_a_flipped_byte() {
    let dir = tempfile::tempdir().unwrap();
    let store = RocksStore::open(dir.path()).unwrap();
    let mut b = Batch::new();
    b.put(Column::Meta, "k", vec![7u8; 4096]);
    store.commit(&b).unwrap();
    b.put(Column::Meta, "l", vec![8u8; 4096]);
    store.commit(&b).unwrap();
    drop(store);
    let log = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path());
    let log =
        log.filter(|p| p.extension().is_some_and(|e| e == "log")).max_by_key(|p| p.metadata().unwrap().len());
    let log = log.expect("a write-ahead log");
    let mut bytes = std::fs::read(&log).unwrap();
    let at = bytes.windows(64).position(|w| w == [7u8; 64]).expect("the value is in the log");
    bytes[at] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    assert!(
        matches!(RocksStore::open(dir.path()), Err(Error::OpenStore { .. })),
        "corruption before the tail"
    );
}

#[test]
fn a_failed_commit_poisons_and_a_crash_forgets_what_was_not_synced() {
    for (fault, visible_before_crash) in [(Fault::FailWrite, false), (Fault::FailSync, true)] {
        let store = MemStore::new();
        let mut b = Batch::new();
        b.put(Column::Meta, "k", "old");
        store.commit(&b).unwrap();
        store.inject(Some(fault));
        let mut b = Batch::new();
        b.put(Column::Meta, "k", "new");
        b.put(Column::Meta, "l", "new");
        assert!(matches!(store.commit(&b), Err(Error::CommitStore(_))));
        assert_eq!(store.commit(&b), Err(Error::Poisoned));
        assert_eq!(store.get(Column::Meta, b"k"), Err(Error::Poisoned));
        assert!(store.snapshot().is_err());
        assert_eq!(store.read().live.contains_key(&physical(Column::Meta, b"l")), visible_before_crash);
        store.crash();
        assert_eq!(store.get(Column::Meta, b"k").unwrap(), Some(b"old".to_vec()));
        assert_eq!(store.get(Column::Meta, b"l").unwrap(), None);
    }
}

#[test]
fn a_lying_disk_loses_every_commit_since_the_last_sync() {
    let store = MemStore::new();
    store.inject(Some(Fault::LoseSyncs));
    for i in 0u8..5 {
        let mut b = Batch::new();
        b.put(Column::Meta, [i], [i]);
        b.delete_prefix(Column::Meta, [i.wrapping_sub(1) & 0x7f]);
        store.commit(&b).unwrap();
    }
    assert_eq!(store.scan_all(Column::Meta, b"").unwrap().len(), 1);
    store.crash();
    assert_eq!(store.scan_all(Column::Meta, b"").unwrap(), vec![]);
}
