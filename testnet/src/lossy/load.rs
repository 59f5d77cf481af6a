//! Reads a directory into a tree, as the content that was durable before the test began.
//!
//! Owns the copy only: files, directories and symbolic links with mode and owner. Refuses anything else by name.

use super::content::Content;
use super::tree::{Ino, Kind, Names, Node, ROOT, Tree};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A durable tree with the content of `dir`.
pub(super) fn tree_of(dir: &Path) -> io::Result<Tree> {
    let mut tree = Tree::new();
    let meta = std::fs::metadata(dir)?;
    let root = tree.node_mut(ROOT)?;
    (root.mode, root.uid, root.gid) = (meta.mode() & 0o7777, meta.uid(), meta.gid());
    copy(&mut tree, ROOT, dir)?;
    tree.sync_all();
    Ok(tree)
}

fn copy(tree: &mut Tree, into: Ino, dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let (path, meta) = (entry.path(), entry.metadata()?);
        let owner = (meta.uid(), meta.gid());
        let kind = if meta.is_dir() {
            Kind::Dir(Names::default())
        } else if meta.is_symlink() {
            Kind::Symlink(std::fs::read_link(&path)?.into_os_string())
        } else if meta.is_file() {
            Kind::File(Content::durable(std::fs::read(&path)?))
        } else {
            let what = format!("{} is neither a file, a directory nor a link", path.display());
            return Err(io::Error::new(io::ErrorKind::Unsupported, what));
        };
        let ino = tree.create(into, &entry.file_name(), Node::new(kind, meta.mode(), owner))?;
        if meta.is_dir() {
            copy(tree, ino, &path)?;
        }
    }
    Ok(())
}
