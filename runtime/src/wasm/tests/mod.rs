//! WASI and the cage rules, met by modules that are written here call by call. A `Script` is a sequence of WASI
//! calls; the module it becomes logs every errno to standard error and dumps memory to standard output.

mod ends;
mod files;
mod p2;
mod recorded;

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs::File;
use std::path::PathBuf;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::digest::digest_of;
use crate::error::Error;

/// Every import of preview 1 with its parameters: `i` is i32, `l` is i64. All return an errno except `proc_exit`.
const IMPORTS: [(&str, &str); 46] = [
    ("args_get", "ii"),
    ("args_sizes_get", "ii"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("clock_res_get", "ii"),
    ("clock_time_get", "ili"),
    ("fd_advise", "illi"),
    ("fd_allocate", "ill"),
    ("fd_close", "i"),
    ("fd_datasync", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_fdstat_set_rights", "ill"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "il"),
    ("fd_filestat_set_times", "illi"),
    ("fd_pread", "iiili"),
    ("fd_prestat_get", "ii"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_pwrite", "iiili"),
    ("fd_read", "iiii"),
    ("fd_readdir", "iiili"),
    ("fd_renumber", "ii"),
    ("fd_seek", "ilii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("fd_write", "iiii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiilli"),
    ("path_link", "iiiiiii"),
    ("path_open", "iiiiillii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiiii"),
    ("path_unlink_file", "iii"),
    ("poll_oneoff", "iiii"),
    ("proc_exit", "i"),
    ("proc_raise", "i"),
    ("random_get", "ii"),
    ("sched_yield", ""),
    ("sock_accept", "iii"),
    ("sock_recv", "iiiiii"),
    ("sock_send", "iiiii"),
    ("sock_shutdown", "ii"),
];

const LOG: i64 = 0x1_0000;
const BUFFER: i64 = 0x2_0000;
const OUT: i64 = 64;
const IOVEC: i64 = 32;

const BADF: u8 = 8;
const EXIST: u8 = 20;
const FAULT: u8 = 21;
const ILSEQ: u8 = 25;
const INVAL: u8 = 28;
const ISDIR: u8 = 31;
const LOOP: u8 = 32;
const NOENT: u8 = 44;
const NOSPC: u8 = 51;
const NOSYS: u8 = 52;
const NOTDIR: u8 = 54;
const NOTEMPTY: u8 = 55;
const NOTSOCK: u8 = 57;
const PERM: u8 = 63;
const SPIPE: u8 = 70;
const NOTCAPABLE: u8 = 76;

const CREAT: i64 = 1;
const DIRECTORY: i64 = 2;
const EXCL: i64 = 4;
const TRUNC: i64 = 8;
const ALL: i64 = (1 << 30) - 1;

fn imports() -> String {
    let mut text = String::new();
    for (name, parameters) in IMPORTS {
        let parameters: String = parameters.chars().map(|p| if p == 'i' { " i32" } else { " i64" }).collect();
        let result = if name == "proc_exit" { "" } else { "(result i32)" };
        let _ = writeln!(
            text,
            "(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} (param{parameters}) {result}))"
        );
    }
    text
}

/// A module whose `_start` has this body.
fn module(body: &str) -> String {
    module_with("", body)
}

fn module_with(data: &str, body: &str) -> String {
    let imports = imports();
    format!("(module {imports} (memory (export \"memory\") 4 64) {data} (func (export \"_start\") {body}))")
}

struct Script {
    data: String,
    next: i64,
    body: String,
    calls: i64,
}

impl Script {
    fn new() -> Self {
        Self { data: String::new(), next: 4096, body: String::new(), calls: 0 }
    }

    /// Puts bytes into memory; gives address and length.
    fn text(&mut self, bytes: &[u8]) -> (i64, i64) {
        let hex: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
        let _ = writeln!(self.data, "(data (i32.const {}) \"{hex}\")", self.next);
        let at = self.next;
        self.next += bytes.len() as i64 + 8;
        (at, bytes.len() as i64)
    }

    fn call(&mut self, name: &str, arguments: &[i64]) -> &mut Self {
        let types = IMPORTS.iter().find(|(import, _)| *import == name).expect("an import").1;
        assert_eq!(types.len(), arguments.len(), "{name}");
        let arguments: String = types
            .chars()
            .zip(arguments)
            .map(|(kind, value)| format!("({}.const {value})", if kind == 'i' { "i32" } else { "i64" }))
            .collect();
        let _ =
            writeln!(self.body, "(i32.store8 (i32.const {}) (call ${name} {arguments}))", LOG + self.calls);
        self.calls += 1;
        self
    }

    fn store(&mut self, at: i64, value: i64) -> &mut Self {
        let _ = writeln!(self.body, "(i32.store (i32.const {at}) (i32.const {value}))");
        self
    }

    fn iovec(&mut self, at: i64, length: i64) -> &mut Self {
        self.store(IOVEC, at).store(IOVEC + 4, length)
    }

    fn open(&mut self, path: &[u8], oflags: i64) -> &mut Self {
        let (at, length) = self.text(path);
        self.call("path_open", &[3, 1, at, length, oflags, ALL, ALL, 0, OUT])
    }

    fn path_call(&mut self, name: &str, path: &[u8]) -> &mut Self {
        let (at, length) = self.text(path);
        self.call(name, &[3, at, length])
    }

    fn write(&mut self, fd: i64, bytes: &[u8]) -> &mut Self {
        let (at, length) = self.text(bytes);
        self.iovec(at, length).call("fd_write", &[fd, IOVEC, 1, OUT])
    }

    fn read(&mut self, fd: i64, length: i64) -> &mut Self {
        self.iovec(BUFFER, length).call("fd_read", &[fd, IOVEC, 1, OUT])
    }

    /// Writes memory to standard output, without a log entry.
    fn dump(&mut self, at: i64, length: i64) -> &mut Self {
        self.iovec(at, length);
        let call = format!("(call $fd_write (i32.const 1) (i32.const {IOVEC}) (i32.const 1) (i32.const 48))");
        let _ = writeln!(self.body, "(drop {call})");
        self
    }

    fn wat(&self) -> String {
        let mut text = self.body.clone();
        let _ = writeln!(text, "(i32.store (i32.const {IOVEC}) (i32.const {LOG}))");
        let _ = writeln!(text, "(i32.store (i32.const {}) (i32.const {}))", IOVEC + 4, self.calls);
        let _ = writeln!(
            text,
            "(drop (call $fd_write (i32.const 2) (i32.const {IOVEC}) (i32.const 1) (i32.const 48)))"
        );
        module_with(&self.data, &text)
    }

    fn run(&self) -> Ran {
        Run::new(&self.wat()).go()
    }
}

#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Run {
    module: Vec<u8>,
    spec: WasmSpec,
    stdin: Vec<u8>,
    /// Where the witness goes, and how long it may get.
    record: Option<(PathBuf, u64)>,
}

#[derive(Debug, PartialEq)]
struct Ran {
    outcome: WasmOutcome,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Run {
    fn new(wat: &str) -> Self {
        Self::of(to_binary(wat.as_bytes()).expect("valid text"))
    }

    fn of(module: Vec<u8>) -> Self {
        let spec = WasmSpec {
            module: digest_of(&module),
            args: vec!["prog".into()],
            env: Vec::new(),
            seed: [7; 32],
            epoch_ns: 1_700_000_000_000_000_000,
            files: Vec::new(),
            limits: WasmLimits { fuel: 100_000_000, memory_bytes: 64 << 20, ..WasmLimits::default() },
        };
        Self { module, spec, stdin: Vec::new(), record: None }
    }

    fn witness(&self) -> Option<(File, u64)> {
        self.record.as_ref().map(|(path, limit)| (File::create(path).expect("a new file"), *limit))
    }

    fn try_go(&self) -> crate::Result<Ran> {
        let (stdout, stderr) = (Shared::default(), Shared::default());
        let output = Output {
            stdout: Box::new(stdout.clone()),
            stderr: Box::new(stderr.clone()),
            witness: self.witness(),
            give_up: None,
        };
        let outcome = execute(&self.spec, &self.module, self.stdin.clone(), output)?;
        assert_eq!(outcome.stdout.digest, digest_of(&stdout.0.borrow()));
        assert_eq!(outcome.stderr.bytes, stderr.0.borrow().len() as u64);
        Ok(Ran { outcome, stdout: stdout.0.take(), stderr: stderr.0.take() })
    }

    /// Runs twice: every test is also one of determinism.
    fn go(&self) -> Ran {
        let (one, two) = (self.try_go().expect("a run"), self.try_go().expect("a run"));
        assert_eq!(one, two, "two runs of one spec differ");
        assert_eq!(one.outcome.digest(), two.outcome.digest());
        one
    }

    fn end(&self) -> End {
        self.go().outcome.end
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

#[test]
fn hello_is_written_and_the_run_exits_well() {
    let mut script = Script::new();
    script.write(1, b"hello\n").dump(OUT, 4);
    let ran = script.run();
    assert_eq!(ran.stdout, b"hello\n\x06\0\0\0");
    assert_eq!(ran.stderr, [0]);
    assert_eq!(ran.outcome.end, End::Exited { code: 0 });
    assert!(ran.outcome.fuel_used > 0 && ran.outcome.host_calls == 3);
}

#[test]
fn arguments_and_environment_arrive_as_given() {
    let mut script = Script::new();
    script.call("args_sizes_get", &[OUT, OUT + 4]).dump(OUT, 8);
    script.call("args_get", &[BUFFER, BUFFER + 64]).dump(BUFFER + 64, 13);
    script.call("environ_sizes_get", &[OUT, OUT + 4]).dump(OUT, 8);
    script.call("environ_get", &[BUFFER, BUFFER + 64]).dump(BUFFER, 4).dump(BUFFER + 64, 4);
    let mut run = Run::new(&script.wat());
    run.spec.args = vec!["prog".into(), "two".into(), "\u{e9}".into()];
    run.spec.env = vec!["A=b".into()];
    let ran = run.go();
    assert_eq!(&ran.stdout[..8], [3, 0, 0, 0, 12, 0, 0, 0]);
    assert_eq!(&ran.stdout[8..20], "prog\0two\0\u{e9}\0".as_bytes());
    assert_eq!(&ran.stdout[21..29], [1, 0, 0, 0, 4, 0, 0, 0]);
    assert_eq!(u32_at(&ran.stdout, 29), (BUFFER + 64) as u32);
    assert_eq!(&ran.stdout[33..], b"A=b\0");
    run.spec.args = vec!["a\0b".into()];
    assert!(matches!(run.try_go(), Err(Error::StartModule { .. })));
}

#[test]
fn clocks_are_logical_and_sleeping_jumps() {
    let mut script = Script::new();
    for id in 0..4 {
        script.call("clock_time_get", &[id, 0, OUT]).dump(OUT, 8);
    }
    script.call("clock_time_get", &[4, 0, OUT]).call("clock_res_get", &[1, OUT]).dump(OUT, 8);
    // Sleep for 5 s on the monotonic clock, with a second subscription at 9 s that must not fire.
    script.store(BUFFER, 77).store(BUFFER + 16, 1);
    script.store(BUFFER + 24, 705_032_704).store(BUFFER + 28, 1);
    script.store(BUFFER + 48, 78).store(BUFFER + 64, 1).store(BUFFER + 72, 410_065_408).store(BUFFER + 76, 2);
    script.call("poll_oneoff", &[BUFFER, BUFFER + 256, 2, OUT]).dump(OUT, 4).dump(BUFFER + 256, 32);
    script.call("clock_time_get", &[1, 0, OUT]).dump(OUT, 8);
    let ran = script.run();
    let times: Vec<u64> = (0..4).map(|index| u64_at(&ran.stdout, index * 8)).collect();
    // One microsecond per host call: the clock read, then the dump.
    assert_eq!(times, [1_700_000_000_000_001_000, 3_000, 5_000, 7_000]);
    assert_eq!(u64_at(&ran.stdout, 32), 1_000);
    assert_eq!(u32_at(&ran.stdout, 40), 1, "one event");
    assert_eq!(u64_at(&ran.stdout, 44), 77, "the earlier one");
    assert_eq!(u64_at(&ran.stdout, 52), 0, "without an error, of kind clock");
    assert_eq!(u64_at(&ran.stdout, 76), 5_000_000_000 + 15_000, "the clock jumped over the sleep");
    assert_eq!(ran.stderr, [0, 0, 0, 0, INVAL, 0, 0, 0]);
    assert!(ran.outcome.clock_ns > 5_000_000_000);
}

#[test]
fn randomness_follows_from_the_seed() {
    let mut script = Script::new();
    script
        .call("random_get", &[BUFFER, 40])
        .dump(BUFFER, 40)
        .call("random_get", &[BUFFER, 8])
        .dump(BUFFER, 8);
    let mut run = Run::new(&script.wat());
    let one = run.go();
    run.spec.seed = [8; 32];
    let other = run.go();
    assert_ne!(one.stdout, other.stdout);
    assert_ne!(one.stdout[..8], one.stdout[40..]);
    assert_eq!(one.outcome.fuel_used, other.outcome.fuel_used);
    // RFC 8439 style: ChaCha20 with a zero key begins with these bytes.
    run.spec.seed = [0; 32];
    assert_eq!(hex::encode(&run.go().stdout[..16]), "76b8e0ada0f13d90405d6ae55386bd28");
}

#[test]
fn standard_input_is_read_to_its_end_and_streams_do_not_seek() {
    let mut script = Script::new();
    script.read(0, 3).dump(OUT, 4).dump(BUFFER, 3).read(0, 9).dump(OUT, 4).read(0, 9).dump(OUT, 4);
    script.call("fd_seek", &[0, 0, 0, OUT]).call("fd_tell", &[1, OUT]).write(0, b"x").read(1, 1);
    script
        .call("fd_fdstat_get", &[1, BUFFER])
        .dump(BUFFER, 24)
        .call("fd_prestat_get", &[3, BUFFER])
        .dump(BUFFER, 8);
    script.call("fd_prestat_dir_name", &[3, BUFFER, 1]).dump(BUFFER, 1).call("fd_prestat_get", &[4, BUFFER]);
    let mut run = Run::new(&script.wat());
    run.stdin = b"abcde".to_vec();
    let ran = run.go();
    assert_eq!(ran.stdout[..15], *b"\x03\0\0\0abc\x02\0\0\0\0\0\0\0");
    assert_eq!(ran.stdout[15], 0, "not a terminal");
    assert_eq!(ran.stdout[39..], [0, 0, 0, 0, 1, 0, 0, 0, b'/']);
    assert_eq!(ran.stderr, [0, 0, 0, SPIPE, SPIPE, BADF, BADF, 0, 0, 0, BADF]);
}

#[test]
fn given_files_are_there_and_are_part_of_the_tree() {
    let mut script = Script::new();
    script.open(b"in/data.txt", 0).read(4, 100).dump(BUFFER, 4);
    let mut run = Run::new(&script.wat());
    run.spec.files = vec![NamedFile { path: "/in/data.txt".into(), bytes: b"data".to_vec() }];
    let ran = run.go();
    assert_eq!(ran.stdout, b"data");
    assert_ne!(ran.outcome.tree, Script::new().run().outcome.tree);
    run.spec.files.push(NamedFile { path: "/in".into(), bytes: Vec::new() });
    assert!(matches!(run.try_go(), Err(Error::StartModule { .. })));
}

#[test]
fn what_is_not_supported_says_so_and_wild_pointers_are_faults() {
    let mut script = Script::new();
    script.call("sock_accept", &[1, 0, OUT]).call("sock_shutdown", &[99, 0]).call("proc_raise", &[9]);
    script.call("sched_yield", &[]).call("poll_oneoff", &[0, 0, 0, 0]);
    for call in [
        ("random_get", vec![-8, 16]),
        ("args_sizes_get", vec![-1, 0]),
        ("fd_filestat_get", vec![3, 0x3_fff0]),
        ("fd_write", vec![1, -4, 1, 0]),
        ("poll_oneoff", vec![-48, 0, 2, 0]),
        ("fd_readdir", vec![3, -1, 100, 0, 0]),
    ] {
        script.call(call.0, &call.1);
    }
    script.iovec(-1, -1).call("fd_write", &[1, IOVEC, 1, OUT]).call("fd_write", &[1, IOVEC, -1, OUT]);
    let ran = script.run();
    assert_eq!(ran.stderr[..5], [NOTSOCK, BADF, NOSYS, 0, INVAL]);
    assert_eq!(ran.stderr[5..12], [FAULT; 7]);
    assert_eq!(ran.stderr[12], INVAL);
}

/// Descriptors, addresses at and across every edge, and anything at all.
fn arguments() -> impl Strategy<Value = i64> {
    prop_oneof![
        0..12_i64,
        Just(-1),
        Just(i64::MIN),
        Just(OUT),
        Just(BUFFER),
        4090..4200_i64,
        0x3_ffe0..0x4_0020_i64,
        any::<i64>()
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any call with any arguments returns an errno: it never panics, hangs, or reaches outside.
    #[test]
    fn any_arguments_to_any_call_are_survived(
        calls in prop::collection::vec((0..IMPORTS.len(), prop::collection::vec(arguments(), 9)), 1..12)
    ) {
        let mut script = Script::new();
        script.text(b"some/path/../x");
        script.open(b"some", CREAT).path_call("path_create_directory", b"dir");
        for (import, arguments) in calls {
            let (name, types) = IMPORTS[import];
            if name != "proc_exit" {
                let arguments: Vec<i64> = types.chars().zip(arguments)
                    .map(|(kind, value)| if kind == 'i' { i64::from(value as i32) } else { value }).collect();
                script.call(name, &arguments);
            }
        }
        let ran = script.run();
        prop_assert!(ran.outcome.has_verdict(), "{:?}", ran.outcome.end);
    }
}
