//! Every method, through the real server and the typed client; every answer has the documented form.

mod common;

use common::fake::{self, START, name};
use common::{PATIENCE, Setup, post, start, start_with};
use metanode_rpc::limits::{IMAGE_CHUNK_BYTES, Limits};
use metanode_rpc::methods::{ImageUpload, params::*};
use metanode_rpc::views::*;
use metanode_rpc::{Backend, BlockKey, ClientError, ErrorKind, IdPrefix, openrpc};
use metanode_types::hash::sha256;
use metanode_types::ids::{ContentDigest, Digest};
use metanode_types::receipt::Tier;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

fn page(cursor: Option<&str>, limit: Option<u32>) -> PageParams {
    PageParams { cursor: cursor.map(Into::into), limit }
}

fn kind<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> ErrorKind {
    answer.expect_err("a refusal").kind().expect("a known code")
}

#[tokio::test]
async fn chain_and_state_methods_round_trip() {
    let Setup { fake, client, server: _server, .. } = start().await;
    assert_eq!(client.status().await.unwrap(), fake.status_view());
    let second = fake.block(&BlockKey::Height(2)).unwrap();
    let by = |height, id: Option<&str>| BlockParams { height, id: id.map(Into::into) };
    assert_eq!(client.block(by(Some(2), None)).await.unwrap(), second);
    assert_eq!(client.block(by(None, Some(&second.id.to_string()[..12]))).await.unwrap(), second);
    assert_eq!(client.block(by(None, None)).await.unwrap().header.height, START);
    assert_eq!(kind(client.block(by(Some(1), Some("0x1234"))).await), ErrorKind::InvalidInput);
    assert_eq!(kind(client.block(by(Some(99), None)).await), ErrorKind::NotFound);
    assert_eq!(kind(client.block(by(None, Some("0x12"))).await), ErrorKind::InvalidInput);

    let first = client.blocks(page(None, Some(2))).await.unwrap();
    assert_eq!(first.items.iter().map(|b| b.height).collect::<Vec<_>>(), [3, 2]);
    let rest = client.blocks(page(first.next.as_deref(), Some(2))).await.unwrap();
    assert_eq!((rest.items.iter().map(|b| b.height).collect::<Vec<_>>(), rest.next), (vec![1], None));

    assert_eq!(client.validators(Some(2)).await.unwrap(), fake.validators(Some(2)).unwrap());
    assert_eq!(client.genesis().await.unwrap(), fake.genesis().unwrap());
    assert_eq!(client.production().await.unwrap(), fake.production().unwrap());
    assert_eq!(client.stats().await.unwrap(), fake.stats().unwrap());
    assert_eq!(client.account(fake::address()).await.unwrap(), fake.account(&fake::address()).unwrap());
    assert_eq!(client.supply().await.unwrap(), fake.supply().unwrap());
    assert_eq!(client.cluster(name("default")).await.unwrap(), fake.cluster(&name("default")).unwrap());
    assert_eq!(kind(client.cluster(name("other")).await), ErrorKind::NotFound);
    assert_eq!(client.clusters(page(None, None)).await.unwrap().items.len(), 1);
    let nodes = client.nodes(page(None, None)).await.unwrap();
    assert_eq!(nodes.next.as_deref(), Some(fake::address().to_string().as_str()));
    assert!(client.nodes(page(nodes.next.as_deref(), None)).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn bad_cursors_and_limits_are_refused() {
    let Setup { client, server: _server, .. } = start().await;
    assert_eq!(kind(client.blocks(page(Some("x"), None)).await), ErrorKind::InvalidInput);
    assert_eq!(kind(client.clusters(page(Some("-"), None)).await), ErrorKind::InvalidInput);
    assert_eq!(kind(client.nodes(page(Some("0x12"), None)).await), ErrorKind::InvalidInput);
    assert_eq!(kind(client.blocks(page(None, Some(0))).await), ErrorKind::InvalidInput);
    assert_eq!(kind(client.blocks(page(None, Some(1001))).await), ErrorKind::LimitExceeded);
}

#[tokio::test]
async fn a_transaction_is_submitted_awaited_and_found_by_prefix() {
    let Setup { fake, client, addr, server: _server } = start().await;
    let tx = fake::signed(1);
    assert_eq!(client.submit(&tx).await.unwrap(), tx.id());
    assert_eq!(client.submit(&tx).await.unwrap(), tx.id(), "a resend is idempotent");
    assert_eq!(client.tx(&tx.id().short()).await.unwrap().status, TxStatus::Pending);

    let timeout = client.wait(tx.id(), Duration::from_millis(20)).await.unwrap_err();
    assert_eq!((timeout.kind(), timeout.tx()), (Some(ErrorKind::Unavailable), Some(tx.id())));
    assert!(timeout.to_string().contains("still pending"), "{timeout}");
    let unknown = client.wait(fake::signed(2).id(), Duration::from_millis(20)).await.unwrap_err();
    assert!(unknown.to_string().contains("not known to this node"), "{unknown}");
    assert_eq!(kind(client.wait(tx.id(), Duration::from_secs(3600)).await), ErrorKind::InvalidInput);

    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.wait(fake::signed(1).id(), PATIENCE).await }
    });
    fake.commit();
    let view = waiting.await.unwrap().unwrap();
    assert_eq!((view.status, view.height), (TxStatus::Final, Some(START + 1)));
    assert_eq!(view, fake.tx(&IdPrefix::parse("0x", &tx.id().to_string()).unwrap()).unwrap());
    assert_eq!(kind(client.tx("0xabcdef").await), ErrorKind::NotFound);

    let mut foreign = fake::signed(3);
    foreign.envelope.nonce = 4;
    let refused = client.submit(&foreign).await.unwrap_err();
    assert_eq!((refused.kind(), refused.tx()), (Some(ErrorKind::Rejected), Some(foreign.id())));
    for bad in ["zz", "00", ""] {
        let body =
            json!({"jsonrpc": "2.0", "id": 1, "method": "tx_submit", "params": {"tx": bad}}).to_string();
        assert_eq!(post(addr, body).await.refused(), -32000, "{bad:?}");
    }
}

