//! From start to end: launching, watching, stopping, dying, and what is left.

mod common;

use std::process::Command;
use std::time::{Duration, Instant};

use common::Bench;
use metanode_cage::{Exit, Record, Report};

/// Waits for a condition; a busy machine gets time, a wrong program does not get for ever.
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Commands for a shell inside the private namespaces; `$CAGE`, `$SPEC` and `$STATE` are set.
fn script(bench: &Bench, text: &str) -> String {
    let spec = bench.write_spec();
    let mut command = Command::new("unshare");
    command.args([
        "-m",
        "-p",
        "-f",
        "--mount-proc",
        "--propagation",
        "private",
        "--kill-child",
        "bash",
        "-c",
        text,
    ]);
    command.env("CAGE", bench.dir.path().join("metanode-cage")).env("SPEC", spec);
    let output = command.env("STATE", &bench.spec.state_dir).output().expect("unshare runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    format!("{}{stderr}", String::from_utf8_lossy(&output.stdout))
}

#[test]
fn daemons_die_and_zombies_are_reaped_needs_root() {
    for mut bench in [Bench::new(), Bench::rootless()] {
        let ran = bench.attempt("daemon");
        assert_eq!(ran.answer("daemon"), "ok:0");
        assert_eq!(ran.report.exit, Exit::Code(0));
        // The report exists, so the daemon that the program left behind is gone with its namespace.
        assert!(!Record::read(&bench.spec.state_dir).expect("record").running());
    }
}

#[test]
fn a_killed_supervisor_leaves_nothing_running_needs_root() {
    let mut bench = Bench::new();
    bench.spec.argv = vec!["probe".into(), "spin".into()];
    let said = script(
        &bench,
        r#"
        "$CAGE" start --spec "$SPEC" > /dev/null || exit 1
        echo "before=$(ls /proc | grep -c '^[0-9]')"
        kill -9 $(sed 's/.*"supervisor":{"pid":\([0-9]*\).*/\1/' "$STATE/cage.json")
        init=$(sed 's/.*"init":{"pid":\([0-9]*\).*/\1/' "$STATE/cage.json")
        for n in $(seq 500); do [ -e /proc/$init ] || break; sleep 0.02; done
        [ -e /proc/$init ] && echo "init=alive" || echo "init=gone"
        pgrep -x probe > /dev/null && echo "program=alive" || echo "program=gone"
        "$CAGE" sweep "$(dirname "$STATE")"
        "#,
    );
    assert!(said.contains("init=gone") && said.contains("program=gone"), "{said}");
    assert!(said.contains(r#""lost":["test"]"#), "{said}");
    assert!(Report::read(&bench.spec.state_dir).is_err(), "nobody was there to write a report");
}

#[test]
fn a_graceful_stop_then_a_hard_one_needs_root() {
    let mut bench = Bench::new();
    bench.spec.argv = vec!["probe".into(), "spin".into()];
    let said = script(
        &bench,
        r#""$CAGE" start --spec "$SPEC" && "$CAGE" stop --state-dir "$STATE" --grace-ms 5000"#,
    );
    let report = Report::read(&bench.spec.state_dir).unwrap_or_else(|e| panic!("{e}: {said}"));
    assert_eq!(report.exit, Exit::Signal(15), "the program has no handler, so TERM ends it: {said}");

    bench.spec.argv = vec!["probe".into(), "stubborn".into()];
    let said = script(
        &bench,
        r#"
        "$CAGE" start --spec "$SPEC" || exit 1
        for n in $(seq 500); do grep -q running "$STATE/stdout.log" && break; sleep 0.02; done
        "$CAGE" stop --state-dir "$STATE" --grace-ms 200
        "#,
    );
    let report = Report::read(&bench.spec.state_dir).unwrap_or_else(|e| panic!("{e}: {said}"));
    assert_eq!(report.exit, Exit::Signal(9), "TERM was ignored: {said}");
}

#[test]
fn health_is_asked_inside_the_cages_network_needs_root() {
    let mut bench = Bench::new();
    bench.spec.argv = vec!["probe".into(), "serve".into()];
    let said = script(
        &bench,
        r#"
        "$CAGE" start --spec "$SPEC" > /dev/null || exit 1
        for n in $(seq 500); do grep -q serving "$STATE/stdout.log" && break; sleep 0.02; done
        echo "tcp: $("$CAGE" health --state-dir "$STATE" --port 80)"
        echo "good: $("$CAGE" health --state-dir "$STATE" --port 80 --path /good)"
        echo "bad: $("$CAGE" health --state-dir "$STATE" --port 80 --path /bad)"
        echo "silent: $("$CAGE" health --state-dir "$STATE" --port 80 --path /silent --timeout-ms 200)"
        echo "closed: $("$CAGE" health --state-dir "$STATE" --port 81)"
        "$CAGE" stop --state-dir "$STATE" --grace-ms 1000 > /dev/null
        "$CAGE" health --state-dir "$STATE" --port 80; echo "after: $?"
        "#,
    );
    for line in [
        "tcp: healthy",
        "good: healthy",
        "bad: unhealthy: HTTP status 500",
        "closed: unhealthy: Connection refused",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(said.contains("silent: unhealthy: Connection timed out"), "{said}");
    assert!(said.contains("after: 125"), "{said}");
}

#[test]
fn what_cannot_run_is_a_launch_error_with_its_step_needs_root() {
    for mut bench in [Bench::new(), Bench::rootless()] {
        bench.spec.argv = vec!["missing".into()];
        let ran = bench.run();
        assert_eq!(ran.code, Some(125));
        let Exit::LaunchError(why) = &ran.report.exit else { panic!("{:?}", ran.report.exit) };
        assert!(why.contains("execute the program") && why.contains("No such file"), "{why}");
        bench.spec.argv = vec!["probe".into()];
        bench.spec.cwd = "/nowhere".into();
        let ran = bench.run();
        assert!(ran.message.contains("/nowhere"), "{}", ran.message);
    }
    let mut bench = Bench::new();
    bench.spec.argv = vec!["missing".into()];
    let said = script(&bench, r#""$CAGE" start --spec "$SPEC"; echo "code=$?""#);
    assert!(said.contains("code=125") && said.contains("execute the program"), "{said}");
}

#[test]
fn input_reaches_the_program_needs_root() {
    for mut bench in [Bench::new(), Bench::rootless()] {
        let input = bench.dir.path().join("input");
        let bytes: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
        std::fs::write(&input, &bytes).expect("write");
        bench.spec.stdin = Some(input);
        let ran = bench.attempt("count_input");
        assert_eq!(ran.answer("count_input"), format!("ok:{}", bytes.len()));
    }
}

#[test]
fn an_empty_root_holds_nothing_and_a_closure_runs_behind_the_same_walls_needs_root() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut command = Command::new("unshare");
    command.args(["-m", "-p", "-f", "--mount-proc", "--propagation", "private", "--kill-child"]);
    let output = command
        .arg(env!("CARGO_BIN_EXE_cage-probe"))
        .arg("call-in-a-cage")
        .arg(dir.path())
        .output()
        .expect("runs");
    let report = Report::read(&dir.path().join("cage")).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    assert_eq!(
        report.exit,
        Exit::Code(42),
        "{:?}",
        std::fs::read_to_string(dir.path().join("cage/stdout.log"))
    );
    assert!(report.barriers.iter().all(|b| b.installed), "{:?}", report.barriers);
    eventually("the log is there", || dir.path().join("cage/stdout.log").exists());
}
