//! Finding the instructions in files and in memory.
//!
//! A file is read once for each content that it has had (see [`FileKey`]) and only where something maps it as
//! code; boundaries are looked up only when some bytes match, which for most programs never happens. Memory
//! that no file explains has no known boundaries, so that its matches stay unconfirmed.
//!
//! Invariant: every match in a covered range has at least one finding, unless no decoding of it exists.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{SystemTime, UNIX_EPOCH};

use object::read::{ReadCache, ReadRef};

use super::bounds::{Bounds, Positioned, executable_ranges};
use super::flow::{Disassembly, Judgement};
use super::opcode::{Code, LONGEST, Opcode, candidates, matches};

/// How much is read at a time.
const CHUNK: usize = 256 << 10;

/// The largest file that is searched for boundaries; in a larger one matches stay unconfirmed.
const BOUNDED_BYTES_MAX: u64 = 512 << 20;

/// How many bytes of functions are disassembled for one file; after that, matches stay unconfirmed.
const DISASSEMBLED_BYTES_MAX: u64 = 64 << 20;

/// More matches than this in one file, and it is text made to waste our time: `scan` refuses to judge them.
const MATCHES_MAX: usize = 4096;

/// Contents remembered; beyond this the cache starts anew.
const CACHED_MAX: usize = 1024;

/// A file that was changed longer ago than this shows another change in its time, however coarse that is.
const SETTLED_NS: i128 = 2_000_000_000;

/// Page size, to which mappings are rounded.
const PAGE: u64 = 4096;

/// What is known of a place whose bytes match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// An instruction, proved by disassembly from a known boundary.
    Confirmed(Opcode),
    /// Part of another instruction.
    Cleared,
    /// It would be this instruction if the CPU ever started one here.
    Unconfirmed(Opcode),
}

/// A place in a file or a memory range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Offset of the first byte of the instruction, in the file or from the start of the range.
    pub(crate) at: u64,
    /// The bytes of the instruction there.
    pub(crate) code: Code,
    /// What is known.
    pub(crate) verdict: Verdict,
}

/// What tells one content of a file from another. The time is that of the last change of the inode, which a program
/// cannot set; it misses only stores through a shared mapping that was written to before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileKey {
    dev: u64,
    ino: u64,
    size: u64,
    changed_ns: i128,
}

impl FileKey {
    /// The key of what `file` holds now. `None` when that was changed so recently that another change would not show,
    /// or it is no regular file.
    fn of(file: &File) -> io::Result<Option<Self>> {
        let found = file.metadata()?;
        let changed_ns = i128::from(found.ctime()) * 1_000_000_000 + i128::from(found.ctime_nsec());
        let now_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i128);
        let settled = found.is_file() && now_ns - changed_ns > SETTLED_NS;
        let key = Self { dev: found.dev(), ino: found.ino(), size: found.len(), changed_ns };
        Ok(settled.then_some(key))
    }
}

/// What one file holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct FileScan {
    /// Ranges of the file that have been read, apart from each other and ordered.
    covered: Vec<Range<u64>>,
    /// By `at`.
    findings: Vec<Finding>,
}

impl FileScan {
    /// Scans the executable segments of `file`, if it is an ELF file, and `range` in any case.
    pub(crate) fn new(file: &File, range: Range<u64>) -> io::Result<Self> {
        let mut scan = Self::default();
        let mut head = vec![0; PAGE as usize];
        let length = read_full(file, 0, &mut head)?;
        for segment in executable_ranges(&head[..length]).unwrap_or_default() {
            scan.extend(file, segment)?;
        }
        scan.extend(file, range)?;
        Ok(scan)
    }

    /// Scans what of `range` has not been scanned.
    pub(crate) fn extend(&mut self, file: &File, range: Range<u64>) -> io::Result<()> {
        let size = file.metadata()?.len();
        let range =
            range.start / PAGE * PAGE..range.end.min(size).div_ceil(PAGE).saturating_mul(PAGE).min(size);
        if range.is_empty() || self.covered.iter().any(|c| c.start <= range.start && range.end <= c.end) {
            return Ok(());
        }
        // A match may straddle the ends of a range that is mapped beside another one.
        let found = file_matches(file, range.start.saturating_sub(2)..range.end.saturating_add(2).min(size))?;
        if !found.is_empty() {
            self.findings.extend(judge(file, size, &found)?);
            self.findings.sort_by_key(|f| (f.at, f.code.len()));
            self.findings.dedup_by_key(|f| (f.at, f.code.len()));
        }
        self.covered.push(range);
        self.covered.sort_by_key(|r| r.start);
        Ok(())
    }

    /// Findings whose bytes touch `range`.
    pub(crate) fn findings(&self, range: Range<u64>) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |f| f.at < range.end && range.start < f.at + f.code.len())
    }

    /// How many bytes have been scanned.
    pub(crate) fn bytes(&self) -> u64 {
        self.covered.iter().map(|r| r.end - r.start).sum()
    }
}

/// The scans of the files seen so far.
#[derive(Debug, Default)]
pub(crate) struct ScanCache {
    files: BTreeMap<FileKey, FileScan>,
    /// The latest scan of a file that may still change.
    unsettled: FileScan,
}

