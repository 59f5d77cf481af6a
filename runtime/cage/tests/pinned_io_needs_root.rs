//! Waits, bytes, sockets, locks and timers of a pinned cage: what programs see, and that they see the same again, on an
//! idle machine and on a busy one; and connections outside, recorded and replayed with the other side gone.

mod common;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use common::{Bench, Ran};
use metanode_cage::{Exit, Level, Root, Verdict};

const PYTHON: &str = "/usr/bin/python3";

/// Keeps both processors busy until it is dropped.
struct Load {
    stop: Arc<AtomicBool>,
    burners: Vec<JoinHandle<()>>,
}

impl Load {
    fn new() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let burner = || {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        };
        let burners = (0..2).map(|_| burner()).collect();
        Self { stop, burners }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for burner in self.burners.drain(..) {
            let _ = burner.join(); // it has nothing to tell
        }
    }
}

fn present(program: &str) -> bool {
    let there = Path::new(program).exists();
    if !there {
        println!("skipped: this machine has no {program}");
    }
    there
}

/// A pinned cage over the machine's own root.
fn bench(argv: &[&str]) -> Bench {
    let mut bench = Bench::new();
    let spec = &mut bench.spec;
    spec.root = Root::Dir { path: "/".into() };
    spec.env = vec!["PATH=/usr/bin:/bin".into(), "LANG=C.UTF-8".into(), "HOME=/tmp".into()];
    spec.cwd = "/tmp".into();
    pin(&mut bench, argv);
    bench
}

fn pin(bench: &mut Bench, argv: &[&str]) {
    let spec = &mut bench.spec;
    spec.level = Level::Pinned;
    spec.argv = argv.iter().map(|word| (*word).to_owned()).collect();
    spec.limits.memory_bytes = 1 << 30;
    spec.limits.tmpfs_bytes = 256 << 20;
    spec.limits.output_bytes = 32 << 20;
    spec.limits.wall_ms = 240_000;
}

fn completed(ran: Ran) -> Ran {
    assert_eq!(ran.report.verdict, Verdict::Completed, "{} {}", ran.stderr, ran.message);
    assert_eq!(ran.report.exit, Exit::Code(0), "{}{}", ran.stdout, ran.stderr);
    ran
}

/// Runs twice idle and twice under load; all must be the same. The first.
fn repeated(bench: &Bench) -> Ran {
    let first = completed(bench.run());
    let same = |ran: &Ran, when: &str| {
        assert_eq!(ran.stdout, first.stdout, "{when}");
        assert_eq!(ran.report.stdout_digest, first.report.stdout_digest, "{when}");
        assert_eq!(ran.report.trace_hash, first.report.trace_hash, "{when}: {}", first.stdout);
        assert_eq!(ran.report.logical_ns, first.report.logical_ns, "{when}");
    };
    same(&completed(bench.run()), "idle");
    let load = Load::new();
    for _ in 0..2 {
        same(&completed(bench.run()), "under load");
    }
    drop(load);
    first
}

fn python(program: &str) -> Bench {
    bench(&[PYTHON, "-c", program])
}

/// Compiles a C program into the root that only tests have.
fn compiled(bench: &Bench, name: &str) -> Option<()> {
    if !present("/usr/bin/gcc") {
        return None;
    }
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(format!("{name}.c"));
    let target = bench.root().join("bin").join(name);
    let mut gcc = Command::new("/usr/bin/gcc");
    let gcc = gcc.args(["-O1", "-w", "-static", "-o"]).arg(&target).arg(&source).output().expect("gcc runs");
    assert!(gcc.status.success(), "{}", String::from_utf8_lossy(&gcc.stderr));
    Some(())
}

#[test]
fn waits_of_every_kind_end_as_the_kernel_would_end_them() {
    let mut bench = Bench::new();
    if compiled(&bench, "waiting").is_none() {
        return;
    }
    pin(&mut bench, &["/bin/waiting"]);
    let ran = repeated(&bench);
    assert_eq!(ran.stdout, include_str!("programs/waiting.expected"));
}

