//! What bad input gets: an error with a code and a reason, and a node that goes on serving.

mod common;

use common::fake::Fake;
use common::{PATIENCE, Setup, http, post, read_reply, start, start_with};
use metanode_rpc::limits::{Limits, MAX_BATCH, MAX_JSON_DEPTH};
use metanode_rpc::methods::ImageUpload;
use metanode_rpc::{Client, Config, Error, ErrorKind, serve};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

async fn still_serves(setup: &Setup) {
    assert_eq!(setup.client.status().await.unwrap(), setup.fake.status_view());
}

#[tokio::test]
async fn malformed_json_and_requests_are_told_apart() {
    let setup = start().await;
    let addr = setup.addr;
    for bad in ["", "{", "nonsense", "{\"jsonrpc\":\"2.0\",}", "\u{0}", "{} {}", "[1,"] {
        assert_eq!(post(addr, bad).await.refused(), -32700, "{bad:?}");
    }
    assert_eq!(post(addr, [0xff, 0xfe]).await.refused(), -32700);
    for bad in [
        json!({}),
        json!(1),
        json!({"jsonrpc": "1.0", "id": 1, "method": "chain_status"}),
        json!({"jsonrpc": "2.0", "id": 1, "method": 7}),
        json!({"jsonrpc": "2.0", "id": {}, "method": "chain_status"}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "chain_status", "more": 1}),
        json!([]),
    ] {
        assert_eq!(post(addr, bad.to_string()).await.refused(), -32600, "{bad}");
    }
    still_serves(&setup).await;
}

#[tokio::test]
async fn unknown_methods_and_wrong_parameters_name_what_is_wrong() {
    let setup = start().await;
    let call = |method: &str, params: serde_json::Value| {
        post(setup.addr, json!({"jsonrpc": "2.0", "id": 5, "method": method, "params": params}).to_string())
    };
    let unknown = call("chain_statsu", json!({})).await;
    assert_eq!((unknown.refused(), unknown.json()["id"].clone()), (-32601, json!(5)));
    assert!(unknown.body.contains("rpc.discover"));
    for (method, params, named) in [
        ("deployment_get", json!({}), "name"),
        ("deployment_get", json!({"name": "web", "nmae": 1}), "nmae"),
        ("deployment_get", json!({"name": "Not A Name"}), "not a name"),
        ("chain_status", json!({"verbose": true}), "verbose"),
        ("chain_block", json!({"height": -1}), "-1"),
        ("deployment_get", json!(["web", 1]), "trailing"),
        ("tx_wait", json!({"tx": "0x12"}), "0x12"),
    ] {
        let reply = call(method, params.clone()).await;
        assert_eq!(reply.refused(), -32602, "{method} {params}: {}", reply.body);
        assert!(reply.body.contains(named), "{named} is not in {}", reply.body);
    }
    let by_position = call("deployment_get", json!(["web"])).await;
    assert_eq!(by_position.json()["result"]["name"], "web");
    let subscribe = call("events_subscribe", json!({})).await;
    assert_eq!(subscribe.refused(), -32004, "subscriptions need a WebSocket");
    still_serves(&setup).await;
}

#[tokio::test]
async fn oversized_and_deeply_nested_bodies_are_refused_before_they_are_parsed() {
    let setup = start_with(Limits { request_bytes: 4096, ..Limits::default() }, ImageUpload::default()).await;
    let declared = post(setup.addr, vec![b' '; 4097]).await;
    assert_eq!((declared.status, declared.refused()), (413, -32005));
    let chunk = format!("1000\r\n{}\r\n2\r\n  \r\n0\r\n\r\n", " ".repeat(4096));
    let mut stream = TcpStream::connect(setup.addr).await.unwrap();
    let head =
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(format!("{head}{chunk}").as_bytes()).await.unwrap();
    let streamed = read_reply(&mut stream).await;
    assert_eq!((streamed.status, streamed.json()["error"]["code"].clone()), (413, json!(-32005)));

    let nested = |n: usize| {
        let (open, close) = ("[".repeat(n), "]".repeat(n));
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"chain_status","params":{open}{close}}}"#)
    };
    assert_eq!(post(setup.addr, nested(MAX_JSON_DEPTH)).await.refused(), -32005);
    assert_eq!(post(setup.addr, nested(2000)).await.refused(), -32005);
    assert_eq!(post(setup.addr, "[".repeat(4000)).await.refused(), -32005);
    assert_eq!(
        post(setup.addr, nested(MAX_JSON_DEPTH - 1)).await.refused(),
        -32602,
        "one less is only wrong"
    );
    still_serves(&setup).await;
}

