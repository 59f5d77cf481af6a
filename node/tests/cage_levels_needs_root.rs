//! Levels through the command line: runs, reports, witnesses, and what becomes of them elsewhere and under attack.
//!
//! Every cage runs inside mount and pid namespaces of the test's own, so that a broken one cannot harm the machine.

use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const NOBODY: u32 = 65_534;
const SCRIPT: &str = "echo $0 $NONCE; busybox head -c 8 /dev/urandom | busybox od -An -tx1; busybox cat";

/// A directory with a root, an image store and what a test writes.
struct Bench {
    dir: TempDir,
    rootless: bool,
}

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn of(output: Output) -> Ran {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
    #[track_caller]
    fn expect(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "stdout {}\nstderr {}", self.stdout, self.stderr);
        self
    }
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {} {}", self.stdout, self.stderr))
    }
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::Builder::new().prefix("levels-test-").tempdir_in("/tmp").expect("a directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("mode");
        let bin = dir.path().join("root/bin");
        fs::create_dir_all(&bin).expect("root");
        fs::copy("/bin/busybox", bin.join("busybox")).expect("a static busybox at /bin/busybox");
        for name in ["home", "out"] {
            fs::create_dir(dir.path().join(name)).expect("dir");
        }
        Bench { dir, rootless: false }
    }
    fn rootless() -> Bench {
        let bench = Bench::new();
        for name in ["home", "out"] {
            chown(bench.dir.path().join(name), Some(NOBODY), Some(NOBODY)).expect("chown");
        }
        // Where the test's user can execute them.
        let own = PathBuf::from(env!("CARGO_BIN_EXE_metanode"));
        for name in ["metanode", "metanode-cage"] {
            fs::copy(own.with_file_name(name), bench.dir.path().join(name)).expect("copy");
        }
        Bench { rootless: true, ..bench }
    }
    fn path(&self, name: &str) -> String {
        self.dir.path().join("out").join(name).display().to_string()
    }
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["-m", "-p", "-f", "--mount-proc", "--propagation", "private", "--kill-child"]);
        if self.rootless {
            command.args(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
            command.arg(self.dir.path().join("metanode"));
        } else {
            command.arg(env!("CARGO_BIN_EXE_metanode"));
        }
        command.args(words).current_dir(self.dir.path().join("out"));
        command.env_clear().env("HOME", self.dir.path().join("home")).env("PATH", "/usr/bin:/bin");
        command.stdin(Stdio::null());
        command
    }
    #[track_caller]
    fn run(&self, words: &[&str]) -> Ran {
        Ran::of(self.command(words).output().expect("unshare runs"))
    }
    /// `cage run` of a shell script below the test's root directory.
    #[track_caller]
    fn script(&self, flags: &[&str], script: &str) -> Ran {
        let root = self.dir.path().join("root").display().to_string();
        let mut words = vec!["cage", "run", "--rootfs", &root];
        words.extend(flags);
        words.extend(["--", "/bin/busybox", "sh", "-c", script]);
        self.run(&words)
    }
    fn report(&self, name: &str) -> Value {
        read(&self.dir.path().join("out").join(name))
    }
    /// An image of the root whose entry point is a shell; its reference.
    fn image(&self) -> String {
        let root = self.dir.path().join("root").display().to_string();
        let packed = ["image", "pack", &root, "--entrypoint", "/bin/busybox", "--entrypoint", "sh"];
        let packed =
            self.run(&[&packed[..], &["--entrypoint", "-c", "--env", "PATH=/bin", "-o", "json"]].concat());
        packed.expect(0).json()["reference"].as_str().expect("a reference").to_owned()
    }
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("written")).expect("json")
}

#[test]
fn every_level_is_reached_and_says_what_it_measured() {
    let bench = Bench::new();
    fs::write(bench.path("in"), "some input\n").expect("written");
    let input = bench.path("in");
    let mut traces = Vec::new();
    for level in ["contained", "pinned", "reproduced", "replayed"] {
        let file = bench.path(level);
        let flags = ["--level", level, "--stdin", &input, "--report", &file, "--env", "NONCE=5f3a"];
        let ran = bench.script(&flags, SCRIPT).expect(0);
        assert!(ran.stdout.contains("5f3a"), "{}", ran.stdout);
        assert!(ran.stdout.ends_with("some input\n"), "{}", ran.stdout);
        assert!(ran.stderr.contains("cannot be verified elsewhere"), "{}", ran.stderr);
        let report = bench.report(level);
        assert_eq!((&report["level"], &report["verdict"]), (&level.into(), &"completed".into()));
        for field in
            ["stdout_digest", "stderr_digest", "output_digest", "cpu_class", "kernel", "usage", "inputs"]
        {
            assert!(!report[field].is_null(), "{level} {field}");
        }
        let said = format!("{:x}", <sha2::Sha256 as sha2::Digest>::digest(ran.stdout.as_bytes()));
        assert_eq!(report["stdout_digest"], said.as_str(), "the digest is that of what was printed");
        assert_eq!(report["downgraded"], serde_json::json!([]));
        traces.push((report["trace_hash"].clone(), report["witness_root"].clone(), ran.stdout));
    }
    assert!(traces[0].0.is_null(), "a contained run has no trace");
    assert_eq!(traces[1], traces[2]);
    assert_eq!(traces[2], traces[3]);
}

