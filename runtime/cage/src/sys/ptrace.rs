//! Tracing: stops, registers and memory of the tasks of a cage that is pinned.
//!
//! Owns thin wrappers only, as its parent module says. Every call must come from the thread that seized the task:
//! the kernel ties a tracee to one thread.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::{check, own};

/// General registers of a stopped task.
pub(crate) type Registers = libc::user_regs_struct;

/// The register set that holds the extended state.
const NT_X86_XSTATE: usize = 0x202;

/// Room for the extended state of any CPU: 11 KiB with the tiles of AMX.
const EXTENDED_BYTES_MAX: usize = 32 << 10;

/// `ptrace(2)` requests that take an address and a word.
fn request(request: libc::c_uint, tid: i32, address: usize, data: usize) -> io::Result<libc::c_long> {
    // SAFETY: used only for requests whose last two arguments are plain numbers; wrappers with pointers make the
    // call themselves.
    check(unsafe { libc::ptrace(request, tid, address, data) })
}

/// Attaches to a running task without stopping it. Tasks that it makes are attached too, under the same options.
pub(crate) fn seize(tid: i32, options: libc::c_int) -> io::Result<()> {
    request(libc::PTRACE_SEIZE, tid, 0, options as usize).map(drop)
}

/// Asks a running task to stop.
pub(crate) fn interrupt(tid: i32) -> io::Result<()> {
    request(libc::PTRACE_INTERRUPT, tid, 0, 0).map(drop)
}

/// Lets a stopped task run, delivering `signal` (0: none).
pub(crate) fn resume(tid: i32, signal: i32) -> io::Result<()> {
    request(libc::PTRACE_CONT, tid, 0, signal as usize).map(drop)
}

/// Lets a stopped task run to the beginning or end of its next call, delivering `signal` (0: none).
pub(crate) fn resume_to_call(tid: i32, signal: i32) -> io::Result<()> {
    request(libc::PTRACE_SYSCALL, tid, 0, signal as usize).map(drop)
}

/// Lets a stopped task execute one instruction.
pub(crate) fn step(tid: i32) -> io::Result<()> {
    request(libc::PTRACE_SINGLESTEP, tid, 0, 0).map(drop)
}

/// What the kernel has to say about the event the task stopped for: a new task's id, an exit status.
pub(crate) fn event_message(tid: i32) -> io::Result<u64> {
    let mut message: libc::c_ulong = 0;
    // SAFETY: the fourth argument points at the live word that the kernel fills.
    check(unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG, tid, 0usize, &raw mut message) })?;
    Ok(message)
}

/// The general registers.
pub(crate) fn registers(tid: i32) -> io::Result<Registers> {
    // SAFETY: an all-zero value is valid for that plain structure.
    let mut registers: Registers = unsafe { std::mem::zeroed() };
    // SAFETY: the fourth argument points at the live structure that the kernel fills.
    check(unsafe { libc::ptrace(libc::PTRACE_GETREGS, tid, 0usize, &raw mut registers) })?;
    Ok(registers)
}

/// Replaces the general registers.
pub(crate) fn set_registers(tid: i32, registers: &Registers) -> io::Result<()> {
    // SAFETY: the fourth argument points at the live structure that the kernel reads.
    check(unsafe { libc::ptrace(libc::PTRACE_SETREGS, tid, 0usize, registers as *const Registers) })?;
    Ok(())
}

/// Writes one word of the task's text or data, whatever its protection.
pub(crate) fn poke(tid: i32, address: u64, word: u64) -> io::Result<()> {
    request(libc::PTRACE_POKEDATA, tid, address as usize, word as usize).map(drop)
}

/// Reads one word of the task's text or data, whatever its protection.
pub(crate) fn peek(tid: i32, address: u64) -> io::Result<u64> {
    let mut word: u64 = 0;
    // SAFETY: the raw call (unlike the C library's) stores the word where its fourth argument points, which is live.
    check(unsafe {
        libc::syscall(libc::SYS_ptrace, libc::PTRACE_PEEKDATA as libc::c_long, tid, address, &raw mut word)
    })?;
    Ok(word)
}