#[tokio::test]
async fn batches_are_answered_in_order_up_to_their_bound() {
    let setup = start().await;
    let one = |id: usize| json!({"jsonrpc": "2.0", "id": id, "method": "chain_status"});
    let full: Vec<_> = (0..MAX_BATCH).map(one).collect();
    let answers = post(setup.addr, json!(full).to_string()).await.json();
    let ids: Vec<u64> = answers.as_array().unwrap().iter().map(|a| a["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, (0..MAX_BATCH as u64).collect::<Vec<_>>());
    let over: Vec<_> = (0..=MAX_BATCH).map(one).collect();
    assert_eq!(post(setup.addr, json!(over).to_string()).await.refused(), -32005);

    let notification = json!({"jsonrpc": "2.0", "method": "chain_status"});
    let mixed = json!([one(1), {"jsonrpc": "2.0", "id": 2, "method": "nope"}, 3, notification]);
    let answers = post(setup.addr, mixed.to_string()).await.json();
    let codes: Vec<_> = answers.as_array().unwrap().iter().map(|a| a["error"]["code"].as_i64()).collect();
    assert_eq!(codes, [None, Some(-32601), Some(-32600)], "a notification has no answer");
    still_serves(&setup).await;
}

#[tokio::test]
async fn connections_beyond_the_budget_are_told_so_and_others_go_on() {
    let setup = start_with(Limits { connections: 2, ..Limits::default() }, ImageUpload::default()).await;
    let held = [TcpStream::connect(setup.addr).await.unwrap(), TcpStream::connect(setup.addr).await.unwrap()];
    let mut third = TcpStream::connect(setup.addr).await.unwrap();
    let told = read_reply(&mut third).await;
    assert_eq!((told.status, told.refused()), (503, -32005));
    assert!(told.head.contains("retry-after"));
    drop(held);
    let again = async {
        while setup.client.status().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("connections that ended are given back");
}

#[tokio::test]
async fn requests_of_one_address_are_bounded_and_given_back() {
    let setup = start_with(Limits { in_flight_per_ip: 1, ..Limits::default() }, ImageUpload::default()).await;
    let mut slow = TcpStream::connect(setup.addr).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    slow.write_all(head.as_bytes()).await.unwrap();
    let busy = async {
        loop {
            let reply = post(setup.addr, r#"{"jsonrpc":"2.0","id":1,"method":"chain_status"}"#).await;
            if reply.status == 429 {
                break reply;
            }
        }
    };
    let busy = tokio::time::timeout(PATIENCE, busy).await.unwrap();
    assert_eq!(busy.refused(), -32005);
    assert_eq!(setup.client.status().await.unwrap_err().kind(), Some(ErrorKind::LimitExceeded));
    drop(slow);
    let again = async {
        while setup.client.status().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("the slot of a request that ended is given back");
}

#[tokio::test]
async fn bodies_headers_and_answers_that_take_too_long_are_timed_out() {
    let short = Duration::from_millis(200);
    let limits =
        Limits { body_timeout: short, header_timeout: short, call_timeout: short, ..Limits::default() };
    let setup = start_with(limits, ImageUpload::default()).await;
    let mut body = TcpStream::connect(setup.addr).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    body.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_reply(&mut body).await.status, 408);

    let mut headers = TcpStream::connect(setup.addr).await.unwrap();
    headers.write_all(b"POST / HTTP/1.1\r\nhost").await.unwrap();
    let mut rest = Vec::new();
    let closed = tokio::io::AsyncReadExt::read_to_end(&mut headers, &mut rest);
    tokio::time::timeout(PATIENCE, closed).await.expect("the connection is closed").ok();

    *setup.fake.delay.lock().unwrap() = Duration::from_secs(2);
    let slow = setup.client.supply().await.unwrap_err();
    assert_eq!(slow.kind(), Some(ErrorKind::Unavailable));
    assert!(slow.to_string().contains("200ms"), "{slow}");
    still_serves(&setup).await;
}

#[tokio::test]
async fn web_pages_are_refused_unless_listed() {
    let setup = start().await;
    let with = |origin: &str| format!("content-type: application/json\r\norigin: {origin}\r\n");
    let call = br#"{"jsonrpc":"2.0","id":1,"method":"chain_status"}"#;
    let evil = http(setup.addr, "POST", "/", &with("https://evil.example"), call).await;
    assert_eq!((evil.status, evil.refused()), (403, -32004));
    let listed = http(setup.addr, "POST", "/", &with("https://explorer.example"), call).await;
    assert_eq!((listed.status, listed.json()["id"].clone()), (200, json!(1)));
    let upgrade = "upgrade: websocket\r\norigin: https://evil.example\r\n";
    assert_eq!(http(setup.addr, "GET", "/", upgrade, b"").await.status, 403);
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_next_step() {
    let setup = start().await;
    let error = serve(Config::new(setup.addr), Arc::new(Fake::new())).await.err().expect("the port is taken");
    let text = error.to_string();
    assert!(matches!(error, Error::Listen { .. }));
    assert!(
        text.contains(&format!("port {} is in use", setup.addr.port())) && text.contains("--port"),
        "{text}"
    );
    let mut config = Config::new("127.0.0.1:0".parse().unwrap());
    config.limits.batch = 0;
    assert!(matches!(serve(config, Arc::new(Fake::new())).await, Err(Error::Limit { name: "batch", .. })));
}

#[tokio::test]
async fn stopping_frees_the_port_and_ends_connections() {
    let setup = start().await;
    let idle = TcpStream::connect(setup.addr).await.unwrap();
    setup.client.status().await.unwrap();
    tokio::time::timeout(PATIENCE, setup.server.stop()).await.expect("it stops");
    let again = serve(Config::new(setup.addr), Arc::new(Fake::new())).await.expect("the port is free");
    Client::new(&again.local_addr().to_string()).unwrap().status().await.unwrap();
    drop(idle);
}

/// A fixed stream of mutated requests: whatever comes, the answer is JSON-RPC and the node goes on.
#[tokio::test]
async fn mutated_requests_never_end_the_node() {
    let setup = start().await;
    let params = r#"{"name":"web","replica":0,"stream":"stdout"}"#;
    let seed = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"deployment_logs","params":{params}}}"#);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for round in 0..300 {
        let mut body = seed.clone().into_bytes();
        for _ in 0..=next(4) {
            let at = next(body.len());
            match next(3) {
                0 => body[at] = next(256) as u8,
                1 => body.truncate(at.max(1)),
                _ => body.insert(at, b"[]{}\",:\\0e-"[next(11)]),
            }
        }
        let reply = post(setup.addr, &body).await;
        let shown = String::from_utf8_lossy(&body).into_owned();
        assert_eq!(reply.status, 200, "round {round}: {shown}");
        // A request whose id was lost is a notification and has no answer.
        if !reply.body.is_empty() {
            assert_eq!(reply.json()["jsonrpc"], "2.0", "round {round}: {shown}");
        }
    }
    still_serves(&setup).await;
}