#[test]
fn the_seed_matters_only_where_randomness_is_used() {
    let bench = Bench::new();
    let run = |seed: &str, script: &str, name: &str| {
        let file = bench.path(name);
        let ran = bench.script(&["--level", "pinned", "--seed", seed, "--report", &file], script).expect(0);
        (ran.stdout, bench.report(name))
    };
    let random = "busybox head -c 8 /dev/urandom | busybox od -An -tx1";
    let ((one, first), (two, second)) = (run("1", random, "1"), run("2", random, "2"));
    assert_ne!(one, two);
    assert_ne!(first["trace_hash"], second["trace_hash"]);
    assert_eq!(first["seed"], format!("{:064x}", 1).as_str());
    let ((one, _), (two, _)) = (run("1", "echo same", "3"), run("2", "echo same", "4"));
    assert_eq!(one, two);
}

#[test]
fn the_exit_status_is_the_programs_and_125_is_the_cages() {
    let bench = Bench::new();
    bench.script(&["--level", "replayed"], "exit 7").expect(7);
    bench.script(&["--level", "pinned"], "kill -9 $$").expect(137);
    // Host time ended it: that says nothing about the program.
    let spun = bench.script(&["--level", "pinned", "--timeout", "2s"], "while :; do :; done").expect(125);
    assert!(spun.stderr.contains("level pinned is not reached"), "{}", spun.stderr);
    let root = bench.dir.path().join("root").display().to_string();
    bench.run(&["cage", "run", "--rootfs", &root, "--level", "pinned", "--", "/bin/none"]).expect(125);
}

#[test]
fn a_witness_at_its_limit_forfeits_replayed_and_says_so() {
    let bench = Bench::new();
    fs::write(bench.path("in"), vec![b'x'; 300_000]).expect("written");
    let (input, file) = (bench.path("in"), bench.path("report"));
    let flags = ["--level", "replayed", "--stdin", &input, "--witness-limit", "64Ki", "--report", &file];
    let ran = bench.script(&flags, "busybox wc -c").expect(125);
    assert!(ran.stderr.contains("limit"), "{}", ran.stderr);
    let report = bench.report("report");
    assert_eq!(report["level"], "pinned");
    assert!(!report["downgraded"].as_array().expect("reasons").is_empty());
}

#[test]
fn a_report_is_verified_from_its_image_and_every_edit_is_found() {
    let bench = Bench::new();
    let image = bench.image();
    let file = bench.path("report");
    let words = ["cage", "run", "--image", &image, "--level", "reproduced", "--report", &file, "--"];
    bench.run(&[&words[..], &["echo out; echo err >&2; echo file >/written"]].concat()).expect(0);
    bench.run(&["cage", "verify", &file, "--image", &image]).expect(0);
    let good = bench.report("report");
    let other = "0".repeat(64);
    for field in ["stdout_digest", "stderr_digest", "output_digest", "trace_hash", "witness_root"] {
        let mut edited = good.clone();
        edited[field] = other.as_str().into();
        fs::write(bench.path("edited"), edited.to_string()).expect("written");
        let found = bench.run(&["cage", "verify", &bench.path("edited"), "-o", "json"]).expect(1);
        assert_eq!(found.json()["failed"], serde_json::json!([field]));
    }
    let mut edited = good.clone();
    edited["inputs"]["argv"][3] = "echo other".into();
    fs::write(bench.path("edited"), edited.to_string()).expect("written");
    let found = bench.run(&["cage", "verify", &bench.path("edited"), "-o", "json"]).expect(1).json();
    assert!(found["failed"].as_array().expect("fields").contains(&"stdout_digest".into()), "{found}");
    for field in ["cpu_class", "kernel"] {
        let mut elsewhere = good.clone();
        elsewhere[field] = "another".into();
        fs::write(bench.path("edited"), elsewhere.to_string()).expect("written");
        let found = bench.run(&["cage", "verify", &bench.path("edited")]).expect(3);
        assert!(found.stderr.contains("not comparable"), "{}", found.stderr);
    }
}