#[tokio::test]
async fn deployments_receipts_and_proofs_round_trip() {
    let Setup { fake, client, server: _server, .. } = start().await;
    assert_eq!(client.deployment(name("web")).await.unwrap(), fake.deployment_view());
    assert_eq!(kind(client.deployment(name("nope")).await), ErrorKind::NotFound);
    assert_eq!(client.deployments(page(None, None)).await.unwrap().next.as_deref(), Some("web"));
    assert_eq!(
        client.explain(name("web"), Some(2)).await.unwrap(),
        fake.explain(&name("web"), Some(2)).unwrap()
    );

    let logs = |replica, tail| LogsParams { name: name("web"), replica, stream: LogStream::Stderr, tail };
    assert_eq!(client.logs(logs(0, Some(4))).await.unwrap().text, "xxxx");
    assert_eq!(kind(client.logs(logs(0, Some(2 << 20))).await), ErrorKind::LimitExceeded);
    let elsewhere = client.logs(logs(1, None)).await.unwrap_err();
    assert_eq!(elsewhere.kind(), Some(ErrorKind::Unavailable));
    assert!(
        elsewhere.to_string().contains("node n2") && elsewhere.to_string().contains("--rpc"),
        "{elsewhere}"
    );

    let first = client.deployment_receipts(name("web"), page(None, Some(2))).await.unwrap();
    assert_eq!(first.items, [fake::receipt(1), fake::receipt(2)]);
    let rest = client.deployment_receipts(name("web"), page(first.next.as_deref(), None)).await.unwrap();
    assert_eq!((rest.items, rest.next), (vec![fake::receipt(3)], None));
    let subject = Some(fake::receipt(1).subject);
    assert_eq!(client.receipts(page(None, None), Some(Tier::Action), subject).await.unwrap().items.len(), 3);
    assert!(client.receipts(page(None, None), Some(Tier::Economic), None).await.unwrap().items.is_empty());

    let one = fake::receipt(2);
    assert_eq!(client.receipt(&one.id.short()).await.unwrap(), one);
    assert_eq!(client.export(&one.id.to_string(), false).await.unwrap(), [7, 8]);
    assert_eq!(
        client.export(&one.id.to_string(), true).await.unwrap().len(),
        12 << 20,
        "beyond the ordinary cap"
    );
    assert_eq!(kind(client.receipt("rx_ffff").await), ErrorKind::NotFound);
}

