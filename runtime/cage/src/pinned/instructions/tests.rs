//! Real code of this test program, in a real child: found in the running file, trapped, answered.

use std::arch::global_asm;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};

use super::opcode::Opcode;
use super::scan::{FileScan, Verdict};
use super::*;
use crate::pinned::subject::Subject;

// Each function ends in `ud2`, so that the child stops with SIGILL when it gets there. Those with frame descriptions
// are certain to disassembly; `metanode_test_bare` has neither description nor symbol type, and `.Lblob` is data.
global_asm!(
    ".pushsection .text.metanode_test,\"ax\",@progbits",
    ".globl metanode_test_sure, metanode_test_bare, metanode_test_arms, metanode_test_tsc, metanode_test_many",
    ".type metanode_test_sure, @function",
    "metanode_test_sure:",
    ".cfi_startproc",
    "stc",
    "rdrand r9",
    "rdrand ecx",
    "rdrand dx",
    "rdseed r15",
    "rdseed bx",
    "mov rsi, -1",
    "rdpid rsi",
    "mov eax, 0x00f0c70f", // the bytes of `rdrand eax`, as an immediate
    "ud2",
    ".cfi_endproc",
    ".size metanode_test_sure, .-metanode_test_sure",
    ".balign 64, 0xcc",
    "metanode_test_bare:",
    "rdrand eax",
    "rdrand rax",
    "ud2",
    ".balign 64, 0xcc",
    "metanode_test_many:",
    "rdrand eax",
    "rdrand ecx",
    "rdrand edx",
    "rdrand ebx",
    "rdrand esi",
    "ud2",
    ".balign 64, 0xcc",
    ".type metanode_test_arms, @function",
    "metanode_test_arms:", // an arm reached only through a table: open, though it decodes
    ".cfi_startproc",
    "jmp rdi",
    "2: rdrand eax",
    "mov edx, 0x00f8c70f",
    "ud2",
    ".cfi_endproc",
    ".size metanode_test_arms, .-metanode_test_arms",
    ".balign 64, 0xcc",
    ".type metanode_test_tsc, @function",
    "metanode_test_tsc:",
    ".cfi_startproc",
    "mov rdi, 26", // PR_SET_TSC
    "mov rsi, 2",  // PR_TSC_SIGSEGV
    "mov eax, 157",
    "syscall",
    "rdtsc",
    "mov rcx, -1",
    "rdtscp",
    ".byte 0x66, 0x0f, 0x31", // with a prefix that changes nothing
    "ud2",
    ".cfi_endproc",
    ".size metanode_test_tsc, .-metanode_test_tsc",
    ".popsection",
);

unsafe extern "C" {
    fn metanode_test_sure();
    fn metanode_test_bare();
    fn metanode_test_many();
    fn metanode_test_arms();
    fn metanode_test_tsc();
}

fn address(function: unsafe extern "C" fn()) -> u64 {
    function as usize as u64
}

/// The executable mapping of this program that holds `address`: start, length, offset in the file.
fn text_around(address: u64) -> (u64, u64, u64) {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("maps");
    let parse = |text: &str| u64::from_str_radix(text, 16).expect("hexadecimal");
    for line in maps.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (start, end) = fields[0].split_once('-').expect("range");
        let (start, end) = (parse(start), parse(end));
        if (start..end).contains(&address) {
            return (start, end - start, parse(fields[2]));
        }
    }
    panic!("{address:#x} is not mapped");
}

struct Text {
    scan: FileScan,
    start: u64,
    length: u64,
    offset: u64,
}

impl Text {
    fn of_this_program() -> Self {
        let (start, length, offset) = text_around(address(metanode_test_sure));
        let file = File::open("/proc/self/exe").expect("own file");
        let scan = FileScan::new(&file, offset..offset + length).expect("scan");
        assert!(scan.bytes() >= length);
        Self { scan, start, length, offset }
    }

    /// The findings in `count` bytes at `address`, as offsets from it.
    fn at(&self, address: u64, count: u64) -> Vec<(u64, Verdict)> {
        let from = address - self.start + self.offset;
        self.scan.findings(from..from + count).map(|f| (f.at - from, f.verdict)).collect()
    }

