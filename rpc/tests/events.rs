//! Subscriptions: order, resumption by cursor, and what a slow client gets.

mod common;

use common::fake::{START, receipt, summary};
use common::{PATIENCE, Setup, get, start, start_with};
use metanode_rpc::limits::{EVENT_STALL, Limits, MAX_EVENT_LAG};
use metanode_rpc::methods::ImageUpload;
use metanode_rpc::views::{EventCursor, EventView};
use metanode_rpc::{ErrorKind, EventStream};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

fn at(height: u64, index: u32) -> EventCursor {
    EventCursor { height, index }
}

fn block(height: u64) -> EventView {
    EventView::Block { cursor: at(height, 0), block: summary(height) }
}

fn done(height: u64) -> EventView {
    EventView::Receipt { cursor: at(height, 1), receipt: Box::new(receipt(height)) }
}

async fn next(stream: &mut EventStream) -> EventView {
    tokio::time::timeout(PATIENCE, stream.next())
        .await
        .expect("an event in time")
        .expect("not ended")
        .unwrap()
}

#[tokio::test]
async fn new_blocks_and_receipts_arrive_in_order() {
    let Setup { fake, client, server: _server, .. } = start().await;
    let mut stream = client.events(None).await.unwrap();
    fake.grow_to(START + 2);
    for height in [START + 1, START + 2] {
        assert_eq!(next(&mut stream).await, block(height));
        assert_eq!(next(&mut stream).await, done(height));
    }
}

#[tokio::test]
async fn a_cursor_resumes_exactly_behind_it() {
    let Setup { fake, client, server: _server, .. } = start().await;
    let mut stream = client.events(Some(at(0, 0))).await.unwrap();
    assert_eq!(next(&mut stream).await, block(1));
    let seen = next(&mut stream).await;
    let next_seen = next(&mut stream).await;
    assert_eq!((&seen, &next_seen), (&done(1), &block(2)));
    drop(stream);
    fake.grow_to(START + 1);
    let mut resumed = client.events(Some(next_seen.cursor())).await.unwrap();
    for expected in [done(2), block(3), done(3), block(4), done(4)] {
        assert_eq!(next(&mut resumed).await, expected);
    }
    let ahead = client.events(Some(at(99, 0))).await.err().expect("the chain is not there yet");
    assert_eq!(ahead.kind(), Some(ErrorKind::InvalidInput));
}

#[tokio::test]
async fn pruned_history_is_a_gap_and_not_silence() {
    let Setup { fake, client, server: _server, .. } = start().await;
    *fake.pruned.lock().unwrap() = 2;
    let mut stream = client.events(Some(at(1, 0))).await.unwrap();
    assert_eq!(next(&mut stream).await, EventView::Gap { from: at(1, 0), to: at(2, u32::MAX) });
    assert_eq!(next(&mut stream).await, block(3));
}

#[tokio::test]
async fn a_jump_of_the_node_makes_no_gap_for_a_client_that_reads() {
    let Setup { fake, client, server: _server, .. } = start().await;
    let mut stream = client.events(None).await.unwrap();
    fake.grow_to(START + 1);
    assert_eq!(next(&mut stream).await, block(START + 1));
    assert_eq!(next(&mut stream).await, done(START + 1));
    let last = START + 1 + MAX_EVENT_LAG + 20;
    fake.grow_to(last);
    for height in START + 2..=last {
        assert_eq!(next(&mut stream).await, block(height));
        assert_eq!(next(&mut stream).await, done(height));
    }
}

#[tokio::test]
async fn subscriptions_of_one_connection_are_bounded() {
    let limits = Limits { subscriptions: 1, ..Limits::default() };
    let setup = start_with(limits, ImageUpload::default()).await;
    let mut socket = Socket::open(setup.addr).await;
    socket.send(&json!({"jsonrpc": "2.0", "id": 1, "method": "events_subscribe"})).await;
    assert!(!socket.next().await["result"].is_null());
    socket.send(&json!({"jsonrpc": "2.0", "id": 2, "method": "events_subscribe"})).await;
    let refused = socket.next().await;
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!(2), &json!(-32005)), "{refused}");
    socket.send(&json!({"jsonrpc": "2.0", "id": 3, "method": "chain_status", "params": {"x": 1}})).await;
    assert_eq!(socket.next().await["error"]["data"]["code_name"], "invalid_params");
    socket.send(&json!([])).await;
    assert_eq!(socket.next().await["error"]["data"]["code_name"], "invalid_request");
    let deep: Value = (0..20).fold(json!(1), |inner, _| json!([inner]));
    socket.send(&json!({"jsonrpc": "2.0", "id": 4, "method": "chain_status", "params": deep})).await;
    assert_eq!(socket.next().await["error"]["code"], -32005);
}