#[tokio::test]
async fn images_are_uploaded_where_that_is_allowed() {
    let Setup { fake, client, server: _server, .. } = start().await;
    assert_eq!(client.node_status().await.unwrap(), fake.node_status().unwrap());
    assert_eq!(client.peers().await.unwrap(), fake.peers().unwrap());
    assert_eq!(client.images().await.unwrap(), fake.images().unwrap());
    let have = client.image_have(b"descriptor").await.unwrap();
    assert_eq!(have.descriptor, Digest(sha256(b"descriptor")));
    assert_eq!(kind(client.image_commit(have.descriptor).await), ErrorKind::NotFound);
    let blob = ContentDigest(sha256(b"blob"));
    let put = client.image_put(have.descriptor, blob, 0, b"blob").await.unwrap();
    assert_eq!((put.received, put.complete), (4, true));
    assert_eq!(client.image_commit(have.descriptor).await.unwrap().descriptor, have.descriptor);
    let chunk = vec![1; IMAGE_CHUNK_BYTES];
    assert_eq!(
        client.image_put(have.descriptor, blob, 4, &chunk).await.unwrap().received,
        4 + chunk.len() as u64
    );
    let large = vec![1; IMAGE_CHUNK_BYTES + 1];
    assert_eq!(kind(client.image_put(have.descriptor, blob, 0, &large).await), ErrorKind::LimitExceeded);
    assert_eq!(kind(client.image_put(have.descriptor, blob, 0, b"").await), ErrorKind::InvalidInput);

    let closed = start_with(Limits::default(), ImageUpload::Refused).await;
    assert_eq!(kind(closed.client.image_have(b"descriptor").await), ErrorKind::Unsupported);
    assert!(closed.fake.uploads.lock().unwrap().is_empty());
}

/// Calls every method of the document with real parameters and compares the answer with its schema.
#[tokio::test]
async fn every_answer_has_the_documented_form() {
    let Setup { fake, client, server: _server, .. } = start().await;
    let (tx, receipt) = (fake::signed(1), fake::receipt(1).id);
    client.submit(&tx).await.unwrap();
    fake.commit();
    let bytes = hex::encode(metanode_types::codec::encode(&tx));
    let put =
        json!({"descriptor": Digest([5; 32]), "blob": ContentDigest([4; 32]), "offset": 0, "bytes": "00"});
    let calls: Vec<(&str, Value)> = vec![
        ("chain_status", json!({})),
        ("chain_block", json!({"height": 1})),
        ("chain_blocks", json!({})),
        ("chain_validators", json!({})),
        ("chain_genesis", json!({})),
        ("chain_production", json!({})),
        ("chain_stats", json!({})),
        ("state_account", json!({"address": fake::address()})),
        ("state_supply", json!({})),
        ("state_cluster", json!({"name": "default"})),
        ("state_clusters", json!({})),
        ("state_nodes", json!({})),
        ("tx_submit", json!({"tx": bytes})),
        ("tx_wait", json!({"tx": tx.id(), "timeout_ms": 1000})),
        ("tx_get", json!({"tx": tx.id()})),
        ("receipt_get", json!({"receipt": receipt})),
        ("receipt_list", json!({"subject": {"replica": {"deployment": "web", "index": 0}}})),
        ("proof_export", json!({"receipt": receipt})),
        ("deployment_list", json!({})),
        ("deployment_get", json!({"name": "web"})),
        ("deployment_explain", json!({"name": "web"})),
        ("deployment_logs", json!({"name": "web", "replica": 0, "stream": "stdout"})),
        ("deployment_receipts", json!({"name": "web"})),
        ("node_status", json!({})),
        ("node_peers", json!({})),
        ("node_images", json!({})),
        ("node_image_have", json!({"descriptor": "00"})),
        ("node_image_put", put),
        ("node_image_commit", json!({"descriptor": Digest([5; 32])})),
        ("rpc.discover", json!({})),
    ];
    let document = client.discover().await.unwrap();
    assert_eq!(document, openrpc::document());
    let methods = document["methods"].as_array().unwrap();
    let find = |name: &str| methods.iter().find(|m| m["name"] == name).unwrap_or_else(|| panic!("{name}"));
    for (name, params) in &calls {
        let answer: Value = client.call(name, params).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        common::schema::conforms(name, &find(name)["result"]["schema"], &answer);
    }
    for event in fake.events(EventCursor { height: 0, index: 0 }, 9).unwrap() {
        common::schema::conforms("event", &find("events_subscribe")["result"]["schema"], &json!(event));
    }
    let called: BTreeSet<&str> = calls.iter().map(|c| c.0).chain(["events_subscribe"]).collect();
    let documented: BTreeSet<&str> = methods.iter().map(|m| m["name"].as_str().unwrap()).collect();
    assert_eq!(called, documented, "every documented method is called here");
}

#[tokio::test]
async fn a_node_that_is_not_there_is_unavailable_with_address_and_next_step() {
    let Setup { server, client, addr, .. } = start().await;
    client.status().await.unwrap();
    server.stop().await;
    let error = client.status().await.unwrap_err();
    assert!(
        matches!(&error, ClientError::Unavailable { url, .. } if url.contains(&addr.port().to_string())),
        "{error}"
    );
    assert!(error.to_string().contains("--rpc"), "{error}");
    assert!(matches!(client.events(None).await, Err(ClientError::Unavailable { .. })));
    assert!(matches!(metanode_rpc::Client::new("http://"), Err(ClientError::Unavailable { .. })));
}
