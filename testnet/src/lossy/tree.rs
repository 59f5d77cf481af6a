//! The tree: inodes, names, and the journal of names that no directory sync has made durable yet.
//!
//! Owns which names exist now and which survive a crash. Knows nothing of FUSE. Invariants: the durable names with
//! the whole journal applied are the volatile names; an inode lives while a name (volatile, durable or in the journal)
//! or the kernel refers to it. A sync of a directory makes durable every journal step that touches it and whatever
//! those steps build on, in order, so a rename is never durable by half.

use super::content::{Content, Dice};
use super::{Counts, Crash, Loss};
use nix::errno::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::time::SystemTime;

pub(super) type Ino = u64;
pub(super) const ROOT: Ino = 1;
type Outcome<T> = Result<T, Errno>;

/// Names of one directory.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) volatile: BTreeMap<OsString, Ino>,
    durable: BTreeMap<OsString, Ino>,
}

/// What an inode is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    File(Content),
    Dir(Names),
    Symlink(OsString),
    /// A socket or a FIFO: its type bits; the kernel does the rest.
    Special(u32),
}

/// One inode.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: SystemTime,
    /// Names that a reader sees.
    pub(super) links: u32,
    /// Names of every sort plus what the kernel remembers.
    refs: u64,
}

impl Node {
    pub(super) fn new(kind: Kind, mode: u32, (uid, gid): (u32, u32)) -> Node {
        Node { kind, mode: mode & 0o7777, uid, gid, mtime: SystemTime::now(), links: 0, refs: 0 }
    }
}

type Place = (Ino, OsString);

/// One change of names that is not durable.
#[derive(Clone, Debug)]
enum Step {
    Put(Place, Ino),
    Drop(Place, Ino),
    Move { from: Place, to: Place, ino: Ino },
}

impl Step {
    fn dirs(&self) -> [Ino; 2] {
        match self {
            Step::Put(p, _) | Step::Drop(p, _) => [p.0, p.0],
            Step::Move { from, to, .. } => [from.0, to.0],
        }
    }
    /// The inodes that the step keeps alive: what it names and where.
    fn mentions(&self) -> [Ino; 3] {
        let [a, b] = self.dirs();
        match self {
            Step::Put(_, ino) | Step::Drop(_, ino) | Step::Move { ino, .. } => [a, b, *ino],
        }
    }
}

/// See the module.
pub(super) struct Tree {
    nodes: BTreeMap<Ino, Node>,
    next: Ino,
    journal: Vec<Step>,
    pub(super) counts: Counts,
    /// The power is off: every access fails.
    pub(super) dead: bool,
}

impl Tree {
    /// A tree with an empty root.
    pub(super) fn new() -> Tree {
        let mut root = Node::new(Kind::Dir(Names::default()), 0o755, (0, 0));
        (root.links, root.refs) = (1, 1);
        let nodes = BTreeMap::from([(ROOT, root)]);
        Tree { nodes, next: ROOT + 1, journal: Vec::new(), counts: Counts::default(), dead: false }
    }

    pub(super) fn node(&self, ino: Ino) -> Outcome<&Node> {
        self.nodes.get(&ino).ok_or(Errno::ENOENT)
    }
    pub(super) fn node_mut(&mut self, ino: Ino) -> Outcome<&mut Node> {
        self.nodes.get_mut(&ino).ok_or(Errno::ENOENT)
    }
    pub(super) fn names(&self, dir: Ino) -> Outcome<&Names> {
        match &self.node(dir)?.kind {
            Kind::Dir(names) => Ok(names),
            _ => Err(Errno::ENOTDIR),
        }
    }
    fn names_mut(&mut self, dir: Ino) -> Outcome<&mut Names> {
        match &mut self.node_mut(dir)?.kind {
            Kind::Dir(names) => Ok(names),
            _ => Err(Errno::ENOTDIR),
        }
    }
    pub(super) fn content(&self, ino: Ino) -> Outcome<&Content> {
        match &self.node(ino)?.kind {
            Kind::File(content) => Ok(content),
            Kind::Dir(_) => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }
    pub(super) fn content_mut(&mut self, ino: Ino) -> Outcome<&mut Content> {
        let node = self.node_mut(ino)?;
        node.mtime = SystemTime::now();
        match &mut node.kind {
            Kind::File(content) => Ok(content),
            Kind::Dir(_) => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }
    pub(super) fn lookup(&self, dir: Ino, name: &OsStr) -> Outcome<Ino> {
        self.names(dir)?.volatile.get(name).copied().ok_or(Errno::ENOENT)
    }

    /// The kernel, a name or a step refers to the inode.
    pub(super) fn retain(&mut self, ino: Ino) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.refs += 1;
        }
    }
    /// `times` references end; the last one ends the inode, and with a directory what its names refer to.
    pub(super) fn release(&mut self, ino: Ino, times: u64) {
        let Some(node) = self.nodes.get_mut(&ino) else { return };
        node.refs = node.refs.saturating_sub(times);
        if node.refs == 0
            && let Some(Node { kind: Kind::Dir(names), .. }) = self.nodes.remove(&ino)
        {
            names.volatile.into_values().chain(names.durable.into_values()).for_each(|i| self.release(i, 1));
        }
    }