#[test]
fn the_network_within_a_cage_repeats() {
    if !present(PYTHON) {
        return;
    }
    let ran = repeated(&python(include_str!("programs/network.py")));
    let line = |lead: &str| ran.stdout.lines().find(|l| l.starts_with(lead)).unwrap_or_default().to_owned();
    assert!(line("crowd").contains("(7, b'm7m7', "), "{}", ran.stdout);
    assert_eq!(line("small writes"), "small writes b'x0x1x2x3x4' ('127.0.0.1', 32777)");
    assert_eq!(line("timeout"), "timeout 0.7");
    assert_eq!(line("receive time limit"), "receive time limit 2.0");
    assert!(line("elsewhere ('192.0.2.1', 80)").ends_with("Network is unreachable"), "{}", ran.stdout);
    assert_eq!(line("descriptor"), "descriptor b'through a passed descriptor'");
    assert_eq!(line("all"), "all b'abcd'");
    assert!(line("eager").starts_with("eager [(0, 0), (1, 0), "), "{}", ran.stdout);
    assert_eq!(line("datagrams"), "datagrams sent");
}

#[test]
fn a_flood_of_output_is_taken_whole() {
    let script = "head -c 10000000 /dev/zero | tr '\\0' a; head -c 3000000 /dev/zero | tr '\\0' b >&2";
    let ran = completed(bench(&["/bin/sh", "-c", script]).run());
    assert_eq!((ran.report.stdout_bytes, ran.report.stderr_bytes), (10_000_000, 3_000_000));
    let whole = <sha2::Sha256 as sha2::Digest>::digest(vec![b'a'; 10_000_000]);
    let hex: String = whole.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(ran.report.stdout_digest, hex);
}

/// Answers one connection with something that no replay could guess, in two parts; the nonce.
fn answer(listener: TcpListener) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().expect("the cage connects");
        drop(listener);
        let mut question = [0; 9];
        peer.read_exact(&mut question).expect("a question");
        assert_eq!(&question, b"question\n");
        let mut random = [0; 16];
        std::fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut random)).expect("random");
        let nonce: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        peer.write_all(format!("nonce {nonce}\n").as_bytes()).expect("first part");
        peer.write_all(&vec![b'x'; 300_000]).expect("second part");
        nonce
    })
}

const CLIENT: &str = "
import socket, sys
c = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
print(c.getpeername()[0] == '127.0.0.1', c.getpeername()[1] == int(sys.argv[1]))
c.settimeout(3600)
c.sendall(b'question\\n')
d = b''
while part := c.recv(70000): d += part
print(d[:38].decode(), len(d))
try: socket.create_connection(('127.0.0.1', int(sys.argv[2])))
except OSError as e: print(e)
";

#[test]
fn a_recorded_connection_replays_with_the_server_gone() {
    if !present(PYTHON) {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("address").port().to_string();
    let closed =
        TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("address").port().to_string();
    let mut bench = bench(&[PYTHON, "-c", CLIENT, &port, &closed]);
    bench.spec.net = vec![format!("127.0.0.1:{port}"), format!("127.0.0.1:{closed}")];
    let witness = bench.dir.path().join("witness");
    bench.spec.witness = Some(witness.clone());
    let server = answer(listener);
    let recorded = completed(bench.run());
    let nonce = server.join().expect("the server's thread");
    let expected = format!("True True\nnonce {nonce} {}\n[Errno 111] Connection refused\n", 300_000 + 39);
    assert_eq!(recorded.stdout, expected, "{}", recorded.stderr);
    assert!(recorded.report.witness_entries >= 4, "two attempts, some bytes and an end");

    bench.spec.witness = Some(bench.dir.path().join("again"));
    bench.spec.replay = Some(witness);
    let load = Load::new();
    let replayed = completed(bench.run());
    drop(load);
    assert_eq!(replayed.stdout, recorded.stdout);
    assert_eq!(replayed.report.trace_hash, recorded.report.trace_hash);
    assert_eq!(replayed.report.witness_root, recorded.report.witness_root);

    // A program that asks for something else is not the recorded run.
    bench.spec.argv[2] = CLIENT.replace("sys.argv[1]", "sys.argv[2]");
    let other = bench.run();
    assert!(
        matches!(&other.report.verdict, Verdict::NoVerdict(why) if why.contains("another run")),
        "{:?}",
        other.report.verdict
    );
}

#[test]
fn without_leave_nothing_outside_is_reached() {
    if !present(PYTHON) {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    listener.set_nonblocking(true).expect("non-blocking");
    let port = listener.local_addr().expect("address").port().to_string();
    let program = "import socket, sys\ntry: socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n\
        except OSError as e: print(e)";
    let ran = completed(bench(&[PYTHON, "-c", program, &port]).run());
    assert_eq!(ran.stdout, "[Errno 111] Connection refused\n");
    assert!(listener.accept().is_err(), "nobody came");
}
