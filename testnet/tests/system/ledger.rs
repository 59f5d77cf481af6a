//! The ledger to a client: transfers, every sort of bad input, restarts, and starts that must be refused.

use crate::rpc::{FEE_LIMIT, Rpc, http_get, now_ms, transfer};
use anyhow::{Context, Result, bail, ensure};
use metanode_rpc::ClientError;
use metanode_rpc::error::ErrorKind;
use metanode_rpc::views::{SubmitView, TxStatus, TxView};
use metanode_testnet::cluster::{Cluster, show, wait_for};
use metanode_types::account::AccountSecret;
use metanode_types::codec;
use metanode_types::ids::{Address, ChainId};
use metanode_types::quantity::Amount;
use metanode_types::tx::{SignedTx, TxBody};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(60);

fn balance(rpc: &Rpc, of: Address) -> Result<Amount> {
    Ok(rpc.ask(rpc.nodes[0].account(of))?.balance)
}

/// Sends `tx` and waits for its end.
fn send(rpc: &Rpc, tx: &SignedTx) -> Result<TxView, ClientError> {
    let id = rpc.ask(rpc.nodes[0].submit(tx))?;
    rpc.ask(rpc.nodes[0].wait(id, BOUND))
}

/// The submission of `tx` is refused as one that can never be accepted, with a reason that says `word`.
fn refused(rpc: &Rpc, tx: &SignedTx, word: &str) -> Result<()> {
    match rpc.ask(rpc.nodes[0].submit(tx)) {
        Err(e) if e.kind() == Some(ErrorKind::Rejected) => {
            ensure!(e.to_string().to_lowercase().contains(word), "the reason does not say {word:?}: {e}");
            Ok(())
        }
        other => bail!("{word}: not refused but {other:?}"),
    }
}

#[test]
fn bad_transactions_are_refused_and_change_nothing_slow() -> Result<()> {
    let cluster = Cluster::up(1)?;
    let rpc = Rpc::of(&cluster)?;
    let (key, chain, to) = (&rpc.faucet, rpc.chain, Address([9; 32]));
    let good = transfer(key, chain, 1, to);
    let done = send(&rpc, &good)?;
    ensure!(done.status == TxStatus::Final && done.fee.is_some_and(|fee| fee > Amount(0)), "{done:?}");
    ensure!(balance(&rpc, to)? == Amount(1), "the transfer arrived");
    let before = balance(&rpc, key.address())?;

    refused(&rpc, &transfer(key, ChainId([1; 32]), 2, to), "chain")?;
    let mut forged = transfer(key, chain, 3, to);
    forged.signature.0[5] ^= 1;
    refused(&rpc, &forged, "signature")?;
    let mut swapped = transfer(key, chain, 3, to);
    swapped.body = TxBody::Transfer { to, amount: Amount(1_000) };
    refused(&rpc, &swapped, "body")?;
    let mut stolen = transfer(&AccountSecret::from_seed([3; 32]), chain, 3, to);
    stolen.envelope.sender = key.address();
    refused(&rpc, &stolen, "sender")?;
    refused(&rpc, &transfer(key, chain, 1, Address([8; 32])), "nonce")?;
    let body = || TxBody::Transfer { to, amount: Amount(1) };
    let at = |nonce, until| SignedTx::sign(key, chain, nonce, until, FEE_LIMIT, body());
    refused(&rpc, &at(4, now_ms() - 60_000), "expired")?;
    let far = at(5, now_ms() + 3_600_000);
    let answer = rpc.ask(rpc.nodes[0].submit(&far));
    ensure!(
        answer.as_ref().is_err_and(|e| e.kind() == Some(ErrorKind::Rejected)),
        "an hour ahead: {answer:?}"
    );
    let stranger = AccountSecret::from_seed([4; 32]);
    refused(&rpc, &transfer(&stranger, chain, 1, to), "holds")?;
    let stingy = SignedTx::sign(key, chain, 6, now_ms() + 60_000, Amount(1), body());
    refused(&rpc, &stingy, "fee")?;

    // The same bytes again are the same transaction: no error, no second payment.
    let again = send(&rpc, &good)?;
    ensure!((again.status, again.height) == (TxStatus::Final, done.height), "{again:?}");
    ensure!(balance(&rpc, to)? == Amount(1), "nothing refused moved money");
    ensure!(balance(&rpc, key.address())? == before, "nothing refused cost a fee");

    // Whoever can pay the fee but not the amount is in a block, pays the fee, and moves nothing.
    let poor = stranger.address();
    let gift = TxBody::Transfer { to: poor, amount: Amount(10_000) };
    send(&rpc, &SignedTx::sign(key, chain, 7, now_ms() + 60_000, FEE_LIMIT, gift))?;
    let dream = TxBody::Transfer { to, amount: Amount(9_999) };
    let failed = send(&rpc, &SignedTx::sign(&stranger, chain, 2, now_ms() + 60_000, Amount(5_000), dream))?;
    ensure!(
        failed.status == TxStatus::Failed && failed.code.is_some() && failed.reason.is_some(),
        "{failed:?}"
    );
    ensure!(balance(&rpc, to)? == Amount(1), "a failed transfer moved money");
    let paid = failed.fee.context("a failed transaction has a fee")?;
    ensure!(balance(&rpc, poor)?.checked_add(paid) == Some(Amount(10_000)), "it cost more than its fee");
    Ok(())
}

