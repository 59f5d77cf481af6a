//! The tree without FUSE, under random steps.

use super::super::tree::{Ino, Kind, Names, Node, ROOT, Tree};
use super::super::{Crash, content::Content};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

#[derive(Clone, Debug)]
enum Do {
    Create(usize, usize),
    Mkdir(usize),
    Write(usize, usize, u64, Vec<u8>),
    Resize(usize, usize, u64),
    SyncFile(usize, usize),
    SyncDir(usize),
    Remove(usize, usize),
    Rmdir(usize),
    Rename((usize, usize), (usize, usize)),
    Link((usize, usize), (usize, usize)),
}

const DIRS: [&str; 3] = ["", "a", "b"];
const NAMES: [&str; 4] = ["w", "x", "y", "z"];

fn steps() -> impl Strategy<Value = Vec<Do>> {
    let (dir, name) = (0..DIRS.len(), 0..NAMES.len());
    let place = (dir.clone(), name.clone());
    let bytes = prop::collection::vec(any::<u8>(), 1..20);
    prop::collection::vec(
        prop_oneof![
            3 => place.clone().prop_map(|(d, n)| Do::Create(d, n)),
            1 => (1..DIRS.len()).prop_map(Do::Mkdir),
            4 => (place.clone(), 0..30_u64, bytes).prop_map(|((d, n), at, b)| Do::Write(d, n, at, b)),
            1 => (place.clone(), 0..40_u64).prop_map(|((d, n), len)| Do::Resize(d, n, len)),
            2 => place.clone().prop_map(|(d, n)| Do::SyncFile(d, n)),
            2 => dir.clone().prop_map(Do::SyncDir),
            1 => place.clone().prop_map(|(d, n)| Do::Remove(d, n)),
            1 => (1..DIRS.len()).prop_map(Do::Rmdir),
            2 => (place.clone(), place.clone()).prop_map(|(a, b)| Do::Rename(a, b)),
            1 => (place.clone(), place).prop_map(|(a, b)| Do::Link(a, b)),
        ],
        0..60,
    )
}

fn dir(tree: &Tree, i: usize) -> Option<Ino> {
    if i == 0 { Some(ROOT) } else { tree.lookup(ROOT, OsStr::new(DIRS[i])).ok() }
}

/// Refusals are part of the interface: what is refused must change nothing, which the properties see.
fn run(tree: &mut Tree, step: &Do) -> Option<()> {
    let name = |i: usize| OsStr::new(NAMES[i]);
    let file = |tree: &Tree, d: usize, n: usize| dir(tree, d).and_then(|d| tree.lookup(d, name(n)).ok());
    let empty = || Node::new(Kind::File(Content::default()), 0o600, (0, 0));
    let outcome = match step {
        Do::Create(d, n) => tree.create(dir(tree, *d)?, name(*n), empty()).map(drop),
        Do::Mkdir(d) => {
            let node = Node::new(Kind::Dir(Names::default()), 0o700, (0, 0));
            tree.create(ROOT, OsStr::new(DIRS[*d]), node).map(drop)
        }
        Do::Write(d, n, at, bytes) => tree.content_mut(file(tree, *d, *n)?).ok()?.write(*at, bytes),
        Do::Resize(d, n, len) => tree.content_mut(file(tree, *d, *n)?).ok()?.resize(*len),
        Do::SyncFile(d, n) => tree.sync_file(file(tree, *d, *n)?),
        Do::SyncDir(d) => tree.sync_dir(dir(tree, *d)?),
        Do::Remove(d, n) => tree.remove(dir(tree, *d)?, name(*n), false),
        Do::Rmdir(d) => tree.remove(ROOT, OsStr::new(DIRS[*d]), true),
        Do::Rename(a, b) => tree.rename((dir(tree, a.0)?, name(a.1)), (dir(tree, b.0)?, name(b.1)), true),
        Do::Link(a, b) => tree.link(file(tree, a.0, a.1)?, dir(tree, b.0)?, name(b.1)),
    };
    outcome.ok()
}

fn run_all(tree: &mut Tree, steps: &[Do]) {
    for step in steps {
        run(tree, step);
    }
}

type Seen = BTreeMap<Vec<OsString>, Option<Vec<u8>>>;

/// Everything that a reader sees: path -> bytes, or `None` of a directory.
fn seen(tree: &Tree) -> Seen {
    let mut out = Seen::new();
    let mut open = vec![(Vec::new(), ROOT)];
    while let Some((path, ino)) = open.pop() {
        for (name, ino) in &tree.names(ino).expect("a directory").volatile {
            let path: Vec<OsString> = path.iter().chain([name]).cloned().collect();
            match &tree.node(*ino).expect("a name has its inode").kind {
                Kind::File(c) => drop(out.insert(path, Some(c.read(0, u32::MAX).to_vec()))),
                _ => {
                    out.insert(path.clone(), None);
                    open.push((path, *ino));
                }
            }
        }
    }
    out
}

