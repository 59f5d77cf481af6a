//! Owns the calls on an open `wasi:filesystem` descriptor, and `preopens`: one directory, `/`, that may be changed.
//! A directory below a directory that may be changed may be changed too. Refuses reads and writes that the
//! descriptor was not opened for (`bad-descriptor`), and invented facts: there is no device and no change time.

use wasmtime::component::{Linker, Resource};

use super::super::Host;
use super::super::abi::{Errno, Outcome};
use super::super::memfs::{Ino, ROOT};
use super::types::{
    Advice, Datetime, Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry,
    EntryStream, ErrorCode, InputStream, MetadataHash, NewTimestamp, OutputStream, Sink, StreamFailure,
};
use super::{Interface, misuse};
use crate::digest::Hasher;

/// Bytes that one read gives.
const READ_BYTES_MAX: u64 = 1 << 20;
/// What a name in a listing costs beyond its bytes.
const ENTRY_BYTES: u64 = 48;

pub(super) type This = Resource<Descriptor>;
pub(super) type Files<T> = wasmtime::Result<Result<T, ErrorCode>>;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut preopens = Interface::open(linker, "wasi:filesystem/preopens")?;
    preopens.call("get-directories", |host, (): ()| {
        let flags = DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY;
        Ok(vec![(host.open_node(ROOT, flags)?, "/".to_owned())])
    })?;

    let mut types = Interface::open(linker, "wasi:filesystem/types")?;
    types.resource("descriptor", |host, this: This| {
        let ino = host.resources.delete(this)?.ino;
        host.release(ino)
    })?;
    types.resource("directory-entry-stream", |host, this: Resource<EntryStream>| {
        let charged = host.resources.delete(this)?.charged;
        host.fs.refund(charged);
        Ok(())
    })?;
    types.call("filesystem-error-code", |host, (error,): (Resource<StreamFailure>,)| {
        Ok(Some(ErrorCode::from(host.resources.get(&error)?.0)))
    })?;
    link_streams(&mut types)?;
    link_data(&mut types)?;
    link_facts(&mut types)
}

fn link_streams(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    types.call("[method]descriptor.read-via-stream", |host, (this, at): (This, u64)| {
        host.stream(&this, DescriptorFlags::READ, |host, ino| {
            Ok(host.resources.push(InputStream::File { ino, at })?)
        })
    })?;
    types.call("[method]descriptor.write-via-stream", |host, (this, at): (This, u64)| {
        host.write_stream(&this, |ino| Sink::File { ino, at })
    })?;
    types.call("[method]descriptor.append-via-stream", |host, (this,): (This,)| {
        host.write_stream(&this, |ino| Sink::Append { ino })
    })?;
    types.call("[method]descriptor.read-directory", |host, (this,): (This,)| host.read_directory(&this))?;
    types.call(
        "[method]directory-entry-stream.read-directory-entry",
        |host, (this,): (Resource<EntryStream>,)| -> Files<Option<DirectoryEntry>> {
            let next = host.resources.get_mut(&this)?.entries.next();
            Ok(Ok(next.map(|(name, _, kind)| DirectoryEntry {
                kind: DescriptorType::of(kind),
                name: String::from_utf8_lossy(&name).into_owned(),
            })))
        },
    )
}

fn link_data(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    types.call("[method]descriptor.read", |host, (this, length, at): (This, u64, u64)| {
        host.on_file(&this, DescriptorFlags::READ, |host, ino| {
            let bytes = host.fs.file(ino)?;
            let rest = bytes.get(usize::try_from(at).unwrap_or(usize::MAX)..).unwrap_or(&[]);
            let take = length.min(READ_BYTES_MAX).min(rest.len() as u64) as usize;
            Ok((rest[..take].to_vec(), take == rest.len()))
        })
    })?;
    types.call("[method]descriptor.write", |host, (this, bytes, at): (This, Vec<u8>, u64)| {
        host.on_file(&this, DescriptorFlags::WRITE, |host, ino| {
            host.fs.write_at(ino, at, &bytes)?;
            Ok(bytes.len() as u64)
        })
    })?;
    types.call("[method]descriptor.set-size", |host, (this, size): (This, u64)| {
        host.on_file(&this, DescriptorFlags::WRITE, |host, ino| host.fs.resize(ino, size))
    })?;
    types.call(
        "[method]descriptor.advise",
        // Advice changes nothing that a call returns, so none is kept.
        |host, (this, _, _, _): (This, u64, u64, Advice)| {
            host.on_file(&this, DescriptorFlags::empty(), |_, _| Ok(()))
        },
    )?;
    for name in ["[method]descriptor.sync", "[method]descriptor.sync-data"] {
        types.call(name, |host, (this,): (This,)| host.on_node(&this, |_, _| Ok(())))?;
    }
    Ok(())
}