    fn mapping<'a>(&'a self, backing: Backing<'a>) -> Mapping<'a> {
        let (start, length) = (self.start, self.length);
        Mapping { start, length, writable: false, shared: false, backing, name: "test" }
    }
}

/// A random stream for tests: 1, 2, 3 in every byte.
fn counting() -> impl FnMut(&mut [u8]) {
    let mut next = 0;
    move |bytes: &mut [u8]| {
        next += 1;
        bytes.fill(next);
    }
}

/// Runs to the next trap, answers it, and returns what was answered.
fn answer(space: &Space, subject: &Subject, random: &mut dyn FnMut(&mut [u8])) -> (Opcode, u64) {
    assert_eq!(subject.run_to_signal(), libc::SIGTRAP);
    let mut regs = subject.regs();
    let answered = at_trap(space, &subject.task(), &mut regs, subject.si_code(), random);
    let Some(Emulated::Answered { opcode, value, .. }) = answered else { panic!("{answered:?}") };
    subject.set_regs(&regs);
    (opcode, value)
}

#[test]
fn functions_with_descriptions_are_confirmed_and_immediates_are_cleared() {
    let text = Text::of_this_program();
    let found = text.at(address(metanode_test_sure), 48);
    use Opcode::{RdPid, RdRand, RdSeed};
    use Verdict::{Cleared, Confirmed};
    let verdicts: Vec<Verdict> = found.iter().map(|f| f.1).collect();
    let rd = [RdRand, RdRand, RdRand, RdSeed, RdSeed, RdPid].map(Confirmed);
    assert_eq!(verdicts, [&rd[..], &[Cleared]].concat(), "{found:?}");
    assert_eq!(found[0].0, 1, "after the one-byte stc, with its REX prefix");
}

#[test]
fn code_without_a_known_boundary_stays_unconfirmed_at_every_possible_start() {
    let text = Text::of_this_program();
    let open = Verdict::Unconfirmed(Opcode::RdRand);
    // `rdrand eax` at 0; `rdrand rax` may start at its REX prefix at 3 or, ignoring that, at 4.
    assert_eq!(text.at(address(metanode_test_bare), 8), [(0, open), (3, open), (4, open)]);
    // The arm of a jump table decodes well, but nothing proves it; its immediate is cleared by the sweep.
    let arms = text.at(address(metanode_test_arms), 12);
    assert_eq!(arms, [(2, open), (5, Verdict::Cleared)]);
}

#[test]
fn confirmed_sites_are_patched_and_answered_from_the_stream() {
    let text = Text::of_this_program();
    let subject = Subject::at(address(metanode_test_sure), 0);
    let mut space = Space::default();
    let mut narrow = text.mapping(Backing::Fresh(&text.scan, text.offset));
    // Only the function's own page, so that unconfirmed ones elsewhere do not matter here.
    narrow.start = address(metanode_test_sure);
    narrow.length = 48;
    narrow.backing = Backing::Fresh(&text.scan, narrow.start - text.start + text.offset);
    let admitted = space.admit(&mut subject.task(), &narrow).expect("admitted");
    assert_eq!((admitted.patched, admitted.watched, admitted.cleared), (6, 0, 1));

    let mut regs = subject.regs();
    (regs.r9, regs.rcx, regs.rdx, regs.r15, regs.rbx) = (u64::MAX, u64::MAX, u64::MAX, u64::MAX, u64::MAX);
    subject.set_regs(&regs);
    let mut random = counting();
    let order =
        [Opcode::RdRand, Opcode::RdRand, Opcode::RdRand, Opcode::RdSeed, Opcode::RdSeed, Opcode::RdPid];
    for (step, expected) in order.into_iter().enumerate() {
        let (opcode, _) = answer(&space, &subject, &mut random);
        assert_eq!(opcode, expected);
        if step == 0 {
            assert_eq!(subject.regs().eflags & 0x8d5, 1, "carry alone");
        }
    }
    assert_eq!(subject.run_to_signal(), libc::SIGILL, "and the code after them runs natively");
    let regs = subject.regs();
    assert_eq!(regs.r9, 0x0101_0101_0101_0101);
    assert_eq!(regs.rcx, 0x0202_0202, "a 32-bit result clears the upper half");
    assert_eq!(regs.rdx, 0xffff_ffff_ffff_0303, "a 16-bit one keeps the rest");
    assert_eq!(regs.r15, 0x0404_0404_0404_0404);
    assert_eq!(regs.rbx, 0xffff_ffff_ffff_0505);
    assert_eq!(regs.rsi, 0, "processor 0");
    assert_eq!(regs.rax, 0x00f0_c70f, "the immediate was never touched");
}