/// The extended registers in the kernel's `NT_X86_XSTATE` layout.
pub(crate) fn extended_state(tid: i32) -> io::Result<Vec<u8>> {
    let mut area = vec![0; EXTENDED_BYTES_MAX];
    let mut part = libc::iovec { iov_base: area.as_mut_ptr().cast(), iov_len: area.len() };
    // SAFETY: the fourth argument points at a live `iovec` that describes the live, writable buffer.
    check(unsafe { libc::ptrace(libc::PTRACE_GETREGSET, tid, NT_X86_XSTATE, &raw mut part) })?;
    area.truncate(part.iov_len);
    Ok(area)
}

/// Replaces the extended registers by what [`extended_state`] gave, or a change of it.
#[cfg(test)]
pub(crate) fn set_extended_state(tid: i32, area: &mut [u8]) -> io::Result<()> {
    let mut part = libc::iovec { iov_base: area.as_mut_ptr().cast(), iov_len: area.len() };
    // SAFETY: the fourth argument points at a live `iovec` that describes the live buffer.
    check(unsafe { libc::ptrace(libc::PTRACE_SETREGSET, tid, NT_X86_XSTATE, &raw mut part) })?;
    Ok(())
}

/// Sets debug register `index` of the task.
pub(crate) fn set_debug_register(tid: i32, index: usize, value: u64) -> io::Result<()> {
    let offset = std::mem::offset_of!(libc::user, u_debugreg) + 8 * index;
    request(libc::PTRACE_POKEUSER, tid, offset, value as usize).map(drop)
}

/// The siginfo of the signal that the task stopped for, as the kernel's 128 bytes.
pub(crate) fn signal_info(tid: i32) -> io::Result<[u64; 16]> {
    let mut info = [0u64; 16];
    // SAFETY: `info` is the 128 bytes that the kernel fills.
    check(unsafe { libc::ptrace(libc::PTRACE_GETSIGINFO, tid, 0usize, info.as_mut_ptr()) })?;
    Ok(info)
}

/// Replaces the siginfo of the signal that the task stopped for.
pub(crate) fn set_signal_info(tid: i32, info: &[u64; 16]) -> io::Result<()> {
    // SAFETY: `info` is the 128 bytes that the kernel reads.
    check(unsafe { libc::ptrace(libc::PTRACE_SETSIGINFO, tid, 0usize, info.as_ptr()) })?;
    Ok(())
}

/// Waits for a tracee (`-1`: any of this thread's) to stop or end: (tid, status). `None` with `WNOHANG` in `options`
/// when nothing has happened. `Interrupted` errors are passed on.
pub(crate) fn wait_trace(tid: i32, options: libc::c_int) -> io::Result<Option<(i32, i32)>> {
    let mut status = 0;
    let all = libc::__WALL | libc::__WNOTHREAD | options;
    // SAFETY: `status` is live and writable.
    let got = check(unsafe { libc::waitpid(tid, &raw mut status, all) }.into())? as i32;
    Ok((got != 0).then_some((got, status)))
}

/// A copy of the task's memory at `address`; shorter where it ends.
pub(crate) fn read_memory(tid: i32, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = libc::iovec { iov_base: address as *mut _, iov_len: buffer.len() };
    // SAFETY: `local` describes the live, writable buffer; the kernel checks `remote` in the other process.
    let got = unsafe { libc::process_vm_readv(tid, &raw const local, 1, &raw const remote, 1, 0) };
    check(got as libc::c_long).map(|n| n as usize)
}

