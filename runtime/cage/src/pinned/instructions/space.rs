//! The sites of one address space: which are patched, which are watched, and what to do when code appears.
//!
//! A [`Space`] belongs to the tasks that share memory. A fork clones it with the memory; an exec starts a new one; code
//! that is mapped over a site drops it. Unmapping alone needs no word: what is not mapped does not run, and the next
//! mapping there passes here again. Debug registers belong to single tasks, so that each task of a space has
//! [`Space::arm`] called for it when it starts and whenever [`Space::admit`] changed the watches.
//!
//! Invariant: a patched address held exactly the recorded instruction when it was patched, and that instruction
//! was confirmed.

use std::collections::BTreeMap;
use std::{fmt, io};

use super::Tracee;
use super::opcode::{Code, Opcode};
use super::scan::{FileScan, Finding, Verdict, scan_memory};

/// `int3`.
const BREAKPOINT: u8 = 0xcc;

/// Bytes from `0F` to the end of any of the instructions.
const OPCODE: u64 = 3;

/// Debug registers that hold addresses.
const WATCHES_MAX: usize = 4;

/// The control register among the debug registers.
const CONTROL: usize = 7;

/// Memory that has become executable.
#[derive(Clone, Debug)]
pub(crate) struct Mapping<'a> {
    /// First byte.
    pub(crate) start: u64,
    /// Length in bytes.
    pub(crate) length: u64,
    /// It is writable as well.
    pub(crate) writable: bool,
    /// It is a shared mapping: other mappings of the same pages may be writable.
    pub(crate) shared: bool,
    /// Where its bytes come from.
    pub(crate) backing: Backing<'a>,
    /// What to call it in a refusal: a path, or "anonymous memory".
    pub(crate) name: &'a str,
}

/// Where the bytes of a mapping come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Backing<'a> {
    /// A fresh private mapping of a file, at this offset: nothing has written to it.
    Fresh(&'a FileScan, u64),
    /// A mapping of a file that may have been written to (`mprotect`, or a shared one).
    Touched(&'a FileScan, u64),
    /// Anonymous memory, or a file that could not be read.
    Unknown,
}

/// Why a mapping makes the promise weaker: code can change after it has been scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weaker {
    /// Writable and executable at once.
    WritableCode,
    /// Executable pages that another mapping may write.
    SharedCode,
}

impl fmt::Display for Weaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WritableCode => "memory that is writable and executable cannot be scanned for instructions",
            Self::SharedCode => "shared executable memory can change after it was scanned for instructions",
        })
    }
}

/// What [`Space::admit`] found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// Sites replaced by a breakpoint, by this call.
    pub(crate) patched: usize,
    /// Addresses added to the watches, by this call; when not 0, arm every task of the space.
    pub(crate) watched: usize,
    /// Matches that are part of other instructions.
    pub(crate) cleared: usize,
    /// What the mapping weakens.
    pub(crate) weaker: Vec<Weaker>,
}

/// An instruction that can be neither patched nor watched.
#[derive(Debug, thiserror::Error)]
#[error("{opcode} at {name}+{offset:#x}")]
pub(crate) struct Untrapped {
    /// The instruction.
    pub(crate) opcode: Opcode,
    /// What is mapped there.
    pub(crate) name: String,
    /// Where in it: an offset in the file, or from the start of the memory.
    pub(crate) offset: u64,
}

/// Why a program cannot go on with this mapping.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// No way is left to trap an instruction.
    #[error("E_UNTRAPPED_INSTRUCTION {0}")]
    Untrapped(Untrapped),
    /// The memory could not be read.
    #[error("E_UNTRAPPED_INSTRUCTION {name} cannot be read: {error}")]
    Unread {
        /// What is mapped there.
        name: String,
        /// Why.
        error: io::Error,
    },
}

/// The trapped instructions of one address space.
#[derive(Clone, Debug, Default)]
pub(crate) struct Space {
    patched: BTreeMap<u64, (Opcode, Code)>,
    watched: BTreeMap<u64, (Opcode, Code)>,
}

impl Space {
    /// The instruction that a breakpoint at `address` stands for.
    pub(crate) fn patched(&self, address: u64) -> Option<(Opcode, Code)> {
        self.patched.get(&address).copied()
    }

    /// The instruction that is watched for at `address`.
    pub(crate) fn watched(&self, address: u64) -> Option<(Opcode, Code)> {
        self.watched.get(&address).copied()
    }

    /// Whether an instruction in this range of addresses is trapped.
    pub(crate) fn traps_within(&self, range: std::ops::Range<u64>) -> bool {
        self.patched.range(range.clone()).next().is_some() || self.watched.range(range).next().is_some()
    }