/// The client takes what there is, then nothing while the chain grows by far more than any buffer holds.
async fn stops_reading(from_start: bool) {
    let Setup { fake, addr, server: _server, .. } = start().await;
    // The chain grows just before the server would see that it has nothing more to send.
    let head = START + 20_000;
    *fake.grows_at.lock().unwrap() = Some((at(START + 1, 1), head));
    let mut socket = Socket::open(addr).await;
    let params = if from_start { json!({"after": at(0, 0)}) } else { json!({}) };
    socket.send(&json!({"jsonrpc": "2.0", "id": 1, "method": "events_subscribe", "params": params})).await;
    socket.next().await;
    fake.grow_to(START + 1);
    let mut expected = if from_start { 1 } else { START + 1 };
    while expected <= START + 1 {
        assert_eq!(socket.event().await, block(expected));
        assert_eq!(socket.event().await, done(expected));
        expected += 1;
    }

    // It reads on only when the server can not push any more: the bytes waiting here stop growing.
    socket.wait_until_stuffed().await;
    let (from, to) = loop {
        match socket.event().await {
            EventView::Block { cursor, .. } => assert_eq!(cursor, at(expected, 0)),
            EventView::Receipt { cursor, .. } => {
                assert_eq!(cursor, at(expected, 1));
                expected += 1;
            }
            EventView::Gap { from, to } => break (from, to),
        }
        assert!(expected <= head, "a client that took nothing for seconds got every event and no gap notice");
    };
    assert!(
        from == at(expected, 0) || from == at(expected - 1, 1),
        "the gap starts where the events ended: {from}"
    );
    assert_eq!(to, at(head - 1, u32::MAX));
    assert!(to.height - from.height > MAX_EVENT_LAG);
    assert_eq!(socket.event().await, block(head), "it continues at the head");
    assert_eq!(socket.event().await, done(head));
}

#[tokio::test]
async fn a_client_that_stops_reading_gets_a_gap_notice_and_then_the_head() {
    stops_reading(false).await;
}

#[tokio::test]
async fn a_client_that_resumed_then_stops_reading_gets_the_same() {
    stops_reading(true).await;
}

#[tokio::test]
async fn a_client_that_never_reads_again_gives_its_place_back() {
    let limits = Limits { write_timeout: Duration::from_millis(500), ..Limits::default() };
    let Setup { fake, addr, server: _server, .. } = start_with(limits, ImageUpload::default()).await;
    let mut socket = Socket::open(addr).await;
    socket.send(&json!({"jsonrpc": "2.0", "id": 1, "method": "events_subscribe"})).await;
    socket.next().await;
    let open = async || {
        let page = get(addr, "/metrics").await.body;
        page.lines().find_map(|l| l.strip_prefix("metanode_rpc_connections ")).unwrap().to_owned()
    };
    assert_eq!(open().await, "2", "this one and the one that asks");
    fake.grow_to(START + 20_000);
    let given_back = async {
        while open().await != "1" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, given_back).await.expect("it is closed");
    drop(socket);
}

/// A WebSocket that reads only when told to.
struct Socket {
    stream: BufReader<TcpStream>,
}

impl Socket {
    async fn open(addr: SocketAddr) -> Socket {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let head = format!(
            "GET / HTTP/1.1\r\nhost: {addr}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        Socket { stream: BufReader::with_capacity(64 * 1024, stream) }
    }

    async fn send(&mut self, message: &Value) {
        let text = message.to_string();
        let mut frame = vec![0x81];
        assert!(text.len() < 65_536);
        if text.len() < 126 {
            frame.push(0x80 | text.len() as u8);
        } else {
            frame.push(0x80 | 126);
            frame.extend((text.len() as u16).to_be_bytes());
        }
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.stream.write_all(&frame).await.unwrap();
    }

    /// The next text message, as JSON.
    async fn next(&mut self) -> Value {
        tokio::time::timeout(PATIENCE, self.read_text()).await.expect("a message in time")
    }

    async fn read_text(&mut self) -> Value {
        loop {
            let head = [self.stream.read_u8().await.unwrap(), self.stream.read_u8().await.unwrap()];
            let length = match head[1] {
                126 => u64::from(self.stream.read_u16().await.unwrap()),
                127 => self.stream.read_u64().await.unwrap(),
                short => u64::from(short),
            };
            let mut body = vec![0; length as usize];
            self.stream.read_exact(&mut body).await.unwrap();
            match head[0] & 0x0f {
                1 => return serde_json::from_slice(&body).unwrap(),
                // A ping without data: a client that does not answer is taken for dead.
                9 => self.stream.write_all(&[0x8a, 0x80, 0, 0, 0, 0]).await.unwrap(),
                other => panic!("a frame of kind {other} instead of a message"),
            }
        }
    }

    async fn event(&mut self) -> EventView {
        let message = self.next().await;
        serde_json::from_value(message["params"]["result"].clone())
            .unwrap_or_else(|e| panic!("{e}: {message}"))
    }

    /// Returns when bytes are waiting and their number did not change for longer than a stall.
    async fn wait_until_stuffed(&self) {
        let mut buffer = vec![0; 1 << 20];
        let (mut waiting, mut since) = (0, Instant::now());
        let stuffed = async {
            while since.elapsed() < 4 * EVENT_STALL {
                self.stream.get_ref().readable().await.unwrap();
                let now = self.stream.get_ref().peek(&mut buffer).await.unwrap();
                if now != waiting {
                    (waiting, since) = (now, Instant::now());
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, stuffed).await.expect("the server stops pushing");
    }
}
