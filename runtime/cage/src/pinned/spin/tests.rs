//! Real loops in a real child, stopped at arbitrary moments of host time: whatever the moment, one outcome.

use std::arch::global_asm;
use std::sync::atomic::Ordering::SeqCst;

use super::*;
use crate::pinned::subject::{Shared, Subject, await_cell};

// RDI points at a shared page: cell 0 ends the wait, cell 1 is written, cell 2 says that the loop was reached. Each
// program ends with `ud2` (SIGILL).
global_asm!(
    ".pushsection .text.metanode_spins,\"ax\",@progbits",
    "metanode_spin_load:", // while (*p == 0);
    "mov qword ptr [rdi + 16], 1",
    "2: cmp qword ptr [rdi], 0",
    "je 2b",
    "ud2",
    "metanode_spin_lock:", // pthread_spin_lock
    "mov qword ptr [rdi + 16], 1",
    "2: mov eax, 1",
    "lock xchg dword ptr [rdi], eax",
    "test eax, eax",
    "je 4f",
    "3: pause",
    "cmp dword ptr [rdi], 0",
    "jne 3b",
    "jmp 2b",
    "4: ud2",
    "metanode_spin_trylock:", // while (trylock(p)); the lock word is exchanged, the stack is written
    "mov qword ptr [rdi + 16], 1",
    "2: call 5f",
    "test eax, eax",
    "jne 2b",
    "call 6f",
    "ud2",
    "5: push rbx",
    "call 6f",
    "mov eax, 1",
    "lock xchg dword ptr [rdi], eax",
    "pop rbx",
    "ret",
    "6: push rdi",
    "lea rcx, [rip + metanode_spin_lock]",
    "mov rdx, qword ptr [rcx]",
    "pop rdi",
    "ret",
    "metanode_spin_toggle:", // the same registers twice a round, with memory 0 and 1
    "mov qword ptr [rdi + 16], 1",
    "2: xor qword ptr [rdi + 8], 1",
    "cmp qword ptr [rdi], 0",
    "je 2b",
    "ud2",
    "metanode_spin_vector:", // the same registers twice a round, with XMM0 0 and not
    "mov qword ptr [rdi + 16], 1",
    "pcmpeqd xmm1, xmm1",
    "2: pxor xmm0, xmm1",
    "cmp qword ptr [rdi], 0",
    "je 2b",
    "ud2",
    "metanode_spin_modular:", // a counter that wraps at 8
    "mov qword ptr [rdi + 16], 1",
    "2: inc rbx",
    "and rbx, 7",
    "cmp qword ptr [rdi], 0",
    "je 2b",
    "ud2",
    "metanode_spin_string:", // fills the same memory again and again
    "mov qword ptr [rdi + 16], 1",
    "mov rbx, rdi",
    "2: lea rdi, [rbx + 64]",
    "mov ecx, 40",
    "xor eax, eax",
    "rep stosb",
    "cmp qword ptr [rbx], 0",
    "je 2b",
    "ud2",
    "metanode_count_register:",
    "mov qword ptr [rdi + 16], 1",
    "2: inc rax",
    "cmp qword ptr [rdi], 0",
    "je 2b",
    "ud2",
    "metanode_count_memory:", // only a byte in memory tells the rounds apart
    "mov qword ptr [rdi + 16], 1",
    "2: inc qword ptr [rdi + 8]",
    "cmp qword ptr [rdi], 0",
    "je 2b",
    "ud2",
    "metanode_count_vector:", // only a vector register does
    "mov qword ptr [rdi + 16], 1",
    "pcmpeqd xmm1, xmm1",
    "2: paddq xmm0, xmm1",
    "cmp qword ptr [rdi], 0",
    "je 2b",
    "ud2",
    "metanode_count_then_spin:",
    "mov ebx, 3000",
    "mov qword ptr [rdi + 16], 1",
    "2: dec ebx",
    "jne 2b",
    "3: cmp qword ptr [rdi], 0",
    "je 3b",
    "ud2",
    "metanode_calls:",
    "mov qword ptr [rdi + 16], 1",
    "2: mov eax, 39",
    "syscall",
    "jmp 2b",
    "metanode_flags:", // would see the trap flag
    "mov qword ptr [rdi + 16], 1",
    "2: pushfq",
    "pop rax",
    "jmp 2b",
    "metanode_times:",
    "mov qword ptr [rdi + 16], 1",
    "2: rdtsc",
    "jmp 2b",
    "metanode_gathers:", // fxsave: 512 bytes that are not modelled
    "mov qword ptr [rdi + 16], 1",
    "2: fxsave64 [rdi + 512]",
    "jmp 2b",
    "metanode_faults:",
    "xor eax, eax",
    "mov qword ptr [rax], rax",
    "ud2",
    ".popsection",
);