    /// Takes notice of code that has just been mapped, before the task runs on: traps what must be trapped.
    pub(crate) fn admit(
        &mut self,
        tracee: &mut impl Tracee,
        mapping: &Mapping<'_>,
    ) -> Result<Admitted, Refusal> {
        let mut admitted = Admitted::default();
        if mapping.writable {
            admitted.weaker.push(Weaker::WritableCode);
        }
        if mapping.shared {
            admitted.weaker.push(Weaker::SharedCode);
        }
        self.forget_changed(tracee, mapping);
        for finding in self.findings(tracee, mapping)? {
            let address = mapping.start.wrapping_add(finding.at);
            if self.patched.contains_key(&address) || self.watched.contains_key(&address) {
                continue;
            }
            match finding.verdict {
                Verdict::Cleared => admitted.cleared += 1,
                // A byte written to shared memory would reach others, and perhaps a file.
                Verdict::Confirmed(opcode)
                    if !mapping.shared
                        && holds(tracee, address, &finding.code)
                        && tracee.poke_text(address, BREAKPOINT).is_ok() =>
                {
                    self.patched.insert(address, (opcode, finding.code));
                    admitted.patched += 1;
                }
                Verdict::Confirmed(opcode) | Verdict::Unconfirmed(opcode) => {
                    self.watch(address, opcode, finding, mapping)?;
                    admitted.watched += 1;
                }
            }
        }
        Ok(admitted)
    }

    /// Sets the debug registers of one task to the watches of its space.
    pub(crate) fn arm(&self, tracee: &mut impl Tracee) -> io::Result<()> {
        // While any is enabled, the kernel refuses to move it to another address.
        tracee.set_debug_register(CONTROL, 0)?;
        for (index, address) in self.watched.keys().enumerate() {
            tracee.set_debug_register(index, *address)?;
        }
        // Bit 2i enables register i locally; kind 0 and length 0 mean execution.
        let enabled = (0..self.watched.len()).fold(0, |bits, index| bits | 1 << (2 * index));
        tracee.set_debug_register(CONTROL, enabled)
    }

    /// Whether tasks of this space need [`Space::arm`].
    pub(crate) fn has_watches(&self) -> bool {
        !self.watched.is_empty()
    }

    /// Forgets the sites of `mapping` that are no longer what they were.
    fn forget_changed(&mut self, tracee: &impl Tracee, mapping: &Mapping<'_>) {
        let range = mapping.start..mapping.start.saturating_add(mapping.length);
        let fresh = matches!(mapping.backing, Backing::Fresh(..));
        let gone = |address: &u64, code: &Code, first: u8| {
            range.contains(address) && (fresh || !holds_with(tracee, *address, code, first))
        };
        self.patched.retain(|address, (_, code)| !gone(address, code, BREAKPOINT));
        self.watched.retain(|address, (_, code)| !gone(address, code, code.bytes()[0]));
    }

    /// What is to be judged in `mapping`, as offsets from its start.
    fn findings(&self, tracee: &impl Tracee, mapping: &Mapping<'_>) -> Result<Vec<Finding>, Refusal> {
        let known = |scan: &FileScan, offset: u64| -> Vec<Finding> {
            let range = offset..offset.saturating_add(mapping.length);
            let within = scan.findings(range).filter(|f| f.at >= offset);
            within.map(|f| Finding { at: f.at - offset, ..*f }).collect()
        };
        if let Backing::Fresh(scan, offset) = mapping.backing {
            return Ok(known(scan, offset));
        }
        let read = |at: u64, buffer: &mut [u8]| tracee.read(at, buffer);
        let mut open = scan_memory(mapping.start, mapping.length, read)
            .map_err(|error| Refusal::Unread { name: mapping.name.to_owned(), error })?;
        let mut decided = Vec::new();
        if let Backing::Touched(scan, offset) = mapping.backing {
            // What disassembly of the file said still holds for bytes that are still the file's.
            decided = known(scan, offset);
            decided.retain(|f| !matches!(f.verdict, Verdict::Unconfirmed(_)));
            decided.retain(|f| holds(tracee, mapping.start + f.at, &f.code));
        }
        let opcode = |f: &Finding| mapping.start + f.at + f.code.len() - OPCODE;
        let within = |f: &Finding, at: u64, code: &Code| (at..at + code.len()).contains(&opcode(f));
        open.retain(|f| !decided.iter().any(|by| within(f, mapping.start + by.at, &by.code)));
        // A patched site with a prefix still shows its opcode.
        open.retain(|f| {
            let before = self.patched.range(..=opcode(f)).next_back();
            !before.is_some_and(|(at, (_, code))| within(f, *at, code))
        });
        decided.extend(open);
        Ok(decided)
    }

    /// Adds `address` to the watches.
    fn watch(
        &mut self,
        address: u64,
        opcode: Opcode,
        finding: Finding,
        mapping: &Mapping<'_>,
    ) -> Result<(), Refusal> {
        if self.watched.len() >= WATCHES_MAX {
            let base = match mapping.backing {
                Backing::Fresh(_, offset) | Backing::Touched(_, offset) => offset,
                Backing::Unknown => 0,
            };
            let (name, offset) = (mapping.name.to_owned(), base + finding.at);
            return Err(Refusal::Untrapped(Untrapped { opcode, name, offset }));
        }
        self.watched.insert(address, (opcode, finding.code));
        Ok(())
    }
}

/// Whether memory at `address` holds `code`.
fn holds(tracee: &impl Tracee, address: u64, code: &Code) -> bool {
    holds_with(tracee, address, code, code.bytes()[0])
}

/// Whether memory at `address` holds `code` with `first` as its first byte.
fn holds_with(tracee: &impl Tracee, address: u64, code: &Code, first: u8) -> bool {
    let mut bytes = [0; super::opcode::LONGEST];
    let wanted = code.bytes();
    matches!(tracee.read(address, &mut bytes[..wanted.len()]), Ok(n) if n == wanted.len())
        && bytes[0] == first
        && bytes[1..wanted.len()] == wanted[1..]
}
