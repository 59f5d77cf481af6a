//! A node refuses to start when TLS secrets would be written to a file.

mod common;

use common::*;
use metanode_p2p::{Error, LiveNetwork};
use std::process::Command;

const ROLE: &str = "METANODE_TEST_KEYLOG_ROLE";

/// The child's part: runs only when the parent asks for it, in an environment of the parent's making.
#[tokio::test]
async fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let started = LiveNetwork::spawn(config(1, TCP, vec![]));
    match (role.as_str(), started) {
        ("refused", Err(error @ Error::KeepTlsSecrets { .. })) => {
            let text = error.to_string();
            assert!(text.contains("SSLKEYLOGFILE") && text.contains("decrypt"), "{text}");
        }
        ("started", Ok(_)) => {}
        (_, Err(error)) => panic!("{error}"),
        (_, Ok(_)) => panic!("it started although secrets would be kept"),
    }
}

#[test]
fn a_set_key_log_variable_refuses_the_start_and_an_unset_one_does_not() {
    let run = |role: &str, key_log: Option<&str>| {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "child", "--nocapture"]).env(ROLE, role).env_remove("SSLKEYLOGFILE");
        child.envs(key_log.map(|value| ("SSLKEYLOGFILE", value)));
        let output = child.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    run("refused", Some("/dev/null"));
    run("refused", Some(""));
    run("started", None);
}