macro_rules! programs {
    ($($name:ident),* $(,)?) => {
        unsafe extern "C" { $(fn $name();)* }
    };
}

programs!(
    metanode_spin_load,
    metanode_spin_lock,
    metanode_spin_trylock,
    metanode_spin_toggle,
    metanode_spin_vector,
    metanode_spin_modular,
    metanode_spin_string,
    metanode_count_register,
    metanode_count_memory,
    metanode_count_vector,
    metanode_count_then_spin,
    metanode_calls,
    metanode_flags,
    metanode_times,
    metanode_gathers,
    metanode_faults,
);

type Program = unsafe extern "C" fn();

/// Starts `program` with cell 0 holding `wait`, lets it burn for about `burn` turns of a host loop, and stops it.
fn stopped(program: Program, page: &Shared, wait: u64, burn: u64) -> Subject {
    for (index, value) in [(0, wait), (1, 0), (2, 0)] {
        page.cell(index).store(value, SeqCst);
    }
    let subject = Subject::at(program as usize as u64, page.address());
    subject.cont();
    await_cell(page.cell(2), 1);
    for _ in 0..burn {
        std::hint::spin_loop();
    }
    subject.interrupt();
    subject
}

/// All of a state that a program could see: registers, extended registers, the shared page.
fn visible(subject: &Subject, page: &Shared) -> (String, Vec<u8>, Vec<u64>) {
    let mut regs = subject.regs();
    regs.orig_rax = 0;
    let mut extended = subject.extended();
    extended[6..24].fill(0);
    extended[512..520].fill(0);
    (format!("{regs:?}"), extended, (0..80).map(|i| page.cell(i).load(SeqCst)).collect())
}

/// Stops `program` at many moments and demands one period and one state; then frees it.
fn expect_spin(program: Program, wait: u64, free: u64, period: u64) {
    let page = Shared::new();
    let mut states = Vec::new();
    for burn in (0..12).map(|i| i * i * 977) {
        let subject = stopped(program, &page, wait, burn);
        let spin = match examine(&mut subject.task(), STEPS).expect("examined") {
            Examination::Spinning(spin) => spin,
            other => panic!("burn {burn}: {other:?}"),
        };
        assert_eq!(spin.period, period);
        assert!(spin.holds(&subject.task()));
        let state = visible(&subject, &page);
        // Examined once more, from the least state: it is found again, and left in the same state.
        let again = examine(&mut subject.task(), STEPS).expect("examined");
        assert!(matches!(again, Examination::Spinning(s) if s.period == period));
        assert!(visible(&subject, &page) == state);
        page.cell(0).store(free, SeqCst);
        assert!(!spin.holds(&subject.task()), "its cell has changed");
        assert_eq!(subject.run_to_signal(), libc::SIGILL, "and it goes on");
        states.push(state);
    }
    let differing = states.windows(2).filter(|w| w[0] != w[1]);
    let differing: Vec<_> =
        differing.map(|w| (&w[0].0, &w[1].0, w[0].1 == w[1].1, w[0].2 == w[1].2)).collect();
    assert!(differing.is_empty(), "{differing:#?}");
}

/// Stops `program` at some moments and demands that it is not taken for a spin; then frees it.
fn expect_progress(program: Program) {
    let page = Shared::new();
    for burn in [0, 5000, 60_000] {
        let subject = stopped(program, &page, 0, burn);
        let found = examine(&mut subject.task(), 3000).expect("examined");
        assert!(matches!(found, Examination::Progressing), "{found:?}");
        page.cell(0).store(1, SeqCst);
        assert_eq!(subject.run_to_signal(), libc::SIGILL);
    }
}

#[test]
fn a_load_loop_is_a_spin() {
    expect_spin(metanode_spin_load, 0, 1, 2);
}

