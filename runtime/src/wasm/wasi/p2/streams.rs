//! Owns `wasi:io/error` and `wasi:io/streams`. Every byte is there or is not: reads give what is left, up to a fixed
//! bound, writes take all they were permitted, and blocking forms are the same calls. Refuses writes beyond the
//! permit with a trap, as the interface says; a failed write ends its stream.

use wasmtime::component::{Linker, Resource};

use super::super::Host;
use super::super::abi::{Errno, Outcome};
use super::super::memfs::Ino;
use super::types::{InputStream, OutputStream, Pollable, Sink, StreamError, StreamFailure};
use super::{Interface, misuse};

/// Bytes that one read gives, and that one `check-write` permits.
const STREAM_BYTES_MAX: u64 = 1 << 20;
/// Bytes that the writing-and-flushing forms take without a permit: the interface fixes this number.
const FLUSHED_BYTES_MAX: u64 = 4096;

type Streamed<T> = Result<T, StreamError>;
type Input = Resource<InputStream>;
type Target = Resource<OutputStream>;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut error = Interface::open(linker, "wasi:io/error")?;
    error.resource("error", Host::forget::<StreamFailure>)?;
    error.call("[method]error.to-debug-string", |host, (this,): (Resource<StreamFailure>,)| {
        Ok(format!("{:?}", host.resources.get(&this)?.0))
    })?;

    let mut streams = Interface::open(linker, "wasi:io/streams")?;
    streams.resource("input-stream", Host::drop_input)?;
    streams.resource("output-stream", Host::drop_output)?;
    for name in ["[method]input-stream.read", "[method]input-stream.blocking-read"] {
        streams.call(name, |host, (this, length): (Input, u64)| host.read(&this, length))?;
    }
    for name in ["[method]input-stream.skip", "[method]input-stream.blocking-skip"] {
        streams.call(name, |host, (this, length): (Input, u64)| {
            Ok(host.read(&this, length)?.map(|bytes| bytes.len() as u64))
        })?;
    }
    streams.call("[method]input-stream.subscribe", |host, (this,): (Input,)| {
        host.resources.get(&this)?;
        host.pollable(None)
    })?;
    link_output(&mut streams)
}

fn link_output(streams: &mut Interface<'_>) -> wasmtime::Result<()> {
    streams.call("[method]output-stream.check-write", |host, (this,): (Target,)| host.check_write(&this))?;
    streams.call("[method]output-stream.write", |host, (this, bytes): (Target, Vec<u8>)| {
        host.spend(&this, bytes.len() as u64)?;
        host.write(&this, &bytes)
    })?;
    streams.call(
        "[method]output-stream.blocking-write-and-flush",
        |host, (this, bytes): (Target, Vec<u8>)| {
            within_flushed(bytes.len() as u64)?;
            host.write(&this, &bytes)
        },
    )?;
    for name in ["[method]output-stream.flush", "[method]output-stream.blocking-flush"] {
        streams.call(name, |host, (this,): (Target,)| host.write(&this, &[]))?;
    }
    streams.call("[method]output-stream.subscribe", |host, (this,): (Target,)| -> wasmtime::Result<_> {
        host.resources.get(&this)?;
        host.pollable(None) as wasmtime::Result<Resource<Pollable>>
    })?;
    streams.call("[method]output-stream.write-zeroes", |host, (this, length): (Target, u64)| {
        host.spend(&this, length)?;
        host.write(&this, &vec![0; length as usize])
    })?;
    streams.call(
        "[method]output-stream.blocking-write-zeroes-and-flush",
        |host, (this, length): (Target, u64)| {
            within_flushed(length)?;
            host.write(&this, &vec![0; length as usize])
        },
    )?;
    for name in ["[method]output-stream.splice", "[method]output-stream.blocking-splice"] {
        streams.call(name, |host, (this, source, length): (Target, Input, u64)| {
            host.splice(&this, &source, length)
        })?;
    }
    Ok(())
}

fn within_flushed(length: u64) -> wasmtime::Result<()> {
    if length > FLUSHED_BYTES_MAX { misuse("a write that flushes takes at most 4096 bytes") } else { Ok(()) }
}