#[test]
fn a_trap_that_is_not_ours_is_left_to_the_program() {
    let subject = Subject::at(address(metanode_test_sure), 0);
    let mut regs = subject.regs();
    let before = regs.rip;
    assert_eq!(at_trap(&Space::default(), &subject.task(), &mut regs, 0x80, &mut counting()), None);
    assert_eq!(regs.rip, before);
}

#[test]
fn unconfirmed_sites_are_watched_by_debug_registers() {
    let text = Text::of_this_program();
    let subject = Subject::at(address(metanode_test_bare), 0);
    let mut space = Space::default();
    let start = address(metanode_test_bare);
    let backing = Backing::Fresh(&text.scan, start - text.start + text.offset);
    let mapping = Mapping { start, length: 8, writable: false, shared: false, backing, name: "test" };
    let admitted = space.admit(&mut subject.task(), &mapping).expect("admitted");
    assert_eq!((admitted.patched, admitted.watched), (0, 3));
    if let Err(error) = space.arm(&mut subject.task()) {
        println!("SKIPPED: this kernel gives a tracer no debug registers: {error}");
        return;
    }
    let mut random = counting();
    assert_eq!(answer(&space, &subject, &mut random), (Opcode::RdRand, 0x0101_0101));
    assert_eq!(answer(&space, &subject, &mut random), (Opcode::RdRand, 0x0202_0202_0202_0202));
    assert_eq!(subject.run_to_signal(), libc::SIGILL);
    assert_eq!(subject.regs().rax, 0x0202_0202_0202_0202);
    let mut bytes = [0; 3];
    subject.read(start, &mut bytes);
    assert_eq!(bytes, [0x0f, 0xc7, 0xf0], "no byte was changed");
}

#[test]
fn more_unconfirmed_sites_than_debug_registers_are_refused_by_place() {
    let text = Text::of_this_program();
    let subject = Subject::at(address(metanode_test_many), 0);
    let start = address(metanode_test_many);
    let offset = start - text.start + text.offset;
    let backing = Backing::Fresh(&text.scan, offset);
    let mapping = Mapping { start, length: 16, writable: false, shared: false, backing, name: "lib.so" };
    let refusal = Space::default().admit(&mut subject.task(), &mapping).expect_err("five of them");
    let place = format!("E_UNTRAPPED_INSTRUCTION rdrand at lib.so+{:#x}", offset + 12);
    assert_eq!(refusal.to_string(), place);
}

#[test]
fn memory_of_no_file_is_scanned_where_it_lies_and_never_patched() {
    let subject = Subject::at(address(metanode_test_bare), 0);
    let start = address(metanode_test_sure);
    let mapping = Mapping {
        start,
        length: 48,
        writable: true,
        shared: true,
        backing: Backing::Unknown,
        name: "anonymous memory",
    };
    // Every prefix of the first two is a start of its own, which leaves none for the third.
    let refusal = Space::default().admit(&mut subject.task(), &mapping).expect_err("too many");
    assert!(refusal.to_string().starts_with("E_UNTRAPPED_INSTRUCTION rdrand at anonymous memory+0x"));
    let short = Mapping { length: 8, ..mapping };
    let file = Text::of_this_program();
    let known = Backing::Touched(&file.scan, start - file.start + file.offset);
    let shared = Space::default().admit(&mut subject.task(), &Mapping { backing: known, ..short.clone() });
    let shared = shared.expect("admitted");
    assert_eq!(
        (shared.patched, shared.watched),
        (0, 2),
        "shared memory is not written to, whatever is known"
    );
    let mut space = Space::default();
    let admitted = space.admit(&mut subject.task(), &short).expect("admitted");
    assert_eq!((admitted.patched, admitted.watched), (0, 3));
    assert_eq!(admitted.weaker, [Weaker::WritableCode, Weaker::SharedCode]);
    // Made executable once more, unchanged: nothing new; replaced: forgotten.
    assert_eq!(space.admit(&mut subject.task(), &short).expect("admitted").watched, 0);
    assert!(space.has_watches());
    let empty = FileScan::default();
    space
        .admit(&mut subject.task(), &Mapping { backing: Backing::Fresh(&empty, 0), ..short })
        .expect("admitted");
    assert!(!space.has_watches());
}