    fn record(&mut self, step: Step) {
        step.mentions().into_iter().for_each(|ino| self.retain(ino));
        self.journal.push(step);
    }

    fn put_volatile(&mut self, dir: Ino, name: &OsStr, ino: Ino) -> Outcome<()> {
        self.names_mut(dir)?.volatile.insert(name.to_owned(), ino);
        self.node_mut(ino)?.links += 1;
        self.retain(ino);
        Ok(())
    }
    fn drop_volatile(&mut self, dir: Ino, name: &OsStr) -> Outcome<Ino> {
        let ino = self.names_mut(dir)?.volatile.remove(name).ok_or(Errno::ENOENT)?;
        let node = self.node_mut(ino)?;
        node.links = node.links.saturating_sub(1);
        Ok(ino)
    }

    /// Creates `node` under a free name.
    pub(super) fn create(&mut self, dir: Ino, name: &OsStr, node: Node) -> Outcome<Ino> {
        if name.len() > libc::NAME_MAX as usize {
            return Err(Errno::ENAMETOOLONG);
        }
        if self.names(dir)?.volatile.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        let ino = self.next;
        self.next += 1;
        self.nodes.insert(ino, node);
        self.put_volatile(dir, name, ino)?;
        self.record(Step::Put((dir, name.to_owned()), ino));
        Ok(ino)
    }

    /// A second name for a file.
    pub(super) fn link(&mut self, ino: Ino, dir: Ino, name: &OsStr) -> Outcome<()> {
        if self.names(dir)?.volatile.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        if matches!(self.node(ino)?.kind, Kind::Dir(_)) {
            return Err(Errno::EPERM);
        }
        self.put_volatile(dir, name, ino)?;
        self.record(Step::Put((dir, name.to_owned()), ino));
        Ok(())
    }

    /// Removes a name; `dir_wanted` says whether it must be a directory or must not.
    pub(super) fn remove(&mut self, dir: Ino, name: &OsStr, dir_wanted: bool) -> Outcome<()> {
        let ino = self.lookup(dir, name)?;
        self.check_removable(ino, dir_wanted)?;
        self.record(Step::Drop((dir, name.to_owned()), ino));
        self.drop_volatile(dir, name)?;
        self.release(ino, 1);
        Ok(())
    }

    fn check_removable(&self, ino: Ino, dir_wanted: bool) -> Outcome<()> {
        match (&self.node(ino)?.kind, dir_wanted) {
            (Kind::Dir(names), true) if !names.volatile.is_empty() => Err(Errno::ENOTEMPTY),
            (Kind::Dir(_), false) => Err(Errno::EISDIR),
            (Kind::Dir(_), true) | (_, false) => Ok(()),
            (_, true) => Err(Errno::ENOTDIR),
        }
    }

    /// Moves a name, replacing what is there, as one step. The kernel has refused moves into a directory's own subtree.
    pub(super) fn rename(&mut self, from: (Ino, &OsStr), to: (Ino, &OsStr), replace: bool) -> Outcome<()> {
        let ino = self.lookup(from.0, from.1)?;
        let there = self.names(to.0)?.volatile.get(to.1).copied();
        if there == Some(ino) {
            return Ok(());
        }
        if let Some(old) = there {
            if !replace {
                return Err(Errno::EEXIST);
            }
            self.check_removable(old, matches!(self.node(ino)?.kind, Kind::Dir(_)))?;
        }
        let place = |p: (Ino, &OsStr)| (p.0, p.1.to_owned());
        self.record(Step::Move { from: place(from), to: place(to), ino });
        self.drop_volatile(from.0, from.1)?;
        if there.is_some() {
            let old = self.drop_volatile(to.0, to.1)?;
            self.release(old, 1);
        }
        self.put_volatile(to.0, to.1, ino)?;
        self.release(ino, 1);
        Ok(())
    }