/// The error code of one raw request; `None` when the answer is no JSON-RPC error.
fn raw_code(rpc: &Rpc, body: &[u8]) -> Result<(u16, Option<i64>)> {
    let host = rpc.nodes[0].url().strip_prefix("http://").context("an http URL")?.to_owned();
    let mut stream = std::net::TcpStream::connect(&host)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let head =
        format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nConnection: close\r\n");
    write!(stream, "{head}Content-Length: {}\r\n\r\n", body.len())?;
    // A server that refuses a body by its length closes without reading it.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).context("an HTTP status")?.parse()?;
    let json: Value =
        answer.split_once("\r\n\r\n").and_then(|(_, b)| serde_json::from_str(b).ok()).unwrap_or_default();
    Ok((status, json["error"]["code"].as_i64()))
}

#[test]
fn malformed_requests_get_an_error_and_the_node_lives_slow() -> Result<()> {
    let cluster = Cluster::up(1)?;
    let rpc = Rpc::of(&cluster)?;
    let tx = hex::encode(codec::encode(&transfer(&rpc.faucet, rpc.chain, 1, Address([9; 32]))));
    let submit = |params: Value| rpc.ask(rpc.nodes[0].call::<_, SubmitView>("tx_submit", params));
    let bad = [
        json!({ "tx": "zz" }),
        json!({ "tx": "" }),
        json!({ "tx": "00" }),
        json!({ "tx": tx[..tx.len() - 2] }),
        json!({ "tx": format!("{tx}00") }),
        json!({ "tx": "00".repeat(70_000) }),
        json!({ "tx": 7 }),
        json!({ "tx": tx, "extra": 1 }),
        json!({}),
    ];
    for params in bad {
        let refused = submit(params.clone()).err().and_then(|e| e.kind());
        let kinds = [
            ErrorKind::InvalidParams,
            ErrorKind::InvalidInput,
            ErrorKind::Rejected,
            ErrorKind::LimitExceeded,
        ];
        let shown: String = params.to_string().chars().take(80).collect();
        ensure!(refused.is_some_and(|k| kinds.contains(&k)), "{shown}: {refused:?}");
    }
    let nested = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"chain_status","params":{}1{}}}"#,
        "[".repeat(5000),
        "]".repeat(5000)
    );
    let parse = Some(i64::from(ErrorKind::Parse.code()));
    ensure!(raw_code(&rpc, b"{not json")?.1 == parse, "bytes that are no JSON");
    ensure!(raw_code(&rpc, b"\xff\xfe\x00")?.1 == parse, "bytes that are no text");
    let (status, code) = raw_code(&rpc, nested.as_bytes())?;
    ensure!(code.is_some() || status >= 400, "deep nesting was answered with {status}");
    let (status, code) = raw_code(&rpc, &vec![b' '; 5 << 20])?;
    ensure!(status == 413 || code.is_some(), "five megabytes were answered with {status}");
    let unknown =
        rpc.ask(rpc.nodes[0].call::<_, Value>("chain_nothing", json!({}))).err().and_then(|e| e.kind());
    ensure!(unknown == Some(ErrorKind::MethodNotFound), "{unknown:?}");
    ensure!(submit(json!({ "tx": tx })).is_ok(), "the good one is still taken");
    http_get(rpc.nodes[0].url(), "/livez").map(drop)
}

