//! A test subject: a forked child, seized before it does anything, whose registers the test points at code.
//!
//! The code is that of the test program itself (`global_asm!`), so the scan of the running file finds it too. The
//! child makes no allocation and holds no lock. It is killed when the subject is dropped, or with the test.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use super::stopped::Stopped;
use crate::sys::ptrace::{self, Registers};

/// A page that test and child share.
pub(super) struct Shared(*mut AtomicU64);

impl Shared {
    pub(super) fn new() -> Self {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a fresh anonymous mapping, owned by the value and never unmapped.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
        assert_ne!(page, libc::MAP_FAILED);
        Self(page.cast())
    }

    pub(super) fn address(&self) -> u64 {
        self.0 as u64
    }

    pub(super) fn cell(&self, index: usize) -> &AtomicU64 {
        assert!(index < 512);
        // SAFETY: within the page, which stays mapped; shared access is atomic.
        unsafe { &*self.0.add(index) }
    }
}

/// A child under ptrace, stopped.
pub(super) struct Subject {
    pub(super) pid: libc::pid_t,
}

impl Subject {
    /// Forks a child, seizes it, and points it at `code` with `argument` in RDI; all other registers are in their
    /// initial state. `argument` is the address of a shared page, whose end is the stack, or 0.
    pub(super) fn at(code: u64, argument: u64) -> Self {
        // SAFETY: the child calls only `pause`, which is async-signal-safe.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            loop {
                // SAFETY: takes nothing.
                unsafe { libc::pause() };
            }
        }
        assert!(pid > 0, "{}", io::Error::last_os_error());
        let subject = Self { pid };
        ptrace::seize(pid, libc::PTRACE_O_EXITKILL).expect("seize");
        subject.interrupt();
        let old = subject.regs();
        // SAFETY: an all-zero value of this plain structure is valid.
        let mut regs: Registers = unsafe { std::mem::zeroed() };
        (regs.cs, regs.ss, regs.fs_base, regs.eflags) = (old.cs, old.ss, old.fs_base, 0x202);
        (regs.rip, regs.rdi) = (code, argument);
        regs.rsp = if argument == 0 { (old.rsp - 65536) & !15 } else { argument + 4096 - 64 };
        regs.orig_rax = u64::MAX; // no system call is to be restarted
        subject.set_regs(&regs);
        subject.reset_extended();
        subject
    }

    /// Puts the extended registers into their initial state.
    fn reset_extended(&self) {
        let mut area = self.extended();
        area[..464].fill(0); // what follows, to 512, is the kernel's own description
        area[512..].fill(0);
        area[..2].copy_from_slice(&0x37fu16.to_le_bytes());
        area[24..28].copy_from_slice(&0x1f80u32.to_le_bytes());
        ptrace::set_extended_state(self.pid, &mut area).expect("set extended state");
    }

    /// Stops the child; returns the wait status.
    pub(super) fn interrupt(&self) -> i32 {
        ptrace::interrupt(self.pid).expect("interrupt");
        self.wait()
    }

    pub(super) fn cont(&self) {
        ptrace::resume(self.pid, 0).expect("resume");
    }

    fn wait(&self) -> i32 {
        let (pid, status) = ptrace::wait_trace(self.pid, 0).expect("wait").expect("waited for");
        assert_eq!(pid, self.pid);
        status
    }

    /// Lets the child run until it stops, and returns the signal.
    pub(super) fn run_to_signal(&self) -> i32 {
        self.cont();
        let status = self.wait();
        assert!(libc::WIFSTOPPED(status), "{status:#x}");
        libc::WSTOPSIG(status)
    }

    /// The child as the code under test sees it.
    pub(super) fn task(&self) -> Stopped {
        Stopped { tid: self.pid }
    }

    pub(super) fn regs(&self) -> Registers {
        ptrace::registers(self.pid).expect("registers")
    }

    pub(super) fn set_regs(&self, regs: &Registers) {
        ptrace::set_registers(self.pid, regs).expect("set registers");
    }

    /// The code of the signal it stopped for.
    pub(super) fn si_code(&self) -> i32 {
        ptrace::signal_info(self.pid).expect("signal info")[1] as i32
    }

    /// The extended registers.
    pub(super) fn extended(&self) -> Vec<u8> {
        ptrace::extended_state(self.pid).expect("extended state")
    }

    pub(super) fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
        ptrace::read_memory(self.pid, address, buffer).expect("read")
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // SAFETY: plain integers; the child is ours and has not been reaped.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        let mut status = 0;
        loop {
            // SAFETY: `status` is a live local.
            let reaped = unsafe { libc::waitpid(self.pid, &raw mut status, libc::__WALL) };
            if reaped < 0 || libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
                return;
            }
        }
    }
}

/// Reads a shared cell until it is `value`.
pub(super) fn await_cell(cell: &AtomicU64, value: u64) {
    while cell.load(Ordering::SeqCst) != value {
        std::thread::yield_now();
    }
}
