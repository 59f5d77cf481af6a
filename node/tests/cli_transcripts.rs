//! Golden transcripts of the command line: what a person sees, and the exit code.
//!
//! Each file in `transcripts/` holds commands and their answers. Random parts are replaced by names. To accept a change
//! after reading it, run with `UPDATE_TRANSCRIPTS=1`.

use std::path::Path;
use std::process::Command;

/// Runs one line in `dir`, apart from anything of the user's own.
fn run(dir: &Path, line: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_metanode"));
    command
        .args(line.split_whitespace().skip(1))
        .current_dir(dir)
        .env_clear()
        .env("HOME", dir)
        .env("COLUMNS", "100");
    let out = command.output().expect("the program starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    let code = out.status.code().map_or_else(|| "signal".to_owned(), |c| c.to_string());
    let mut text = format!("$ {line}\n{stdout}");
    for line in stderr.lines() {
        text.push_str(&format!("2> {line}\n"));
    }
    text.push_str(&format!("[{code}]\n"));
    let root = dir.canonicalize().expect("there");
    hide_random(&text.replace(&root.display().to_string(), "DIR"))
}

/// Replaces hex digits of keys and ids, peer ids and random names.
fn hide_random(text: &str) -> String {
    let mut out = String::new();
    let mut word = String::new();
    let flush = |word: &mut String, out: &mut String| {
        let hex = |w: &str| w.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        match word.as_str() {
            w if w.len() == 52 && w.starts_with("12D3Koo") => out.push_str("PEER"),
            w if w.starts_with("0x") && w.len() == 66 && hex(&w[2..]) => out.push_str("0xHASH"),
            w if w.len() >= 64 && hex(w) => out.push_str("HEX"),
            w if w.len() == 8 && hex(w) && w.bytes().any(|b| b.is_ascii_digit()) => out.push_str("RANDOM"),
            w => out.push_str(w),
        }
        word.clear();
    };
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            word.push(c);
        } else {
            flush(&mut word, &mut out);
            out.push(c);
        }
    }
    flush(&mut word, &mut out);
    out
}

fn check(name: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(name);
    let golden = std::fs::read_to_string(&file).expect("the transcript is there");
    let dir = tempfile::tempdir().expect("a directory");
    let commands = golden.lines().filter_map(|line| line.strip_prefix("$ "));
    let fresh: Vec<String> = commands.map(|line| run(dir.path(), line)).collect();
    let fresh = fresh.join("\n");
    assert!(fresh.contains("[0]") || fresh.contains("[2]") || fresh.contains("[3]"), "something ran");
    if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
        std::fs::write(&file, &fresh).expect("written");
        return;
    }
    assert_eq!(golden, fresh, "the transcript {name} changed; accept with UPDATE_TRANSCRIPTS=1");
}

#[test]
fn usage_and_refusals() {
    check("usage.txt");
}

#[test]
fn keys_homes_and_genesis() {
    check("local.txt");
}

#[test]
fn without_a_node() {
    check("unavailable.txt");
}