#[test]
fn a_witness_replays_without_its_inputs_and_a_flipped_byte_is_named() {
    let bench = Bench::new();
    let image = bench.image();
    let (input, witness) = (bench.path("in"), bench.path("witness"));
    fs::write(&input, "recorded\n").expect("written");
    let words =
        ["cage", "run", "--image", &image, "--level", "pinned", "--stdin", &input, "--witness", &witness];
    let ran = bench.run(&[&words[..], &["--", "busybox cat"]].concat()).expect(0);
    fs::remove_file(&input).expect("gone");
    let again = bench.run(&["cage", "replay", &witness]).expect(0);
    assert_eq!((again.stdout.as_str(), ran.stdout.as_str()), ("recorded\n", "recorded\n"));
    assert!(bench.run(&["cage", "inspect", &witness]).expect(0).stdout.contains("stdin"));

    let mut bytes = fs::read(&witness).expect("read");
    let at = bytes.windows(8).position(|window| window == b"recorded").expect("the input is in it");
    bytes[at] ^= 1;
    fs::write(bench.path("flipped"), bytes).expect("written");
    let found = bench.run(&["cage", "inspect", &bench.path("flipped")]).expect(1);
    assert!(found.stderr.contains("chunk") && found.stderr.contains("byte"), "{}", found.stderr);
    bench.run(&["cage", "replay", &bench.path("flipped")]).expect(1);
}

#[test]
fn the_first_difference_of_two_runs_is_named() {
    let bench = Bench::new();
    let (a, b) = (bench.path("a"), bench.path("b"));
    bench.script(&["--level", "pinned", "--witness", &a], "echo one").expect(0);
    bench.script(&["--level", "pinned", "--witness", &b], "echo two").expect(0);
    let found = bench.run(&["cage", "diff", &a, &b]).expect(1);
    assert!(found.stdout.contains("argv"), "{}", found.stdout);
    assert!(found.stdout.contains("first divergent event"), "{}", found.stdout);
    bench.run(&["cage", "diff", &a, &a]).expect(0);
}

#[test]
fn a_run_with_a_network_input_replays_with_the_server_gone() {
    let bench = Bench::new();
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = server.local_addr().expect("bound").port();
    let serve = std::thread::spawn(move || {
        let (mut peer, _) = server.accept().expect("a connection");
        let mut asked = [0; 6];
        peer.read_exact(&mut asked).expect("a question");
        peer.write_all(b"said by the server\n").expect("an answer");
        asked
    });
    let (witness, net) = (bench.path("witness"), format!("record:127.0.0.1:{port}"));
    let script = format!("echo hello | busybox nc 127.0.0.1 {port}");
    let ran = bench.script(&["--level", "pinned", "--net", &net, "--witness", &witness], &script).expect(0);
    assert_eq!(ran.stdout, "said by the server\n");
    assert_eq!(&serve.join().expect("served"), b"hello\n");
    let root = bench.dir.path().join("root").display().to_string();
    let again = bench.run(&["cage", "replay", &witness, "--rootfs", &root]).expect(0);
    assert_eq!(again.stdout, ran.stdout);
}

#[test]
fn an_ordinary_user_reaches_the_levels_with_weaker_walls() {
    let bench = Bench::rootless();
    let file = bench.path("report");
    bench.script(&["--level", "replayed", "--report", &file], "echo rootless").expect(0);
    let report = bench.report("report");
    assert_eq!(report["level"], "replayed");
    assert!(report["weaker"].as_array().expect("weaker").len() > 1, "{report}");
}

#[test]
fn every_forgery_is_detected_by_name() {
    for bench in [Bench::new(), Bench::rootless()] {
        let shown = bench.run(&["security", "tamper-test", "-o", "json"]).expect(0).json();
        assert_eq!(shown["detected"], true);
        let rows = shown["alterations"].as_array().expect("rows");
        let altered: Vec<&str> = rows.iter().filter_map(|row| row["altered"].as_str()).collect();
        let all = ["image layer", "unpacked root", "witness chunk", "report", "receipt", "block"];
        assert_eq!(altered, all);
        assert!(rows.iter().all(|row| row["detected"] == true && row["byte"].is_u64()), "{shown}");
    }
}

#[test]
fn modules_reach_the_same_levels_with_the_same_reports() {
    let bench = Bench::new();
    let wat = r#"(module
      (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 8) "from a module\n")
      (func (export "_start")
        (i32.store (i32.const 0) (i32.const 8)) (i32.store (i32.const 4) (i32.const 14))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))))"#;
    fs::write(bench.path("m.wat"), wat).expect("written");
    let (module, file, witness) = (bench.path("m.wat"), bench.path("report"), bench.path("witness"));
    let words = ["cage", "run", "--wasm", &module, "--level", "replayed", "--report", &file];
    let ran = bench.run(&[&words[..], &["--witness", &witness]].concat()).expect(0);
    assert_eq!(ran.stdout, "from a module\n");
    let mut report = bench.report("report");
    assert_eq!((&report["level"], &report["verdict"]), (&"replayed".into(), &"completed".into()));
    assert!(report["fuel"].as_u64().expect("fuel") > 0);
    bench.run(&["cage", "verify", &file]).expect(0);
    assert_eq!(bench.run(&["cage", "replay", &witness]).expect(0).stdout, "from a module\n");
    report["stdout_digest"] = "0".repeat(64).into();
    fs::write(&file, report.to_string()).expect("written");
    bench.run(&["cage", "verify", &file]).expect(1);
}