impl ScanCache {
    /// The scan of `file`, covering at least `range`.
    pub(crate) fn scan(&mut self, file: &File, range: Range<u64>) -> io::Result<&FileScan> {
        let Some(key) = FileKey::of(file)? else {
            self.unsettled = FileScan::new(file, range)?;
            return Ok(&self.unsettled);
        };
        if self.files.len() >= CACHED_MAX && !self.files.contains_key(&key) {
            self.files.clear();
        }
        match self.files.entry(key) {
            Entry::Vacant(slot) => Ok(slot.insert(FileScan::new(file, range)?)),
            Entry::Occupied(slot) => {
                let scan = slot.into_mut();
                scan.extend(file, range)?;
                Ok(scan)
            }
        }
    }
}

/// Reads until `buffer` is full or the file ends.
fn read_full(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// Offsets of the matches in `range` of `file`.
fn file_matches(file: &File, range: Range<u64>) -> io::Result<Vec<u64>> {
    let read = |offset: u64, buffer: &mut [u8]| read_full(file, offset, buffer);
    matches_in(range, read)
}

/// Offsets of the matches in `range` of whatever `read` reads.
fn matches_in(
    range: Range<u64>,
    mut read: impl FnMut(u64, &mut [u8]) -> io::Result<usize>,
) -> io::Result<Vec<u64>> {
    let mut buffer = vec![0; CHUNK];
    let mut found = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let want = (range.end - at).min(CHUNK as u64) as usize;
        let length = read(at, &mut buffer[..want])?;
        found.extend(matches(&buffer[..length]).map(|m| at + m as u64));
        if found.len() > MATCHES_MAX {
            return Err(io::Error::other(format!("more than {MATCHES_MAX} matches")));
        }
        if length < want || at + length as u64 >= range.end {
            break;
        }
        at += length as u64 - 2; // a match may straddle two chunks
    }
    Ok(found)
}

/// Judges the matches at `found`, ascending, in `file`.
fn judge(file: &File, size: u64, found: &[u64]) -> io::Result<Vec<Finding>> {
    let cache = ReadCache::new(Positioned::new(file));
    let bounds = if size <= BOUNDED_BYTES_MAX { Bounds::parse(&cache) } else { None };
    let mut judge = bounds.map(Judge::new);
    let mut findings = Vec::new();
    for &at in found {
        match judge.as_mut().and_then(|judge| judge.decide(at)) {
            Some(finding) => findings.push(finding),
            None => {
                let first = at.saturating_sub(LONGEST as u64);
                let mut around = [0; LONGEST + 3];
                let length = read_full(file, first, &mut around)?;
                findings.extend(open(&around[..length], first, (at - first) as usize));
            }
        }
    }
    Ok(findings)
}

/// Judges matches by disassembly, with a bound on how much is disassembled.
struct Judge<'a, R: ReadRef<'a>> {
    bounds: Bounds<'a, R>,
    /// The latest function, since matches come in order.
    latest: Option<Disassembly<'a>>,
    /// Bytes of functions that may still be disassembled.
    left: u64,
}

impl<'a, R: ReadRef<'a>> Judge<'a, R> {
    fn new(bounds: Bounds<'a, R>) -> Self {
        Self { bounds, latest: None, left: DISASSEMBLED_BYTES_MAX }
    }

    /// What disassembly says of the match at offset `at`, if it decides.
    fn decide(&mut self, at: u64) -> Option<Finding> {
        let address = self.bounds.address_of(at)?;
        let mut judgement = Judgement::Open;
        if let Some(latest) = self.latest.as_ref().filter(|latest| latest.contains(address)) {
            judgement = latest.judge(address);
        }
        for find in [Bounds::described, Bounds::named] {
            if judgement != Judgement::Open {
                break;
            }
            let Some(function) = find(&self.bounds, address) else { continue };
            self.left = self.left.checked_sub(function.code.len() as u64)?;
            judgement = self.latest.insert(Disassembly::new(function)).judge(address);
        }
        let (start, code, verdict) = match judgement {
            Judgement::Confirmed(start, opcode, code) => (start, code, Verdict::Confirmed(opcode)),
            Judgement::Cleared(start, code) => (start, code, Verdict::Cleared),
            Judgement::Open => return None,
        };
        Some(Finding { at: self.bounds.offset_of(start)?, code, verdict })
    }
}

/// The unconfirmed findings of the match at `at` in `bytes`, which begin at `base`.
fn open(bytes: &[u8], base: u64, at: usize) -> Vec<Finding> {
    let found = if bytes.len() < at + 3 { Vec::new() } else { candidates(bytes, at) };
    let finding = |(start, opcode)| Finding {
        at: base + start as u64,
        code: Code::new(&bytes[start..at + 3]),
        verdict: Verdict::Unconfirmed(opcode),
    };
    found.into_iter().map(finding).collect()
}

/// The findings, all unconfirmed, in `length` bytes of memory at `start`, as offsets from `start`.
pub(super) fn scan_memory(
    start: u64,
    length: u64,
    read: impl Fn(u64, &mut [u8]) -> io::Result<usize>,
) -> io::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for at in matches_in(start..start.saturating_add(length), &read)? {
        let first = at.saturating_sub(LONGEST as u64).max(start);
        let mut around = [0; LONGEST + 3];
        let want = (at + 3 - first) as usize;
        let length = read(first, &mut around[..want])?;
        findings.extend(open(&around[..length], first - start, (at - first) as usize));
    }
    Ok(findings)
}
