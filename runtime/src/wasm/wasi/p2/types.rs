//! Owns the types of the WASI 0.2 interfaces as they cross the boundary, and what stands behind each resource handle.
//! The layouts are checked against the component's own when it is linked: a type that differs refuses the component.
//! Source: the WIT of WASI 0.2.12, copied for the tests in `runtime/tests/wit`.

use wasmtime::component::{ComponentType, Lift, Lower, Resource, flags};

use super::super::abi::{Errno, filetype};
use super::super::memfs::Ino;

/// A resource `wasi:io/error`: why a stream failed.
pub(crate) struct StreamFailure(pub(crate) Errno);

/// A resource `wasi:io/poll.pollable`.
pub(crate) struct Pollable {
    /// When it is ready, on the logical clock; none for what is ready at once.
    pub(crate) deadline_ns: Option<u64>,
}

/// A resource `wasi:io/streams.input-stream`.
pub(crate) enum InputStream {
    /// The one standard input: all its streams share a position.
    Stdin,
    /// A file from an offset on.
    File { ino: Ino, at: u64 },
}

/// Where an output stream leads.
#[derive(Clone, Copy)]
pub(crate) enum Sink {
    Stdout,
    Stderr,
    File { ino: Ino, at: u64 },
    Append { ino: Ino },
}

/// A resource `wasi:io/streams.output-stream`.
pub(crate) struct OutputStream {
    pub(crate) sink: Sink,
    /// Bytes that the last `check-write` allowed and that are not written yet.
    pub(crate) permit: u64,
    /// A write failed: the stream has ended.
    pub(crate) closed: bool,
}

/// A resource `wasi:filesystem/types.descriptor`.
pub(crate) struct Descriptor {
    pub(crate) ino: Ino,
    pub(crate) flags: DescriptorFlags,
}

/// A resource `wasi:filesystem/types.directory-entry-stream`.
pub(crate) struct EntryStream {
    pub(crate) entries: std::vec::IntoIter<(Vec<u8>, Ino, u8)>,
    /// What the filesystem's budget carries for it.
    pub(crate) charged: u64,
}

/// A terminal to read from: there is none.
pub(crate) enum TerminalInput {}
/// A terminal to write to: there is none.
pub(crate) enum TerminalOutput {}
/// The network that refuses everything.
pub(crate) struct Network;
/// A socket: none is ever made.
pub(crate) enum Socket {}

/// `wasi:io/streams.stream-error`.
#[derive(ComponentType, Lower)]
#[component(variant)]
pub(crate) enum StreamError {
    #[component(name = "last-operation-failed")]
    Failed(Resource<StreamFailure>),
    #[component(name = "closed")]
    Closed,
}

/// `wasi:clocks/wall-clock.datetime`.
#[derive(Clone, Copy, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct Datetime {
    pub(crate) seconds: u64,
    pub(crate) nanoseconds: u32,
}

impl Datetime {
    pub(crate) fn from_ns(ns: u64) -> Self {
        Self { seconds: ns / 1_000_000_000, nanoseconds: (ns % 1_000_000_000) as u32 }
    }

    /// None for what 64 bits of nanoseconds cannot say, or when the nanoseconds are a second or more.
    pub(crate) fn to_ns(self) -> Option<u64> {
        let nanoseconds = Some(self.nanoseconds).filter(|ns| *ns < 1_000_000_000)?;
        self.seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds.into())
    }
}

/// `wasi:filesystem/types.descriptor-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "the interface has these kinds and this filesystem has not")]
pub(crate) enum DescriptorType {
    #[component(name = "unknown")]
    Unknown,
    #[component(name = "block-device")]
    BlockDevice,
    #[component(name = "character-device")]
    CharacterDevice,
    #[component(name = "directory")]
    Directory,
    #[component(name = "fifo")]
    Fifo,
    #[component(name = "symbolic-link")]
    SymbolicLink,
    #[component(name = "regular-file")]
    RegularFile,
    #[component(name = "socket")]
    Socket,
}

impl DescriptorType {
    pub(crate) fn of(kind: u8) -> Self {
        match kind {
            filetype::DIRECTORY => Self::Directory,
            filetype::REGULAR_FILE => Self::RegularFile,
            filetype::SYMBOLIC_LINK => Self::SymbolicLink,
            _ => Self::Unknown,
        }
    }
}

flags! {
    DescriptorFlags {
        #[component(name = "read")]
        const READ;
        #[component(name = "write")]
        const WRITE;
        #[component(name = "file-integrity-sync")]
        const FILE_INTEGRITY_SYNC;
        #[component(name = "data-integrity-sync")]
        const DATA_INTEGRITY_SYNC;
        #[component(name = "requested-write-sync")]
        const REQUESTED_WRITE_SYNC;
        #[component(name = "mutate-directory")]
        const MUTATE_DIRECTORY;
    }
}