fn link_facts(types: &mut Interface<'_>) -> wasmtime::Result<()> {
    types.call("[method]descriptor.get-flags", |host, (this,): (This,)| -> Files<DescriptorFlags> {
        Ok(Ok(host.resources.get(&this)?.flags))
    })?;
    types.call("[method]descriptor.get-type", |host, (this,): (This,)| {
        host.on_node(&this, |host, ino| Ok(DescriptorType::of(host.fs.filetype(ino)?)))
    })?;
    types.call("[method]descriptor.stat", |host, (this,): (This,)| {
        host.on_node(&this, |host, ino| host.facts(ino))
    })?;
    types.call(
        "[method]descriptor.set-times",
        |host, (this, accessed, modified): (This, NewTimestamp, NewTimestamp)| {
            host.on_node(&this, |host, ino| host.set_timestamps(ino, accessed, modified))
        },
    )?;
    types.call("[method]descriptor.is-same-object", |host, (this, other): (This, This)| {
        Ok(host.resources.get(&this)?.ino == host.resources.get(&other)?.ino)
    })?;
    types.call("[method]descriptor.metadata-hash", |host, (this,): (This,)| {
        host.on_node(&this, |host, ino| host.metadata_hash(ino))
    })
}

impl Host {
    /// A handle on a node.
    pub(super) fn open_node(&mut self, ino: Ino, flags: DescriptorFlags) -> wasmtime::Result<This> {
        let handle = self.resources.push(Descriptor { ino, flags })?;
        if self.fs.opened(ino).is_err() {
            return misuse("a node was gone before it was opened");
        }
        Ok(handle)
    }

    /// Runs `body` on the node behind a handle.
    pub(super) fn on_node<T>(
        &mut self,
        this: &This,
        body: impl FnOnce(&mut Self, Ino) -> Outcome<T>,
    ) -> Files<T> {
        let ino = self.resources.get(this)?.ino;
        Ok(body(self, ino).map_err(ErrorCode::from))
    }

    /// The same for a file that was opened with `right`.
    fn on_file<T>(
        &mut self,
        this: &This,
        right: DescriptorFlags,
        body: impl FnOnce(&mut Self, Ino) -> Outcome<T>,
    ) -> Files<T> {
        let allowed = self.may(this, right)?;
        self.on_node(this, |host, ino| {
            allowed?;
            body(host, ino)
        })
    }

    fn may(&self, this: &This, right: DescriptorFlags) -> wasmtime::Result<Outcome> {
        let Descriptor { ino, flags } = *self.resources.get(this)?;
        Ok(match self.fs.file(ino) {
            Err(errno) => Err(errno),
            Ok(_) if (flags & right) != right => Err(Errno::Badf),
            Ok(_) => Ok(()),
        })
    }

    /// A stream on a file: it holds the node as a descriptor does.
    fn stream<T: 'static>(
        &mut self,
        this: &This,
        right: DescriptorFlags,
        make: impl FnOnce(&mut Self, Ino) -> wasmtime::Result<Resource<T>>,
    ) -> Files<Resource<T>> {
        let ino = self.resources.get(this)?.ino;
        if let Err(errno) = self.may(this, right)?.and_then(|()| self.fs.opened(ino)) {
            return Ok(Err(errno.into()));
        }
        make(self, ino).map(Ok)
    }

    fn write_stream(&mut self, this: &This, sink: impl FnOnce(Ino) -> Sink) -> Files<Resource<OutputStream>> {
        self.stream(this, DescriptorFlags::WRITE, |host, ino| host.output(sink(ino)))
    }

    fn read_directory(&mut self, this: &This) -> Files<Resource<EntryStream>> {
        let ino = self.resources.get(this)?.ino;
        let listed = self.fs.list(ino).and_then(|entries| {
            let charged = entries.iter().map(|(name, ..)| name.len() as u64 + ENTRY_BYTES).sum();
            self.fs.charge(charged)?;
            Ok(EntryStream { entries: entries.into_iter(), charged })
        });
        match listed {
            Ok(stream) => Ok(Ok(self.resources.push(stream)?)),
            Err(errno) => Ok(Err(errno.into())),
        }
    }

    pub(super) fn facts(&mut self, ino: Ino) -> Outcome<DescriptorStat> {
        let stat = self.fs.stat(ino)?;
        Ok(DescriptorStat {
            kind: DescriptorType::of(stat.filetype),
            link_count: stat.links,
            size: stat.size,
            accessed: Some(Datetime::from_ns(stat.accessed_ns)),
            modified: Some(Datetime::from_ns(stat.modified_ns)),
            // What preview 1 says: nothing else changes a node's time.
            changed: Some(Datetime::from_ns(stat.modified_ns)),
        })
    }

    pub(super) fn set_timestamps(
        &mut self,
        ino: Ino,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> Outcome {
        let now = self.clock.realtime_ns();
        let pick = |new: NewTimestamp| match new {
            NewTimestamp::NoChange => Ok(None),
            NewTimestamp::Now => Ok(Some(now)),
            NewTimestamp::Timestamp(time) => time.to_ns().map(Some).ok_or(Errno::Inval),
        };
        self.fs.set_times(ino, pick(accessed)?, pick(modified)?)
    }

    pub(super) fn metadata_hash(&mut self, ino: Ino) -> Outcome<MetadataHash> {
        let stat = self.fs.stat(ino)?;
        let mut hasher = Hasher::with_domain("metanode wasm metadata v1");
        for number in [stat.ino, stat.filetype.into(), stat.size, stat.modified_ns] {
            hasher.number(number);
        }
        let digest = hasher.finish().0;
        let part = |at: usize| u64::from_le_bytes(digest[at..at + 8].try_into().expect("eight bytes"));
        Ok(MetadataHash { lower: part(0), upper: part(8) })
    }
}
