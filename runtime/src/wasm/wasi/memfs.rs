//! Owns the virtual filesystem: a tree of nodes in memory, and resolving paths in it. Refuses to grow past its byte
//! budget (contents, names, and a fixed charge per node) and refuses paths that leave the directory they start
//! from. Invariants: directory entries are sorted; node numbers follow from the calls alone; times are zero until
//! the guest sets them; a node lives as long as a name or an open descriptor leads to it.

use std::collections::{BTreeMap, VecDeque};

use super::abi::{Errno, FileStat, Outcome, filetype};
use crate::digest::{Digest, Hasher};

/// A path, and a symlink's target.
pub(crate) const PATH_BYTES_MAX: usize = 4096;
const NAME_BYTES_MAX: usize = 255;
/// Symlinks followed for one path.
const LINKS_MAX: usize = 40;
const LINK_COUNT_MAX: u64 = 32_000;
/// What a node costs beyond its contents: roughly what it takes here.
const NODE_BYTES: u64 = 256;
/// Directories below each other: bounds the final walk.
const DEPTH_MAX: usize = 256;

pub(crate) type Ino = u64;
pub(crate) const ROOT: Ino = 1;

#[derive(Debug)]
enum Content {
    File(Vec<u8>),
    Dir { entries: BTreeMap<Vec<u8>, Ino>, depth: usize },
    Symlink(Vec<u8>),
}

#[derive(Debug)]
struct Node {
    content: Content,
    links: u64,
    opens: u64,
    accessed_ns: u64,
    modified_ns: u64,
}

/// Where a path led.
#[derive(Debug)]
pub(crate) struct Found {
    /// The directory that holds (or would hold) the last component, and that component. None for a path like `.`.
    pub(crate) place: Option<(Ino, Vec<u8>)>,
    /// What is there.
    pub(crate) node: Option<Ino>,
    /// The path ended in a slash: only a directory will do.
    pub(crate) must_be_dir: bool,
}

pub(crate) struct MemFs {
    nodes: BTreeMap<Ino, Node>,
    next: Ino,
    used: u64,
    budget: u64,
    /// Work done since it was last taken, in bytes or steps: the caller pays fuel for it.
    pub(crate) work: u64,
}

impl MemFs {
    pub(crate) fn new(budget: u64) -> Self {
        let mut fs = Self { nodes: BTreeMap::new(), next: ROOT, used: 0, budget, work: 0 };
        // The root is always there, whatever the budget.
        fs.insert(Content::Dir { entries: BTreeMap::new(), depth: 0 });
        fs
    }

    fn insert(&mut self, content: Content) -> Ino {
        let ino = self.next;
        self.next += 1;
        self.nodes.insert(ino, Node { content, links: 1, opens: 0, accessed_ns: 0, modified_ns: 0 });
        ino
    }

    fn node(&self, ino: Ino) -> Outcome<&Node> {
        self.nodes.get(&ino).ok_or(Errno::Badf)
    }

    fn node_mut(&mut self, ino: Ino) -> Outcome<&mut Node> {
        self.nodes.get_mut(&ino).ok_or(Errno::Badf)
    }

    pub(crate) fn charge(&mut self, bytes: u64) -> Outcome {
        let used = self.used.checked_add(bytes).filter(|used| *used <= self.budget).ok_or(Errno::Nospc)?;
        self.used = used;
        self.work += bytes;
        Ok(())
    }

    pub(crate) fn refund(&mut self, bytes: u64) {
        debug_assert!(bytes <= self.used, "more was given back than was charged");
        self.used = self.used.saturating_sub(bytes);
    }

    fn entries(&self, ino: Ino) -> Outcome<(&BTreeMap<Vec<u8>, Ino>, usize)> {
        match &self.node(ino)?.content {
            Content::Dir { entries, depth } => Ok((entries, *depth)),
            _ => Err(Errno::Notdir),
        }
    }

    fn entries_mut(&mut self, ino: Ino) -> Outcome<&mut BTreeMap<Vec<u8>, Ino>> {
        match &mut self.node_mut(ino)?.content {
            Content::Dir { entries, .. } => Ok(entries),
            _ => Err(Errno::Notdir),
        }
    }

    pub(crate) fn filetype(&self, ino: Ino) -> Outcome<u8> {
        Ok(match self.node(ino)?.content {
            Content::File(_) => filetype::REGULAR_FILE,
            Content::Dir { .. } => filetype::DIRECTORY,
            Content::Symlink(_) => filetype::SYMBOLIC_LINK,
        })
    }