/// Runs `metanode start` on a home and waits for its end, which must come: it can not start.
fn start_refused(cluster: &Cluster, i: usize) -> Result<Output> {
    let home = cluster.nodes[i].home.to_str().context("UTF-8 path")?.to_owned();
    let mut command = cluster.command(&["start", "--home", &home]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let until = Instant::now() + Duration::from_secs(30);
    while child.try_wait()?.is_none() {
        if Instant::now() >= until {
            child.kill()?;
            bail!("it started: {}", show(&child.wait_with_output()?));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output()?;
    ensure!(!output.status.success(), "it ended with success: {}", show(&output));
    Ok(output)
}

fn says(output: &Output, words: &[&str]) -> Result<()> {
    let text = show(output);
    let missing = words.iter().find(|w| !text.to_lowercase().contains(&w.to_lowercase()));
    ensure!(missing.is_none(), "it does not say {:?}: {text}", missing.unwrap_or(&""));
    Ok(())
}

#[test]
fn a_restart_keeps_everything_and_wrong_starts_are_refused_slow() -> Result<()> {
    let cluster = Cluster::up(1)?;
    let rpc = Rpc::of(&cluster)?;
    let to = Address([9; 32]);
    let mut paid = Vec::new();
    for nonce in 1..=20 {
        paid.push(send(&rpc, &transfer(&rpc.faucet, rpc.chain, nonce, to))?);
    }
    let pid = cluster.pids()?[0].context("the node runs")?;
    says(&start_refused(&cluster, 0)?, &[&pid.to_string(), "home"])?;
    ensure!(cluster.pids()?[0] == Some(pid), "the first process was not disturbed");

    let tip = rpc.status(0)?;
    cluster.kill(0)?;
    let port = rpc.nodes[0].url().rsplit_once(':').context("a port")?.1.to_owned();
    let number: u16 = port.parse()?;
    let mut squatter = None;
    // A killed process gives its port back when the kernel has taken it apart, which is soon but not at once.
    wait_for("the port of the killed node", BOUND, || {
        squatter = std::net::TcpListener::bind(("127.0.0.1", number)).ok();
        Ok(squatter.is_some())
    })?;
    says(&start_refused(&cluster, 0)?, &[&port])?;
    drop(squatter);

    let genesis = cluster.nodes[0].home.join("config/genesis.json");
    let text = std::fs::read_to_string(&genesis)?;
    let edited = text.replacen("testnet-", "edited-", 1);
    ensure!(edited != text, "the genesis names its chain: {text}");
    std::fs::write(&genesis, edited)?;
    says(&start_refused(&cluster, 0)?, &["genesis", "edited-"])?;
    std::fs::write(&genesis, text)?;

    cluster.start(0)?;
    let after = rpc.block(0, tip.height)?;
    ensure!(
        Some(after.id) == tip.block && after.header.app_root == tip.app_root.0,
        "another block at {}",
        tip.height
    );
    ensure!(balance(&rpc, to)? == Amount(20), "every payment is there");
    for tx in paid {
        ensure!(rpc.ask(rpc.nodes[0].tx(&tx.id.to_string()))? == tx, "{} changed", tx.id);
    }
    rpc.pay(0, 100, BOUND).map(drop)
}
