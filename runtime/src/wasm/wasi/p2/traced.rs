//! Owns how the arguments and results of a component's calls become bytes for the trace. One encoding per value:
//! little-endian numbers, a tag before what is optional, a length before what is repeated. A handle is traced as its
//! number in the run's one resource table, which follows from the calls alone.

use wasmtime::component::Resource;

use super::types::{
    Advice, Datetime, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode,
    MetadataHash, NewTimestamp, OpenFlags, PathFlags, StreamError,
};

/// Something that crosses the boundary and goes into the trace.
pub(crate) trait Traced {
    /// Appends the bytes that stand for it.
    fn trace(&self, into: &mut Vec<u8>);
}

macro_rules! numbers {
    ($($number:ty),*) => {
        $(impl Traced for $number {
            fn trace(&self, into: &mut Vec<u8>) {
                into.extend_from_slice(&self.to_le_bytes());
            }
        })*
    };
}

numbers!(u8, u32, u64);

impl Traced for bool {
    fn trace(&self, into: &mut Vec<u8>) {
        into.push(u8::from(*self));
    }
}

impl Traced for String {
    fn trace(&self, into: &mut Vec<u8>) {
        (self.len() as u64).trace(into);
        into.extend_from_slice(self.as_bytes());
    }
}

impl<T: Traced> Traced for Vec<T> {
    fn trace(&self, into: &mut Vec<u8>) {
        (self.len() as u64).trace(into);
        for item in self {
            item.trace(into);
        }
    }
}

impl<T: Traced> Traced for Option<T> {
    fn trace(&self, into: &mut Vec<u8>) {
        self.is_some().trace(into);
        if let Some(value) = self {
            value.trace(into);
        }
    }
}

impl<T: Traced, E: Traced> Traced for Result<T, E> {
    fn trace(&self, into: &mut Vec<u8>) {
        self.is_err().trace(into);
        match self {
            Ok(value) => value.trace(into),
            Err(error) => error.trace(into),
        }
    }
}

macro_rules! tuples {
    ($(($($name:ident $index:tt),*))*) => {
        $(impl<$($name: Traced),*> Traced for ($($name,)*) {
            fn trace(&self, _into: &mut Vec<u8>) {
                $(self.$index.trace(_into);)*
            }
        })*
    };
}

tuples! { () (A 0) (A 0, B 1) (A 0, B 1, C 2) (A 0, B 1, C 2, D 3) (A 0, B 1, C 2, D 3, E 4) }

impl<T: 'static> Traced for Resource<T> {
    fn trace(&self, into: &mut Vec<u8>) {
        self.rep().trace(into);
    }
}

impl Traced for StreamError {
    fn trace(&self, into: &mut Vec<u8>) {
        match self {
            Self::Failed(error) => Some(error.rep()).trace(into),
            Self::Closed => None::<u32>.trace(into),
        }
    }
}

impl Traced for Datetime {
    fn trace(&self, into: &mut Vec<u8>) {
        (self.seconds, self.nanoseconds).trace(into);
    }
}

impl Traced for NewTimestamp {
    fn trace(&self, into: &mut Vec<u8>) {
        match self {
            Self::NoChange => 0_u8.trace(into),
            Self::Now => 1_u8.trace(into),
            Self::Timestamp(time) => (2_u8, *time).trace(into),
        }
    }
}

impl Traced for DescriptorStat {
    fn trace(&self, into: &mut Vec<u8>) {
        (self.kind, self.link_count, self.size).trace(into);
        (self.accessed, self.modified, self.changed).trace(into);
    }
}

impl Traced for DirectoryEntry {
    fn trace(&self, into: &mut Vec<u8>) {
        self.kind.trace(into);
        self.name.trace(into);
    }
}

impl Traced for MetadataHash {
    fn trace(&self, into: &mut Vec<u8>) {
        (self.lower, self.upper).trace(into);
    }
}

macro_rules! cases {
    ($($kind:ty),*) => {
        $(impl Traced for $kind {
            fn trace(&self, into: &mut Vec<u8>) {
                into.push(*self as u8);
            }
        })*
    };
}

cases!(Advice, DescriptorType, ErrorCode);

macro_rules! flag_sets {
    ($($kind:ty { $($flag:ident),* }),*) => {
        $(impl Traced for $kind {
            fn trace(&self, into: &mut Vec<u8>) {
                let held = [$(self.contains(<$kind>::$flag)),*];
                into.push(held.iter().rev().fold(0, |bits, held| bits << 1 | u8::from(*held)));
            }
        })*
    };
}

flag_sets! {
    DescriptorFlags {
        READ, WRITE, FILE_INTEGRITY_SYNC, DATA_INTEGRITY_SYNC, REQUESTED_WRITE_SYNC, MUTATE_DIRECTORY
    },
    PathFlags { SYMLINK_FOLLOW },
    OpenFlags { CREATE, DIRECTORY, EXCLUSIVE, TRUNCATE }
}
