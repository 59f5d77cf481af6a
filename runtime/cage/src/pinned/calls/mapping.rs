//! Memory that becomes executable, and the instructions in it that no state determines.
//!
//! Owns what is known of the code of every address space. Code is looked through when it is mapped, before the program
//! can run it; a program with an instruction that cannot be trapped is refused. Code that may change afterwards makes
//! the run weaker, and the report says so.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use super::{Outcome, Stop, Supervisor, err};
use crate::pinned::instructions::{
    Backing, Emulated, Mapping, ScanCache, Space, Weaker, at_trap, emulate_tsc,
};
use crate::pinned::memory;
use crate::pinned::stopped::Stopped;
use crate::pinned::task::{Call, SpaceId, TaskId};
use crate::sys::ptrace;

/// Longest instruction.
const LONGEST: usize = 15;
/// What the trace says an emulated instruction is, as a call number.
const INSTRUCTION: i64 = 0x8001_0000;
const PAGE: u64 = 4096;

/// Code of the cage.
#[derive(Debug, Default)]
pub(crate) struct Code {
    cache: ScanCache,
    spaces: BTreeMap<SpaceId, Space>,
    /// What makes the promise weaker.
    weaker: BTreeSet<Weaker>,
}

impl Code {
    /// What a report says about code that was not looked through for good.
    pub(crate) fn weaknesses(&self) -> Vec<String> {
        self.weaker.iter().map(Weaker::to_string).collect()
    }
}

/// One executable mapping.
struct Found {
    start: u64,
    length: u64,
    writable: bool,
    shared: bool,
    fresh: bool,
    offset: u64,
    file: Option<File>,
    name: String,
}

pub(super) fn handle(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    match call.number {
        libc::SYS_mmap => map(cage, id, call),
        libc::SYS_mprotect | libc::SYS_pkey_mprotect => protect(cage, id, call),
        libc::SYS_mremap => moved(cage, id, call),
        libc::SYS_madvise => dropped(cage, id, call),
        libc::SYS_mincore => {
            // Every page is resident, as far as the program can know.
            let [address, length, vector, ..] = call.args;
            let pages = length.div_ceil(PAGE);
            if address % PAGE != 0 || pages > 1 << 20 {
                return Ok(err(libc::EINVAL));
            }
            let put = memory::write(cage.tid(id), vector, &vec![1; pages as usize]);
            Ok(Outcome::Return(put.map_or_else(|errno| errno, |()| 0)))
        }
        _ => Err(super::unmodelled(call)),
    }
}

fn map(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let [_, length, protection, flags, fd, offset] = call.args;
    let file =
        if flags as i32 & libc::MAP_ANONYMOUS == 0 { cage.descriptor(id, fd as i32).ok() } else { None };
    let Some(start) = cage.execute(id, call)? else { return Ok(Outcome::Gone) };
    if (-4095..0).contains(&start) {
        return Ok(Outcome::Done(start));
    }
    let name = call.int(4).to_string();
    let found = Found {
        start: start as u64,
        length,
        writable: protection as i32 & libc::PROT_WRITE != 0,
        shared: flags as i32 & libc::MAP_TYPE != libc::MAP_PRIVATE,
        fresh: true,
        offset,
        name: if file.is_some() { format!("descriptor {name}") } else { "anonymous memory".into() },
        file: file.map(File::from),
    };
    admit(cage, id, found)?;
    Ok(Outcome::Done(start))
}

fn protect(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let [start, length, ..] = call.args;
    let Some(result) = cage.execute(id, call)? else { return Ok(Outcome::Gone) };
    if result == 0 {
        let end = start.saturating_add(length.div_ceil(PAGE) * PAGE);
        for mut found in executable(cage.tid(id)) {
            let (from, to) = (found.start.max(start), (found.start + found.length).min(end));
            if from < to {
                found.fresh = false;
                found.offset += from - found.start;
                (found.start, found.length) = (from, to - from);
                admit(cage, id, found)?;
            }
        }
    }
    Ok(Outcome::Done(result))
}

/// Code whose instructions are trapped must stay where the traps are known to be.
fn moved(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let [start, length, ..] = call.args;
    if traps_within(cage, id, start, length) {
        return Err(super::unmodelled_form(call, "of code with trapped instructions"));
    }
    super::executed_as_is(cage, id, call)
}

/// The bytes of the file come back, without the traps: they are set again.
fn dropped(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let [start, length, ..] = call.args;
    if traps_within(cage, id, start, length) { protect(cage, id, call) } else { Ok(Outcome::Native) }
}

fn traps_within(cage: &Supervisor, id: TaskId, start: u64, length: u64) -> bool {
    let end = start.saturating_add(length.div_ceil(PAGE).saturating_mul(PAGE));
    let space = cage.classes.code.spaces.get(&cage.task(id).space);
    space.is_some_and(|space| space.traps_within(start..end))
}

/// The executable mappings of a process, but for the kernel's own.
fn executable(tid: i32) -> Vec<Found> {
    let maps = std::fs::read_to_string(format!("/proc/{tid}/maps")).unwrap_or_default();
    let parse = |line: &str| -> Option<Found> {
        let mut fields = line.split_whitespace();
        let (from, to) = fields.next()?.split_once('-')?;
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        let (from, to) = (hex(from)?, hex(to)?);
        let protection = fields.next()?.as_bytes();
        let offset = hex(fields.next()?)?;
        let (device, inode) = (fields.next()?, fields.next()?);
        let name = fields.next().unwrap_or("anonymous memory").to_owned();
        if protection.get(2) != Some(&b'x') || matches!(&*name, "[vdso]" | "[vsyscall]") {
            return None;
        }
        let file = if name.starts_with('/') { open_in(tid, &name) } else { None };
        Some(Found {
            start: from,
            length: to - from,
            writable: protection.get(1) == Some(&b'w'),
            shared: protection.get(3) == Some(&b's'),
            // Nobody has run since an execution, so that what is the same file holds what was mapped.
            fresh: file.as_ref().is_some_and(|file| is_inode(file, device, inode)),
            offset,
            file,
            name,
        })
    };
    maps.lines().filter_map(parse).collect()
}