impl Host {
    /// The next bytes, at most `length`; closed at the end.
    fn read(&mut self, this: &Input, length: u64) -> wasmtime::Result<Streamed<Vec<u8>>> {
        let (source, at) = match *self.resources.get(this)? {
            InputStream::Stdin => (self.stdin.as_slice(), self.stdin_position as u64),
            InputStream::File { ino, at } => (self.fs.file(ino).unwrap_or(&[]), at),
        };
        let rest = source.get(usize::try_from(at).unwrap_or(usize::MAX)..).unwrap_or(&[]);
        if length == 0 {
            return Ok(Ok(Vec::new()));
        }
        if rest.is_empty() {
            return Ok(Err(StreamError::Closed));
        }
        let take = length.min(STREAM_BYTES_MAX).min(rest.len() as u64);
        let bytes = rest[..take as usize].to_vec();
        match self.resources.get_mut(this)? {
            InputStream::Stdin => self.stdin_position += bytes.len(),
            InputStream::File { at, .. } => *at += take,
        }
        Ok(Ok(bytes))
    }

    fn check_write(&mut self, this: &Target) -> wasmtime::Result<Streamed<u64>> {
        let stream = self.resources.get_mut(this)?;
        if stream.closed {
            return Ok(Err(StreamError::Closed));
        }
        stream.permit = STREAM_BYTES_MAX;
        Ok(Ok(STREAM_BYTES_MAX))
    }

    /// Takes `length` bytes off the permit.
    fn spend(&mut self, this: &Target, length: u64) -> wasmtime::Result<()> {
        let stream = self.resources.get_mut(this)?;
        match stream.permit.checked_sub(length) {
            Some(left) => {
                stream.permit = left;
                Ok(())
            }
            None => misuse("a write is longer than check-write permitted"),
        }
    }

    fn write(&mut self, this: &Target, bytes: &[u8]) -> wasmtime::Result<Streamed<()>> {
        let stream = self.resources.get_mut(this)?;
        if stream.closed {
            return Ok(Err(StreamError::Closed));
        }
        let sink = stream.sink;
        match self.push_to(sink, bytes) {
            Ok(sink) => {
                self.resources.get_mut(this)?.sink = sink;
                Ok(Ok(()))
            }
            Err(errno) => {
                let failure = self.resources.push(StreamFailure(errno))?;
                self.resources.get_mut(this)?.closed = true;
                Ok(Err(StreamError::Failed(failure)))
            }
        }
    }

    /// Writes all of it, and says where the next write goes.
    fn push_to(&mut self, sink: Sink, bytes: &[u8]) -> Outcome<Sink> {
        match sink {
            Sink::Stdout => self.stdout.push(bytes),
            Sink::Stderr => self.stderr.push(bytes),
            Sink::File { ino, at } => {
                self.fs.write_at(ino, at, bytes)?;
                let at = at.checked_add(bytes.len() as u64).ok_or(Errno::Nospc)?;
                return Ok(Sink::File { ino, at });
            }
            Sink::Append { ino } => {
                let end = self.fs.file(ino)?.len() as u64;
                self.fs.write_at(ino, end, bytes)?;
            }
        }
        Ok(sink)
    }

    fn splice(&mut self, this: &Target, source: &Input, length: u64) -> wasmtime::Result<Streamed<u64>> {
        if self.resources.get(this)?.closed {
            return Ok(Err(StreamError::Closed));
        }
        let bytes = match self.read(source, length)? {
            Ok(bytes) => bytes,
            Err(error) => return Ok(Err(error)),
        };
        Ok(self.write(this, &bytes)?.map(|()| bytes.len() as u64))
    }

    fn drop_input(&mut self, stream: Input) -> wasmtime::Result<()> {
        match self.resources.delete(stream)? {
            InputStream::Stdin => Ok(()),
            InputStream::File { ino, .. } => self.release(ino),
        }
    }

    fn drop_output(&mut self, stream: Target) -> wasmtime::Result<()> {
        match self.resources.delete(stream)?.sink {
            Sink::Stdout | Sink::Stderr => Ok(()),
            Sink::File { ino, .. } | Sink::Append { ino } => self.release(ino),
        }
    }

    /// Ends a handle's hold on a node.
    pub(super) fn release(&mut self, ino: Ino) -> wasmtime::Result<()> {
        match self.fs.closed(ino) {
            Ok(()) => Ok(()),
            Err(_) => misuse("a handle outlived its file"),
        }
    }
}
