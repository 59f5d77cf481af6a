//! Attempts below the system call table: other ways into the kernel, other architectures, privileged instructions.
//!
//! Owns these attempts. Most end in a signal, which is their answer.

use std::arch::asm;

use crate::Attempt;
use crate::answer::{expect, io_result};

/// `getpid` of the 32-bit table.
fn int80_getpid() -> i64 {
    let result: i64;
    unsafe { asm!("int 0x80", inlateout("rax") 20i64 => result) };
    result
}

/// `mount` of the 32-bit table, whose number is another call's in the 64-bit one.
fn int80_mount() -> i64 {
    let result: i64;
    unsafe {
        asm!("push rbx", "xor ebx, ebx", "int 0x80", "pop rbx", inlateout("rax") 21i64 => result,
            in("rcx") 0, in("rdx") 0);
    }
    result
}

/// The third door: defined on some processors in 64-bit mode, an invalid instruction on others.
fn sysenter() -> i64 {
    let result: i64;
    unsafe { asm!("sysenter", inlateout("rax") 20i64 => result) };
    result
}

/// Leaves 64-bit mode by a far return into the 32-bit code segment and calls from there.
fn compat_mode() -> i64 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
    let all = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    unsafe {
        let page = libc::mmap(std::ptr::null_mut(), 8192, all, flags, -1, 0);
        if page == libc::MAP_FAILED {
            return io_result::<()>(Err(std::io::Error::last_os_error()));
        }
        // mov eax, 20; syscall (on this side of the mode switch: the 32-bit table); ud2
        let code = [0xb8, 20, 0, 0, 0, 0x0f, 0x05, 0x0f, 0x0b];
        std::ptr::copy_nonoverlapping(code.as_ptr(), page.cast::<u8>(), code.len());
        asm!("mov rsp, {stack}", "push 0x23", "push {code}", "retfq",
            stack = in(reg) page as u64 + 8192, code = in(reg) page as u64, options(noreturn));
    }
}

/// The page at a fixed address that old programs call for the time.
const VSYSCALL: u64 = 0xffff_ffff_ff60_0000;

/// `gettimeofday` through it: an allowed call that the filter sees like any other, so it must agree with the clock.
fn vsyscall_time() -> i64 {
    let mut time = [0i64; 2];
    let result: i64;
    unsafe {
        asm!("call {entry}", entry = in(reg) VSYSCALL, in("rdi") time.as_mut_ptr(), in("rsi") 0,
            lateout("rax") result, out("rcx") _, out("r11") _);
    }
    let mut now: libc::timespec = unsafe { std::mem::zeroed() };
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now) };
    expect(result == 0 && (now.tv_sec - time[0]).abs() <= 5)
}

/// Reads the page: gadgets at a fixed address, if it could be read.
fn vsyscall_read() -> i64 {
    unsafe { std::ptr::read_volatile(VSYSCALL as *const u8) }.into()
}

/// Jumps into the middle of the page, past its entry.
fn vsyscall_middle() -> i64 {
    unsafe { asm!("call {entry}", entry = in(reg) VSYSCALL + 9, clobber_abi("sysv64")) };
    0
}

fn x32(number: i64) -> i64 {
    call!(0x4000_0000 | number, 0, 0, 0, 0, 0)
}

macro_rules! instruction {
    ($text:literal) => {
        || {
            unsafe { asm!($text, out("rax") _, out("rcx") _, out("rdx") _) };
            0
        }
    };
}

pub(crate) const LIST: &[(&str, Attempt)] = &[
    ("int80_getpid", int80_getpid),
    ("int80_mount", int80_mount),
    ("sysenter", sysenter),
    ("compat_mode", compat_mode),
    ("vsyscall_time", vsyscall_time),
    ("vsyscall_read", vsyscall_read),
    ("vsyscall_middle", vsyscall_middle),
    ("x32_getpid", || x32(libc::SYS_getpid)),
    ("x32_mount", || x32(libc::SYS_mount)),
    ("x32_ptrace", || x32(521)),
    ("x32_execve", || x32(520)),
    ("read_msr", instruction!("mov ecx, 0x10; rdmsr")),
    ("write_msr", instruction!("mov ecx, 0x10; xor eax, eax; xor edx, edx; wrmsr")),
    ("port_in", instruction!("mov edx, 0x60; in al, dx")),
    ("port_out", instruction!("mov edx, 0x80; xor eax, eax; out dx, al")),
    ("interrupts_off", instruction!("cli")),
    ("halt", instruction!("hlt")),
    ("control_register", instruction!("mov rax, cr0")),
    ("performance_counter", instruction!("xor ecx, ecx; rdpmc")),
];
