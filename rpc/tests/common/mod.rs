//! A backend in memory, a server on a free port, and raw HTTP: what the tests of the interface share.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod fake;
pub mod schema;

use fake::Fake;
use metanode_rpc::limits::Limits;
use metanode_rpc::methods::ImageUpload;
use metanode_rpc::{Client, Config, ServerHandle, serve};
use serde_json::Value;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Nothing in these tests may take longer, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Setup {
    pub fake: Arc<Fake>,
    pub server: ServerHandle,
    pub addr: SocketAddr,
    pub client: Client,
}

pub async fn start_with(limits: Limits, image_upload: ImageUpload) -> Setup {
    let fake = Arc::new(Fake::new());
    let mut config = Config::new("127.0.0.1:0".parse().unwrap());
    config.limits = limits;
    config.image_upload = image_upload;
    config.allowed_origins = vec!["https://explorer.example".into()];
    let server = serve(config, fake.clone()).await.unwrap();
    let addr = server.local_addr();
    Setup { fake, server, addr, client: Client::new(&addr.to_string()).unwrap() }
}

pub async fn start() -> Setup {
    start_with(Limits::default(), ImageUpload::default()).await
}

pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }
    pub fn code(&self) -> i64 {
        self.json()["error"]["code"].as_i64().unwrap_or_else(|| panic!("no error in {}", self.body))
    }
    /// The error's code, after checking that its data has the promised fields.
    pub fn refused(&self) -> i64 {
        let data = &self.json()["error"]["data"];
        assert!(data["code_name"].is_string() && data["reason"].is_string(), "{}", self.body);
        self.code()
    }
}

/// Reads one whole answer of a connection that the server closes.
pub async fn read_reply(stream: &mut TcpStream) -> Reply {
    let mut bytes = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("an answer in time").unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("not HTTP: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

pub async fn http(addr: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server may refuse before it has read all of it.
    let _ = stream.write_all(body).await;
    read_reply(&mut stream).await
}

pub async fn post(addr: SocketAddr, body: impl AsRef<[u8]>) -> Reply {
    http(addr, "POST", "/", "content-type: application/json\r\n", body.as_ref()).await
}

pub async fn get(addr: SocketAddr, path: &str) -> Reply {
    http(addr, "GET", path, "", b"").await
}

/// Waits until `done` holds.
pub async fn eventually(what: &str, done: impl Fn() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}