#[test]
fn text_that_may_have_been_written_to_is_compared_with_its_file() {
    let text = Text::of_this_program();
    let subject = Subject::at(address(metanode_test_sure), 0);
    let start = address(metanode_test_sure);
    let backing = Backing::Touched(&text.scan, start - text.start + text.offset);
    let mapping = Mapping { start, length: 48, writable: false, shared: false, backing, name: "test" };
    let mut space = Space::default();
    let admitted = space.admit(&mut subject.task(), &mapping).expect("admitted");
    assert_eq!((admitted.patched, admitted.watched, admitted.cleared), (6, 0, 1));
    // A fork has the patched memory and the table; the same text once more adds nothing.
    let mut forked = space.clone();
    let again = forked.admit(&mut subject.task(), &mapping).expect("admitted");
    assert_eq!((again.patched, again.watched), (0, 0));
    assert!(forked.patched(start + 1).is_some());
    // The program overwrites the first site: the table forgets it.
    for at in 1..5 {
        subject.task().poke_text(start + at, 0x90).expect("poke");
    }
    forked.admit(&mut subject.task(), &mapping).expect("admitted");
    assert!(forked.patched(start + 1).is_none());
    assert!(forked.patched(start + 5).is_some());
}

#[test]
fn time_stamps_come_from_the_logical_clock() {
    let subject = Subject::at(address(metanode_test_tsc), 0);
    let clock = 0x1234_5678_9abc_def0;
    let read = |tick: u64| {
        assert_eq!(subject.run_to_signal(), libc::SIGSEGV);
        let mut regs = subject.regs();
        let mut bytes = [0; 15];
        let length = subject.read(regs.rip, &mut bytes);
        emulate_tsc(&mut regs, &bytes[..length], clock + tick).expect("a time stamp");
        subject.set_regs(&regs);
        regs
    };
    let first = read(0);
    assert_eq!((first.rdx, first.rax), (0x1234_5678, 0x9abc_def0));
    let second = read(1);
    assert_eq!((second.rax, second.rcx), (0x9abc_def1, 0), "and processor 0");
    assert_eq!(read(2).rax, 0x9abc_def2);
    assert_eq!(subject.run_to_signal(), libc::SIGILL);
}

#[test]
fn other_faults_are_not_taken_for_time_stamps() {
    // SAFETY: an all-zero value of this plain structure is valid.
    let mut regs: crate::sys::ptrace::Registers = unsafe { std::mem::zeroed() };
    regs.cs = 0x33;
    for bytes in [&[0x0f, 0x31][..], &[0x0f], &[], &[0xf0, 0x0f, 0x31], &[0x8b, 0x00], &[0x0f, 0x01, 0xfd]] {
        let mut copy = regs;
        let expected = (bytes == [0x0f, 0x31]).then_some(());
        assert_eq!(emulate_tsc(&mut copy, bytes, 7), expected, "{bytes:x?}");
        assert_eq!(copy.rip, if expected.is_some() { 2 } else { 0 });
    }
    regs.cs = 0x23; // 32-bit code: the same bytes would be another program's business
    assert_eq!(emulate_tsc(&mut regs, &[0x0f, 0x31], 7), None);
}