flags! {
    PathFlags {
        #[component(name = "symlink-follow")]
        const SYMLINK_FOLLOW;
    }
}

flags! {
    OpenFlags {
        #[component(name = "create")]
        const CREATE;
        #[component(name = "directory")]
        const DIRECTORY;
        #[component(name = "exclusive")]
        const EXCLUSIVE;
        #[component(name = "truncate")]
        const TRUNCATE;
    }
}

/// `wasi:filesystem/types.descriptor-stat`.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct DescriptorStat {
    #[component(name = "type")]
    pub(crate) kind: DescriptorType,
    #[component(name = "link-count")]
    pub(crate) link_count: u64,
    pub(crate) size: u64,
    #[component(name = "data-access-timestamp")]
    pub(crate) accessed: Option<Datetime>,
    #[component(name = "data-modification-timestamp")]
    pub(crate) modified: Option<Datetime>,
    #[component(name = "status-change-timestamp")]
    pub(crate) changed: Option<Datetime>,
}

/// `wasi:filesystem/types.new-timestamp`.
#[derive(Clone, Copy, ComponentType, Lift)]
#[component(variant)]
pub(crate) enum NewTimestamp {
    #[component(name = "no-change")]
    NoChange,
    #[component(name = "now")]
    Now,
    #[component(name = "timestamp")]
    Timestamp(Datetime),
}

/// `wasi:filesystem/types.directory-entry`.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct DirectoryEntry {
    #[component(name = "type")]
    pub(crate) kind: DescriptorType,
    pub(crate) name: String,
}

/// `wasi:filesystem/types.advice`.
#[derive(Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "only guests make one")]
pub(crate) enum Advice {
    #[component(name = "normal")]
    Normal,
    #[component(name = "sequential")]
    Sequential,
    #[component(name = "random")]
    Random,
    #[component(name = "will-need")]
    WillNeed,
    #[component(name = "dont-need")]
    DontNeed,
    #[component(name = "no-reuse")]
    NoReuse,
}

/// `wasi:filesystem/types.metadata-hash-value`.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct MetadataHash {
    pub(crate) lower: u64,
    pub(crate) upper: u64,
}

/// Defines an enum of the interface whose cases are all named.
macro_rules! error_code {
    ($($name:literal $case:ident,)*) => {
        /// `wasi:filesystem/types.error-code`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, ComponentType, Lower)]
        #[component(enum)]
        #[repr(u8)]
        #[expect(dead_code, reason = "the interface has more codes than this filesystem has errors")]
        pub(crate) enum ErrorCode {
            $(#[component(name = $name)] $case,)*
        }
    };
}

error_code! {
    "access" Access, "would-block" WouldBlock, "already" Already, "bad-descriptor" BadDescriptor, "busy" Busy,
    "deadlock" Deadlock, "quota" Quota, "exist" Exist, "file-too-large" FileTooLarge,
    "illegal-byte-sequence" IllegalByteSequence, "in-progress" InProgress, "interrupted" Interrupted,
    "invalid" Invalid, "io" Io, "is-directory" IsDirectory, "loop" Loop, "too-many-links" TooManyLinks,
    "message-size" MessageSize, "name-too-long" NameTooLong, "no-device" NoDevice, "no-entry" NoEntry,
    "no-lock" NoLock, "insufficient-memory" InsufficientMemory, "insufficient-space" InsufficientSpace,
    "not-directory" NotDirectory, "not-empty" NotEmpty, "not-recoverable" NotRecoverable,
    "unsupported" Unsupported, "no-tty" NoTty, "no-such-device" NoSuchDevice, "overflow" Overflow,
    "not-permitted" NotPermitted, "pipe" Pipe, "read-only" ReadOnly, "invalid-seek" InvalidSeek,
    "text-file-busy" TextFileBusy, "cross-device" CrossDevice,
}

impl From<Errno> for ErrorCode {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::Badf => Self::BadDescriptor,
            Errno::Exist => Self::Exist,
            Errno::Ilseq => Self::IllegalByteSequence,
            Errno::Inval | Errno::Fault | Errno::Notsock => Self::Invalid,
            Errno::Isdir => Self::IsDirectory,
            Errno::Loop => Self::Loop,
            // There is no code for a full table; memory is what it protects.
            Errno::Mfile => Self::InsufficientMemory,
            Errno::Mlink => Self::TooManyLinks,
            Errno::Nametoolong => Self::NameTooLong,
            Errno::Noent => Self::NoEntry,
            Errno::Nospc => Self::InsufficientSpace,
            Errno::Nosys => Self::Unsupported,
            Errno::Notdir => Self::NotDirectory,
            Errno::Notempty => Self::NotEmpty,
            Errno::Perm | Errno::Notcapable => Self::NotPermitted,
            Errno::Spipe => Self::InvalidSeek,
        }
    }
}