    pub(crate) fn is_dir(&self, ino: Ino) -> bool {
        self.filetype(ino) == Ok(filetype::DIRECTORY)
    }

    pub(crate) fn stat(&self, ino: Ino) -> Outcome<FileStat> {
        let node = self.node(ino)?;
        let size = match &node.content {
            Content::File(bytes) | Content::Symlink(bytes) => bytes.len() as u64,
            Content::Dir { .. } => 0,
        };
        let (accessed_ns, modified_ns) = (node.accessed_ns, node.modified_ns);
        Ok(FileStat { ino, filetype: self.filetype(ino)?, links: node.links, size, accessed_ns, modified_ns })
    }

    pub(crate) fn set_times(
        &mut self,
        ino: Ino,
        accessed_ns: Option<u64>,
        modified_ns: Option<u64>,
    ) -> Outcome {
        let node = self.node_mut(ino)?;
        node.accessed_ns = accessed_ns.unwrap_or(node.accessed_ns);
        node.modified_ns = modified_ns.unwrap_or(node.modified_ns);
        Ok(())
    }

    /// Resolves `path` from `base`. `follow`: whether a symlink in last place is followed.
    pub(crate) fn resolve(&mut self, base: Ino, path: &[u8], follow: bool) -> Outcome<Found> {
        if path.is_empty() {
            return Err(Errno::Noent);
        }
        if path.starts_with(b"/") {
            return Err(Errno::Notcapable);
        }
        let trimmed = path.iter().rposition(|byte| *byte != b'/').map_or(path, |last| &path[..=last]);
        let must_be_dir = trimmed.len() < path.len();
        let mut pending: VecDeque<Vec<u8>> =
            trimmed.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
        let (mut stack, mut links) = (vec![base], 0);
        while let Some(part) = pending.pop_front() {
            self.work += 1 + part.len() as u64;
            let dir = *stack.last().expect("the base is never popped");
            let is_last = pending.is_empty();
            match part.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    if stack.len() == 1 {
                        return Err(Errno::Notcapable);
                    }
                    stack.pop();
                    continue;
                }
                name if name.len() > NAME_BYTES_MAX => return Err(Errno::Nametoolong),
                _ => {}
            }
            let child = self.entries(dir)?.0.get(&part).copied();
            match child {
                None if is_last => return Ok(Found { place: Some((dir, part)), node: None, must_be_dir }),
                None => return Err(Errno::Noent),
                Some(child) => match &self.node(child)?.content {
                    Content::Symlink(target) if !is_last || follow || must_be_dir => {
                        links += 1;
                        if links > LINKS_MAX {
                            return Err(Errno::Loop);
                        }
                        if target.starts_with(b"/") {
                            return Err(Errno::Notcapable);
                        }
                        for part in target.rsplit(|byte| *byte == b'/') {
                            pending.push_front(part.to_vec());
                        }
                    }
                    Content::Dir { .. } if !is_last => stack.push(child),
                    _ if !is_last => return Err(Errno::Notdir),
                    Content::Dir { .. } => {
                        return Ok(Found { place: Some((dir, part)), node: Some(child), must_be_dir });
                    }
                    _ if must_be_dir => return Err(Errno::Notdir),
                    _ => return Ok(Found { place: Some((dir, part)), node: Some(child), must_be_dir }),
                },
            }
        }
        Ok(Found { place: None, node: stack.last().copied(), must_be_dir })
    }

    fn add(&mut self, place: (Ino, Vec<u8>), content: Content) -> Outcome<Ino> {
        let (dir, name) = place;
        if self.node(dir)?.links == 0 {
            return Err(Errno::Noent);
        }
        let size = match &content {
            Content::File(bytes) | Content::Symlink(bytes) => bytes.len() as u64,
            Content::Dir { .. } => 0,
        };
        self.charge(NODE_BYTES + size + name.len() as u64)?;
        let ino = self.insert(content);
        self.entries_mut(dir)?.insert(name, ino);
        Ok(ino)
    }

    pub(crate) fn create_file(&mut self, place: (Ino, Vec<u8>)) -> Outcome<Ino> {
        self.add(place, Content::File(Vec::new()))
    }

    pub(crate) fn create_dir(&mut self, place: (Ino, Vec<u8>)) -> Outcome<Ino> {
        let depth = self.entries(place.0)?.1 + 1;
        if depth > DEPTH_MAX {
            return Err(Errno::Nametoolong);
        }
        self.add(place, Content::Dir { entries: BTreeMap::new(), depth })
    }

    pub(crate) fn create_symlink(&mut self, place: (Ino, Vec<u8>), target: Vec<u8>) -> Outcome<Ino> {
        self.add(place, Content::Symlink(target))
    }

    /// Gives `node` a second name.
    pub(crate) fn link(&mut self, node: Ino, place: (Ino, Vec<u8>)) -> Outcome {
        if self.is_dir(node) {
            return Err(Errno::Perm);
        }
        if self.node(node)?.links >= LINK_COUNT_MAX {
            return Err(Errno::Mlink);
        }
        self.charge(place.1.len() as u64)?;
        self.node_mut(node)?.links += 1;
        self.entries_mut(place.0)?.insert(place.1, node);
        Ok(())
    }

    /// Removes a name; the node goes when nothing else leads to it.
    pub(crate) fn unlink(&mut self, place: &(Ino, Vec<u8>)) -> Outcome {
        let ino = self.entries_mut(place.0)?.remove(&place.1).ok_or(Errno::Noent)?;
        self.refund(place.1.len() as u64);
        self.node_mut(ino)?.links -= 1;
        self.collect(ino)
    }

    /// Removes an empty directory.
    pub(crate) fn remove_dir(&mut self, place: &(Ino, Vec<u8>), node: Ino) -> Outcome {
        if !self.entries(node)?.0.is_empty() {
            return Err(Errno::Notempty);
        }
        self.unlink(place)
    }

    fn collect(&mut self, ino: Ino) -> Outcome {
        let node = self.node(ino)?;
        if node.links == 0 && node.opens == 0 {
            let size = match &node.content {
                Content::File(bytes) | Content::Symlink(bytes) => bytes.len() as u64,
                Content::Dir { .. } => 0,
            };
            self.nodes.remove(&ino);
            self.refund(NODE_BYTES + size);
        }
        Ok(())
    }

    pub(crate) fn opened(&mut self, ino: Ino) -> Outcome {
        self.node_mut(ino)?.opens += 1;
        Ok(())
    }

    pub(crate) fn closed(&mut self, ino: Ino) -> Outcome {
        self.node_mut(ino)?.opens -= 1;
        self.collect(ino)
    }

    /// Moves `from` to `to`, replacing what POSIX allows to be replaced.
    pub(crate) fn rename(
        &mut self,
        from: &(Ino, Vec<u8>),
        node: Ino,
        to: &(Ino, Vec<u8>),
        old: Option<Ino>,
    ) -> Outcome {
        if old == Some(node) {
            return Ok(());
        }
        let moves_dir = self.is_dir(node);
        if moves_dir {
            // A directory's depth (and that of all below it) would change; the bound on depth stays sound only if it
            // does not grow.
            if self.contains(node, to.0)? {
                return Err(Errno::Inval);
            }
            self.check_depth(node, self.entries(to.0)?.1 + 1)?;
        }
        if self.node(to.0)?.links == 0 {
            return Err(Errno::Noent);
        }
        match old {
            Some(old) if moves_dir && !self.is_dir(old) => return Err(Errno::Notdir),
            Some(old) if !moves_dir && self.is_dir(old) => return Err(Errno::Isdir),
            Some(old) if moves_dir => self.remove_dir(to, old)?,
            Some(_) => self.unlink(to)?,
            None => {}
        }
        // A rename gives back the old name's bytes first, so the new name fits unless it is longer.
        self.refund(from.1.len() as u64);
        if let Err(error) = self.charge(to.1.len() as u64) {
            self.used += from.1.len() as u64;
            return Err(error);
        }
        self.entries_mut(from.0)?.remove(&from.1);
        self.entries_mut(to.0)?.insert(to.1.clone(), node);
        if moves_dir {
            let depth = self.entries(to.0)?.1 + 1;
            self.set_depth(node, depth)?;
        }
        Ok(())
    }

    /// Whether `inner` is `outer` or lies below it.
    fn contains(&mut self, outer: Ino, inner: Ino) -> Outcome<bool> {
        if outer == inner {
            return Ok(true);
        }
        for child in self.child_dirs(outer)? {
            if self.contains(child, inner)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn check_depth(&mut self, ino: Ino, depth: usize) -> Outcome {
        if depth > DEPTH_MAX {
            return Err(Errno::Nametoolong);
        }
        self.child_dirs(ino)?.into_iter().try_for_each(|child| self.check_depth(child, depth + 1))
    }

    fn set_depth(&mut self, ino: Ino, new: usize) -> Outcome {
        if let Content::Dir { depth, .. } = &mut self.node_mut(ino)?.content {
            *depth = new;
        }
        self.child_dirs(ino)?.into_iter().try_for_each(|child| self.set_depth(child, new + 1))
    }

    fn child_dirs(&mut self, ino: Ino) -> Outcome<Vec<Ino>> {
        let children: Vec<Ino> = self.entries(ino)?.0.values().copied().collect();
        self.work += children.len() as u64;
        Ok(children.into_iter().filter(|child| self.is_dir(*child)).collect())
    }

    pub(crate) fn read_link(&self, ino: Ino) -> Outcome<&[u8]> {
        match &self.node(ino)?.content {
            Content::Symlink(target) => Ok(target),
            _ => Err(Errno::Inval),
        }
    }

    pub(crate) fn file(&self, ino: Ino) -> Outcome<&[u8]> {
        match &self.node(ino)?.content {
            Content::File(bytes) => Ok(bytes),
            Content::Dir { .. } => Err(Errno::Isdir),
            Content::Symlink(_) => Err(Errno::Inval),
        }
    }

    /// Makes a file exactly `size` long; what is new reads as zeros.
    pub(crate) fn resize(&mut self, ino: Ino, size: u64) -> Outcome {
        let old = self.file(ino)?.len() as u64;
        if size > old {
            self.charge(size - old)?;
        } else {
            self.refund(old - size);
        }
        let Content::File(bytes) = &mut self.node_mut(ino)?.content else { return Err(Errno::Inval) };
        bytes.resize(usize::try_from(size).map_err(|_| Errno::Nospc)?, 0);
        Ok(())
    }

    pub(crate) fn write_at(&mut self, ino: Ino, at: u64, data: &[u8]) -> Outcome {
        let end = at.checked_add(data.len() as u64).ok_or(Errno::Nospc)?;
        if !data.is_empty() && end > self.file(ino)?.len() as u64 {
            self.resize(ino, end)?;
        }
        let Content::File(bytes) = &mut self.node_mut(ino)?.content else { return Err(Errno::Inval) };
        if !data.is_empty() {
            // In range: the file was made at least `end` long, and `end` fits the budget, hence `usize`.
            bytes[at as usize..end as usize].copy_from_slice(data);
        }
        Ok(())
    }

    /// Names, nodes and types in a directory, sorted by name.
    pub(crate) fn list(&mut self, ino: Ino) -> Outcome<Vec<(Vec<u8>, Ino, u8)>> {
        let entries: Vec<_> = self.entries(ino)?.0.iter().map(|(name, ino)| (name.clone(), *ino)).collect();
        self.work += entries.len() as u64;
        entries.into_iter().map(|(name, ino)| Ok((name, ino, self.filetype(ino)?))).collect()
    }

    /// Puts a file in before the run, with the directories it needs.
    pub(crate) fn place_file(&mut self, path: &str, bytes: &[u8]) -> Outcome {
        let mut dir = ROOT;
        let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let name = parts.pop().ok_or(Errno::Inval)?;
        for part in parts {
            let found = self.resolve(dir, part.as_bytes(), false)?;
            dir = match found.node {
                Some(node) => node,
                None => self.create_dir(found.place.ok_or(Errno::Inval)?)?,
            };
        }
        let found = self.resolve(dir, name.as_bytes(), false)?;
        if found.node.is_some() {
            return Err(Errno::Exist);
        }
        let file = self.create_file(found.place.ok_or(Errno::Inval)?)?;
        self.write_at(file, 0, bytes)
    }

    /// Digest of everything that has a name: types, names, contents and link targets, sorted.
    pub(crate) fn digest(&self) -> Digest {
        fn walk(fs: &MemFs, dir: Ino, hasher: &mut Hasher) {
            let Ok((entries, _)) = fs.entries(dir) else { return };
            for (name, ino) in entries {
                let Some(node) = fs.nodes.get(ino) else { continue };
                let (tag, bytes): (&[u8], &[u8]) = match &node.content {
                    Content::File(bytes) => (b"f", bytes),
                    Content::Dir { .. } => (b"d", b""),
                    Content::Symlink(target) => (b"l", target),
                };
                hasher.raw(tag);
                hasher.field(name);
                hasher.field(bytes);
                if tag == b"d" {
                    walk(fs, *ino, hasher);
                    hasher.raw(b"e");
                }
            }
        }
        let mut hasher = Hasher::with_domain("metanode wasm tree v1");
        walk(self, ROOT, &mut hasher);
        hasher.finish()
    }
}