#[test]
fn a_malformed_file_yields_findings_or_errors_but_no_panic() {
    let original = std::fs::read("/proc/self/exe").expect("own file");
    let text = Text::of_this_program();
    let sites: Vec<u64> = text.scan.findings(0..u64::MAX).map(|f| f.at).collect();
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut data = original.clone();
    let header = 64 + 56 * 16;
    let (mut parsed, mut found) = (0, 0);
    for _ in 0..2000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = (random >> 33) as usize % header;
        let old = std::mem::replace(&mut data[at], (random >> 20) as u8);
        if let Some(bounds) = bounds::Bounds::parse(&data[..]) {
            parsed += 1;
            found += sites.iter().filter_map(|s| bounds.named(bounds.address_of(*s)?)).count();
        }
        data[at] = old;
    }
    assert!(parsed > 0 && found > 0, "{parsed} parsed, {found} functions");
    for length in (0..original.len()).step_by(original.len() / 50) {
        if let Some(bounds) = bounds::Bounds::parse(&original[..length]) {
            let _ = sites.iter().filter_map(|s| bounds.named(bounds.address_of(*s)?)).count();
        }
    }
}

#[test]
fn a_match_on_the_seam_of_two_reads_is_found_once() {
    let mut file = tempfile::tempfile().expect("file");
    let mut data = vec![0u8; 600 << 10];
    for seam in [(256 << 10) - 1, (512 << 10) - 3, (600 << 10) - 3] {
        data[seam..seam + 3].copy_from_slice(&[0x0f, 0xc7, 0xf1]);
    }
    file.write_all(&data).expect("write");
    let scan = FileScan::new(&file, 0..u64::MAX).expect("scan");
    let found: Vec<u64> = scan.findings(0..u64::MAX).map(|f| f.at).collect();
    assert_eq!(found, [(256 << 10) - 1, (512 << 10) - 3, (600 << 10) - 3]);
}

#[test]
fn the_cache_scans_a_range_when_it_is_first_mapped_and_a_changing_file_every_time() {
    let mut file = tempfile::tempfile().expect("file");
    let mut data = vec![0u8; 3 * 4096];
    data[9000..9003].copy_from_slice(&[0x0f, 0xc7, 0xf1]);
    file.write_all(&data).expect("write");
    let mut cache = ScanCache::default();
    let mut count = |file: &File, range| cache.scan(file, range).expect("scan").findings(0..u64::MAX).count();
    // Fresh from being written, it is scanned anew, so that the next change is seen although no clock tells it.
    assert_eq!(count(&file, 0..12288), 1);
    file.seek(SeekFrom::Start(100)).expect("seek");
    file.write_all(&[0x0f, 0xc7, 0xf2]).expect("write");
    assert_eq!(count(&file, 0..12288), 2);
    // This program's own file does not change any more, and is remembered by range.
    let own = File::open("/proc/self/exe").expect("own file");
    let text = text_around(address(metanode_test_sure));
    let some = count(&own, 0..4096);
    assert!(some >= 7, "executable segments are covered at once: {some}");
    assert_eq!(count(&own, text.2..text.2 + text.1), some);
}

#[test]
fn the_system_libcrypto_has_confirmed_sites_and_no_open_ones() {
    let path = "/usr/lib/x86_64-linux-gnu/libcrypto.so.3";
    let Ok(file) = File::open(path) else {
        println!("SKIPPED: no {path}");
        return;
    };
    let scan = FileScan::new(&file, 0..0).expect("scan");
    let count =
        |wanted: fn(&Verdict) -> bool| scan.findings(0..u64::MAX).filter(|f| wanted(&f.verdict)).count();
    let confirmed = count(|v| matches!(v, Verdict::Confirmed(_)));
    let cleared = count(|v| matches!(v, Verdict::Cleared));
    let open = count(|v| matches!(v, Verdict::Unconfirmed(_)));
    println!(
        "{path}: {confirmed} confirmed, {cleared} cleared, {open} unconfirmed in {} bytes",
        scan.bytes()
    );
    assert!(confirmed >= 2, "one loop for each instruction");
    assert!(open <= 4, "and what is left can be watched");
}