/// Writes to the task's memory at `address`; less where it ends.
pub(crate) fn write_memory(tid: i32, address: u64, bytes: &[u8]) -> io::Result<usize> {
    let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let remote = libc::iovec { iov_base: address as *mut _, iov_len: bytes.len() };
    // SAFETY: `local` describes the live bytes, which are only read; the kernel checks `remote`.
    let put = unsafe { libc::process_vm_writev(tid, &raw const local, 1, &raw const remote, 1, 0) };
    check(put as libc::c_long).map(|n| n as usize)
}

/// A copy of the descriptor `fd` of the process held by `pidfd`: the same open file description.
pub(crate) fn pidfd_getfd(pidfd: BorrowedFd<'_>, fd: i32) -> io::Result<OwnedFd> {
    // SAFETY: plain integers only.
    own(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd, 0) })
}

/// This thread's id.
pub(crate) fn thread_id() -> i32 {
    // SAFETY: takes nothing.
    unsafe { libc::gettid() }
}

/// Sends `signal` to one thread of this process; one that has just ended is not an error worth knowing.
pub(crate) fn signal_thread(tid: i32, signal: libc::c_int) {
    // SAFETY: plain integers only.
    unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), tid, signal) };
}

/// Has `signal` do nothing but interrupt the system call that its receiver is in.
pub(crate) fn interruptible_by(signal: libc::c_int) -> io::Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: an all-zero `sigaction` is a valid value of that plain structure: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: `action` is live, and its handler does nothing, which is safe at any point of any thread.
    check(unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) }.into())?;
    Ok(())
}

/// Whether the process has begun to end, or has ended.
pub(crate) fn is_exiting(pid: i32) -> bool {
    const PF_EXITING: u64 = 4;
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ended = matches!(fields.next(), None | Some("Z" | "X"));
    ended
        || fields
            .nth(5)
            .and_then(|flags| flags.parse::<u64>().ok())
            .is_none_or(|flags| flags & PF_EXITING != 0)
}

/// Restricts this thread, and what it starts, to one of the processors it may use.
pub(crate) fn stay_on_one_processor() -> io::Result<()> {
    let length = std::mem::size_of::<libc::cpu_set_t>();
    // SAFETY: an all-zero set is a valid empty set of that plain structure.
    let (mut allowed, mut one): (libc::cpu_set_t, libc::cpu_set_t) = unsafe { std::mem::zeroed() };
    // SAFETY: length and pointer describe the live, writable set.
    check(unsafe { libc::sched_getaffinity(0, length, &raw mut allowed) }.into())?;
    // SAFETY: the number is within the set.
    let is_allowed = |n: &usize| unsafe { libc::CPU_ISSET(*n, &allowed) };
    let usable: Vec<usize> = (0..length * 8).filter(is_allowed).collect();
    // Neighbours in time get different ones.
    let Some(chosen) = usable.get(std::process::id() as usize % usable.len().max(1)) else { return Ok(()) };
    // SAFETY: the number is within the set.
    unsafe { libc::CPU_SET(*chosen, &mut one) };
    // SAFETY: length and pointer describe the live set.
    check(unsafe { libc::sched_setaffinity(0, length, &raw const one) }.into())?;
    Ok(())
}

/// Makes the time stamp counter unreadable (SIGSEGV) and switches address randomisation off, for what this process
/// executes next.
pub(crate) fn pin_process() -> io::Result<()> {
    // SAFETY: plain integers only.
    check(unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) }.into())?;
    super::prctl(libc::PR_SET_TSC, libc::PR_TSC_SIGSEGV as libc::c_ulong, 0)?;
    super::prctl(libc::PR_SET_DUMPABLE, 1, 0)?;
    Ok(())
}

/// Head of the list of robust futexes of a task, and the length of its header; zero address when there is none.
pub(crate) fn robust_list(tid: i32) -> io::Result<u64> {
    let (mut head, mut length) = (0u64, 0u64);
    // SAFETY: both pointers are live words that the kernel fills.
    check(unsafe { libc::syscall(libc::SYS_get_robust_list, tid, &raw mut head, &raw mut length) })?;
    Ok(head)
}