fn crash_mode() -> impl Strategy<Value = Crash> {
    prop_oneof![
        Just(Crash::Lose),
        any::<u64>().prop_map(Crash::Torn),
        any::<u64>().prop_map(Crash::Scattered)
    ]
}

proptest! {
    #[test]
    fn everything_synced_survives_every_crash(steps in steps(), how in crash_mode()) {
        let mut tree = Tree::new();
        run_all(&mut tree, &steps);
        tree.sync_all();
        let before = seen(&tree);
        let loss = tree.crash(how);
        prop_assert_eq!(seen(&tree), before);
        prop_assert_eq!((loss.changes, loss.names), (0, 0));
    }

    #[test]
    fn nothing_unsynced_survives_a_losing_crash(first in steps(), then in steps()) {
        let mut tree = Tree::new();
        run_all(&mut tree, &first);
        tree.sync_all();
        let durable = seen(&tree);
        let syncs = |s: &Do| matches!(s, Do::SyncFile(..) | Do::SyncDir(_));
        let then: Vec<Do> = then.into_iter().filter(|s| !syncs(s)).collect();
        run_all(&mut tree, &then);
        tree.crash(Crash::Lose);
        prop_assert_eq!(seen(&tree), durable);
    }

    #[test]
    fn a_crashed_tree_is_whole_and_works_on(first in steps(), how in crash_mode(), then in steps()) {
        let mut tree = Tree::new();
        run_all(&mut tree, &first);
        tree.crash(how);
        let after = seen(&tree);
        tree.crash(how);
        prop_assert_eq!(&seen(&tree), &after, "a second crash at once changes nothing");
        run_all(&mut tree, &then);
        tree.sync_all();
        let synced = seen(&tree);
        tree.crash(how);
        prop_assert_eq!(seen(&tree), synced);
    }

    #[test]
    fn a_log_is_torn_at_its_end_only(
        synced in 0..6_usize,
        records in prop::collection::vec(1..50_usize, 0..10),
        seed: u64,
    ) {
        let mut tree = Tree::new();
        let file = Node::new(Kind::File(Content::default()), 0o600, (0, 0));
        let log = tree.create(ROOT, OsStr::new("log"), file).unwrap();
        tree.sync_dir(ROOT).unwrap();
        let (mut all, mut durable) = (Vec::new(), 0);
        for (i, len) in records.iter().enumerate() {
            let record = vec![i as u8 + 1; *len];
            tree.content_mut(log).unwrap().write(all.len() as u64, &record).unwrap();
            all.extend(record);
            if i + 1 == synced {
                tree.sync_file(log).unwrap();
                durable = all.len();
            }
        }
        tree.crash(Crash::Torn(seed));
        let left = tree.content(log).unwrap().read(0, u32::MAX);
        prop_assert!(left.len() >= durable && all.starts_with(left));
    }

    /// One rename over an existing file, in one directory or across two, with or without a sync of either side.
    #[test]
    fn a_rename_is_never_seen_by_half(across: bool, sync in 0..3_usize, how in crash_mode()) {
        let mut tree = Tree::new();
        for step in [Do::Mkdir(1), Do::Mkdir(2), Do::Create(1, 0), Do::Write(1, 0, 0, b"new".to_vec())] {
            run(&mut tree, &step).unwrap();
        }
        let to = if across { (2, 1) } else { (1, 1) };
        run(&mut tree, &Do::Create(to.0, to.1)).unwrap();
        run(&mut tree, &Do::Write(to.0, to.1, 0, b"old".to_vec())).unwrap();
        tree.sync_all();
        run(&mut tree, &Do::Rename((1, 0), to)).unwrap();
        if sync > 0 {
            run(&mut tree, &Do::SyncDir(if sync == 1 { 1 } else { to.0 })).unwrap();
        }
        tree.crash(how);
        let seen = seen(&tree);
        let at = |d: usize, n: usize| seen.get(&vec![DIRS[d].into(), NAMES[n].into()]).cloned().flatten();
        let (source, target) = (at(1, 0), at(to.0, to.1));
        let moved = (None, Some(b"new".to_vec()));
        let stayed = (Some(b"new".to_vec()), Some(b"old".to_vec()));
        prop_assert!((source.clone(), target.clone()) == moved || (sync == 0 && (source, target) == stayed));
    }
}