    fn durable_put(&mut self, (dir, name): Place, ino: Ino) {
        self.retain(ino);
        let old = self.names_mut(dir).ok().and_then(|names| names.durable.insert(name, ino));
        if let Some(old) = old {
            self.release(old, 1);
        }
    }
    fn durable_drop(&mut self, (dir, name): Place) {
        if let Some(old) = self.names_mut(dir).ok().and_then(|names| names.durable.remove(&name)) {
            self.release(old, 1);
        }
    }

    /// Makes one step durable and lets go of what it kept alive.
    fn settle(&mut self, step: Step) {
        let mentions = step.mentions();
        match step {
            Step::Put(place, ino) => self.durable_put(place, ino),
            Step::Drop(place, _) => self.durable_drop(place),
            Step::Move { from, to, ino } => {
                self.durable_drop(from);
                self.durable_put(to, ino);
            }
        }
        mentions.into_iter().for_each(|ino| self.release(ino, 1));
    }

    pub(super) fn sync_file(&mut self, ino: Ino) -> Outcome<()> {
        self.counts.file_syncs += 1;
        match &mut self.node_mut(ino)?.kind {
            Kind::File(content) => content.sync(),
            Kind::Dir(_) => return self.sync_dir(ino),
            Kind::Symlink(_) | Kind::Special(_) => {}
        }
        Ok(())
    }

    /// Makes the names of a directory durable, with every earlier step that these build on.
    pub(super) fn sync_dir(&mut self, dir: Ino) -> Outcome<()> {
        self.counts.dir_syncs += 1;
        self.names(dir)?;
        let mut touched = BTreeSet::from([dir]);
        let journal = std::mem::take(&mut self.journal);
        let mut chosen = vec![false; journal.len()];
        for (i, step) in journal.iter().enumerate().rev() {
            if step.dirs().iter().any(|d| touched.contains(d)) {
                chosen[i] = true;
                touched.extend(step.dirs());
            }
        }
        for (step, now) in journal.into_iter().zip(chosen) {
            if now { self.settle(step) } else { self.journal.push(step) }
        }
        Ok(())
    }

    /// Makes everything durable.
    pub(super) fn sync_all(&mut self) {
        for node in self.nodes.values_mut() {
            if let Kind::File(content) = &mut node.kind {
                content.sync();
            }
        }
        std::mem::take(&mut self.journal).into_iter().for_each(|step| self.settle(step));
    }

    /// Reverts to the durable state, with the part of the rest that `how` keeps. Nobody may refer to an inode any more.
    pub(super) fn crash(&mut self, how: Crash) -> Loss {
        let mut dice = Dice::new(match how {
            Crash::Lose => 0,
            Crash::Torn(seed) | Crash::Scattered(seed) => seed,
        });
        let journal = std::mem::take(&mut self.journal);
        let kept = if how == Crash::Lose { 0 } else { dice.up_to(journal.len()) };
        let mut loss = Loss { names: (journal.len() - kept) as u64, ..Loss::default() };
        journal.into_iter().take(kept).for_each(|step| self.settle(step));
        for node in self.nodes.values_mut() {
            if let Kind::File(content) = &mut node.kind {
                let (changes, kept) = content.crash(how, &mut dice);
                loss.changes += changes;
                loss.kept += kept;
            }
        }
        self.rebuild();
        loss
    }

    /// Makes the durable names the visible ones and counts references afresh; what no name reaches ends.
    fn rebuild(&mut self) {
        let mut refs: BTreeMap<Ino, u32> = BTreeMap::from([(ROOT, 1)]);
        let mut open = vec![ROOT];
        while let Some(dir) = open.pop() {
            let Ok(names) = self.names_mut(dir) else { continue };
            names.volatile.clone_from(&names.durable);
            let inside: Vec<Ino> = names.volatile.values().copied().collect();
            for ino in inside {
                let links = refs.entry(ino).or_default();
                *links += 1;
                // A directory that two crossed renames left under two names is entered once.
                if *links == 1 {
                    open.push(ino);
                }
            }
        }
        self.nodes.retain(|ino, _| refs.contains_key(ino));
        for (ino, node) in &mut self.nodes {
            node.links = refs[ino];
            // One reference of the visible name and one of the durable one; the root has its own.
            node.refs = if *ino == ROOT { 1 } else { 2 * u64::from(refs[ino]) };
        }
    }
}
