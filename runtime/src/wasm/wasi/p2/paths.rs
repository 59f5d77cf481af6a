//! Owns the `-at` calls of `wasi:filesystem/types`: everything that starts from a directory handle and a path.
//! Refuses paths that leave the directory (`not-permitted`), NULs, and what `tree` refuses.

use wasmtime::component::{Linker, Resource};

use super::super::Host;
use super::super::abi::{Errno, Outcome};
use super::super::memfs::{Ino, PATH_BYTES_MAX};
use super::super::tree::How;
use super::Interface;
use super::files::{Files, This};
use super::types::{Descriptor, DescriptorFlags, NewTimestamp, OpenFlags, PathFlags};

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut types = Interface::open(linker, "wasi:filesystem/types")?;
    types.call(
        "[method]descriptor.open-at",
        |host, (this, paths, path, open, flags): (This, PathFlags, String, OpenFlags, DescriptorFlags)| {
            host.open_at(&this, paths, &path, open, flags)
        },
    )?;
    types.call("[method]descriptor.stat-at", |host, (this, flags, path): (This, PathFlags, String)| {
        host.on_path(&this, flags, &path, Host::facts)
    })?;
    types.call(
        "[method]descriptor.metadata-hash-at",
        |host, (this, flags, path): (This, PathFlags, String)| {
            host.on_path(&this, flags, &path, Host::metadata_hash)
        },
    )?;
    types.call(
        "[method]descriptor.set-times-at",
        |host, arguments: (This, PathFlags, String, NewTimestamp, NewTimestamp)| {
            let (this, flags, path, accessed, modified) = arguments;
            host.on_path(&this, flags, &path, |host, ino| host.set_timestamps(ino, accessed, modified))
        },
    )?;
    link_changes(&mut types)?;
    link_pairs(&mut types)
}

fn link_changes(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    types.call("[method]descriptor.create-directory-at", |host, (this, path): (This, String)| {
        host.on_node(&this, |host, dir| host.fs.make_dir(dir, checked(&path)?))
    })?;
    types.call("[method]descriptor.remove-directory-at", |host, (this, path): (This, String)| {
        host.on_node(&this, |host, dir| host.fs.remove_dir_at(dir, checked(&path)?))
    })?;
    types.call("[method]descriptor.unlink-file-at", |host, (this, path): (This, String)| {
        host.on_node(&this, |host, dir| host.fs.unlink_at(dir, checked(&path)?))
    })?;
    types.call("[method]descriptor.readlink-at", |host, (this, path): (This, String)| {
        host.on_node(&this, |host, dir| {
            let target = host.fs.target(dir, checked(&path)?)?;
            String::from_utf8(target.to_vec()).map_err(|_| Errno::Ilseq)
        })
    })?;
    types.call("[method]descriptor.symlink-at", |host, (this, target, path): (This, String, String)| {
        host.on_node(&this, |host, dir| {
            host.fs.make_symlink(checked(&target)?.to_vec(), dir, checked(&path)?)
        })
    })
}

fn link_pairs(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    types.call(
        "[method]descriptor.link-at",
        |host, arguments: (This, PathFlags, String, Resource<Descriptor>, String)| {
            let (this, flags, old, directory, new) = arguments;
            let to = host.resources.get(&directory)?.ino;
            host.on_node(&this, |host, from| {
                if flags.contains(PathFlags::SYMLINK_FOLLOW) {
                    return Err(Errno::Inval);
                }
                host.fs.make_link((from, checked(&old)?), (to, checked(&new)?))
            })
        },
    )?;
    types.call(
        "[method]descriptor.rename-at",
        |host, (this, old, directory, new): (This, String, Resource<Descriptor>, String)| {
            let to = host.resources.get(&directory)?.ino;
            host.on_node(&this, |host, from| host.fs.rename_at((from, checked(&old)?), (to, checked(&new)?)))
        },
    )
}

/// A path's bytes, when they can be one.
fn checked(path: &str) -> Outcome<&[u8]> {
    if path.len() > PATH_BYTES_MAX {
        return Err(Errno::Nametoolong);
    }
    if path.contains('\0') { Err(Errno::Ilseq) } else { Ok(path.as_bytes()) }
}

impl Host {
    /// Runs `body` on what a path leads to.
    fn on_path<T>(
        &mut self,
        this: &This,
        flags: PathFlags,
        path: &str,
        body: impl FnOnce(&mut Self, Ino) -> Outcome<T>,
    ) -> Files<T> {
        self.on_node(this, |host, dir| {
            let ino = host.fs.existing(dir, checked(path)?, flags.contains(PathFlags::SYMLINK_FOLLOW))?;
            body(host, ino)
        })
    }

    fn open_at(
        &mut self,
        this: &This,
        paths: PathFlags,
        path: &str,
        open: OpenFlags,
        flags: DescriptorFlags,
    ) -> Files<This> {
        let how = How {
            follow: paths.contains(PathFlags::SYMLINK_FOLLOW),
            create: open.contains(OpenFlags::CREATE),
            directory: open.contains(OpenFlags::DIRECTORY),
            exclusive: open.contains(OpenFlags::EXCLUSIVE),
            truncate: open.contains(OpenFlags::TRUNCATE),
            write: flags.contains(DescriptorFlags::WRITE),
        };
        let opened = self.on_node(this, |host, dir| {
            let ino = host.fs.open(dir, checked(path)?, how)?;
            let is_dir = host.fs.is_dir(ino);
            if !is_dir && flags.contains(DescriptorFlags::MUTATE_DIRECTORY) {
                return Err(Errno::Inval);
            }
            Ok((ino, is_dir))
        })?;
        match opened {
            Ok((ino, true)) => {
                let flags = DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY;
                self.open_node(ino, flags).map(Ok)
            }
            Ok((ino, false)) => {
                let asked = flags & (DescriptorFlags::READ | DescriptorFlags::WRITE);
                // Opened for nothing means for reading.
                let asked = if asked == DescriptorFlags::empty() { DescriptorFlags::READ } else { asked };
                self.open_node(ino, asked).map(Ok)
            }
            Err(code) => Ok(Err(code)),
        }
    }
}