/// The regular file that is at `name` in the task's view, if any. It may be another than the one mapped.
fn open_in(tid: i32, name: &str) -> Option<File> {
    // Something else may be there by now: never wait for a pipe's other end, and follow no link.
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_NOCTTY;
    let path = format!("/proc/{tid}/root{name}");
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    file.metadata().is_ok_and(|found| found.is_file()).then_some(file)
}

/// Whether `file` is the one that a line of `/proc/TID/maps` names by device and inode.
fn is_inode(file: &File, device: &str, inode: &str) -> bool {
    let Ok(found) = file.metadata() else { return false };
    let (major, minor) = (libc::major(found.dev()), libc::minor(found.dev()));
    format!("{major:02x}:{minor:02x}") == device && found.ino().to_string() == inode
}

/// Looks through code that has just become executable.
fn admit(cage: &mut Supervisor, id: TaskId, found: Found) -> Result<(), Stop> {
    let (tid, space) = (cage.tid(id), cage.task(id).space);
    let code = &mut cage.classes.code;
    let range = found.offset..found.offset.saturating_add(found.length);
    let scan = found.file.as_ref().and_then(|file| code.cache.scan(file, range).ok());
    let backing = match scan {
        Some(scan) if found.fresh && !found.shared => Backing::Fresh(scan, found.offset),
        Some(scan) => Backing::Touched(scan, found.offset),
        None => Backing::Unknown,
    };
    let mapping = Mapping {
        start: found.start,
        length: found.length.div_ceil(PAGE) * PAGE,
        writable: found.writable,
        shared: found.shared,
        backing,
        name: &found.name,
    };
    let space = code.spaces.entry(space).or_default();
    let admitted = space
        .admit(&mut Stopped { tid }, &mapping)
        .map_err(|refusal| Stop::Unmodelled(refusal.to_string()))?;
    code.weaker.extend(admitted.weaker);
    if admitted.watched > 0 {
        arm(cage, id)?;
    }
    Ok(())
}

/// Sets the debug registers of every task of the space.
fn arm(cage: &mut Supervisor, id: TaskId) -> Result<(), Stop> {
    let space = cage.task(id).space;
    let tids: Vec<i32> = cage.tasks.values().filter(|t| t.space == space).map(|t| t.tid).collect();
    if let Some(space) = cage.classes.code.spaces.get(&space) {
        for tid in tids {
            space.arm(&mut Stopped { tid }).map_err(|e| Stop::broken("watch an instruction", &e))?;
        }
    }
    Ok(())
}

/// A new task: its space is its maker's, or a copy of it.
pub(super) fn born(cage: &mut Supervisor, parent: TaskId, child: TaskId) -> Result<(), Stop> {
    let (from, to) = (cage.task(parent).space, cage.task(child).space);
    let Some(space) = cage.classes.code.spaces.get(&from).cloned() else { return Ok(()) };
    let watches = space.has_watches();
    if from != to {
        cage.classes.code.spaces.insert(to, space);
    }
    if watches { arm(cage, child) } else { Ok(()) }
}

/// A new program: its code is what the kernel mapped.
pub(super) fn executed(cage: &mut Supervisor, id: TaskId) -> Result<(), Stop> {
    let used: BTreeSet<SpaceId> = cage.tasks.values().map(|t| t.space).collect();
    cage.classes.code.spaces.retain(|space, _| used.contains(space));
    for found in executable(cage.tid(id)) {
        admit(cage, id, found)?;
    }
    Ok(())
}

/// A signal that an instruction may have raised because it was made to trap. True when it has been emulated.
pub(super) fn instruction(cage: &mut Supervisor, id: TaskId, signal: i32) -> Result<bool, Stop> {
    let tid = cage.tid(id);
    let mut registers = ptrace::registers(tid).map_err(|e| Stop::broken("read registers", &e))?;
    let value = match signal {
        libc::SIGSEGV => {
            let mut code = [0; LONGEST];
            let length = ptrace::read_memory(tid, registers.rip, &mut code).unwrap_or(0);
            cage.clock.tick();
            match emulate_tsc(&mut registers, &code[..length], cage.clock.monotonic()) {
                Some(()) => cage.clock.monotonic(),
                None => return Ok(false),
            }
        }
        libc::SIGTRAP => {
            let info = ptrace::signal_info(tid).map_err(|e| Stop::broken("read a signal", &e))?;
            let space = cage.task(id).space;
            let Some(task) = cage.tasks.get_mut(&id) else { return Ok(false) };
            let Some(space) = cage.classes.code.spaces.get(&space) else { return Ok(false) };
            let mut random = |bytes: &mut [u8]| task.instructions.fill(bytes);
            match at_trap(space, &Stopped { tid }, &mut registers, info[1] as i32, &mut random) {
                Some(Emulated::Answered { value, .. }) => value,
                Some(Emulated::Passed) => 0,
                None => return Ok(false),
            }
        }
        _ => return Ok(false),
    };
    ptrace::set_registers(tid, &registers).map_err(|e| Stop::broken("write registers", &e))?;
    let event = Call { number: INSTRUCTION, args: [registers.rip, 0, 0, 0, 0, 0] };
    cage.record(id, &event, value as i64, &[])?;
    Ok(true)
}