#[test]
fn a_held_spin_lock_is_a_spin() {
    expect_spin(metanode_spin_lock, 1, 0, 3);
}

#[test]
fn a_failing_trylock_that_writes_lock_and_stack_is_a_spin() {
    expect_spin(metanode_spin_trylock, 1, 0, 14);
}

#[test]
fn states_alike_in_registers_are_told_apart_by_memory() {
    expect_spin(metanode_spin_toggle, 0, 1, 6);
}

#[test]
fn states_alike_in_registers_are_told_apart_by_vectors() {
    expect_spin(metanode_spin_vector, 0, 1, 6);
}

#[test]
fn a_wrapping_counter_is_a_spin_of_all_its_rounds() {
    expect_spin(metanode_spin_modular, 0, 1, 32);
}

#[test]
fn repeated_string_stores_are_stepped_one_by_one() {
    expect_spin(metanode_spin_string, 0, 1, 3 + 40 + 2);
}

#[test]
fn counters_in_registers_memory_and_vectors_are_progress() {
    expect_progress(metanode_count_register);
    expect_progress(metanode_count_memory);
    expect_progress(metanode_count_vector);
}

#[test]
fn a_spin_is_found_after_the_work_before_it() {
    let page = Shared::new();
    let early = || {
        let subject = Subject::at(metanode_count_then_spin as *const () as u64, page.address());
        page.cell(0).store(0, SeqCst);
        subject
    };
    let subject = early();
    let found = examine(&mut subject.task(), 1000).expect("examined");
    assert!(matches!(found, Examination::Progressing), "still counting: {found:?}");
    subject.cont();
    await_cell(page.cell(2), 1);
    subject.interrupt();
    let found = examine(&mut subject.task(), STEPS).expect("examined");
    assert!(matches!(found, Examination::Spinning(ref s) if s.period == 2), "{found:?}");
    let late = visible(&subject, &page);
    // Walked into from the beginning, it is left in the same state.
    let subject = early();
    let found = examine(&mut subject.task(), STEPS).expect("examined");
    assert!(matches!(found, Examination::Spinning(ref s) if s.period == 2), "{found:?}");
    assert!(visible(&subject, &page) == late);
}

#[test]
fn what_cannot_be_judged_is_not_stepped() {
    let page = Shared::new();
    let cases: [(Program, Why); 4] = [
        (metanode_calls, Why::Impure),
        (metanode_flags, Why::Impure),
        (metanode_times, Why::Impure),
        (metanode_gathers, Why::Unmodelled),
    ];
    for (program, why) in cases {
        let subject = Subject::at(program as usize as u64, page.address());
        let found = examine(&mut subject.task(), STEPS).expect("examined");
        assert!(matches!(found, Examination::NotRecognised(w) if w == why), "{found:?}");
        let mut code = [0; 2];
        subject.read(subject.regs().rip, &mut code);
        let first = [[0x0f, 0x05], [0x9c, 0x58], [0x0f, 0x31], [0x48, 0x0f]];
        assert!(first.contains(&code), "left before it: {code:x?}");
    }
}

#[test]
fn faults_signals_and_calls_are_handed_to_the_caller() {
    let page = Shared::new();
    let subject = Subject::at(metanode_faults as *const () as u64, page.address());
    let found = examine(&mut subject.task(), STEPS).expect("examined");
    let Examination::Stopped(status) = found else { panic!("{found:?}") };
    assert_eq!(libc::WSTOPSIG(status), libc::SIGSEGV);

    let subject = stopped(metanode_spin_load, &page, 0, 0);
    // SAFETY: plain integers; the child is ours.
    unsafe { libc::kill(subject.pid, libc::SIGUSR1) };
    let found = examine(&mut subject.task(), STEPS).expect("examined");
    let Examination::Stopped(status) = found else { panic!("{found:?}") };
    assert_eq!(libc::WSTOPSIG(status), libc::SIGUSR1);

    let mut regs = subject.regs();
    (regs.orig_rax, regs.rax) = (34, -514i64 as u64); // `pause`, to be restarted
    subject.set_regs(&regs);
    let found = examine(&mut subject.task(), STEPS).expect("examined");
    assert!(matches!(found, Examination::NotRecognised(Why::InCall)), "{found:?}");
}
