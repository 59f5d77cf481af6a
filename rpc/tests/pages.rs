//! The plain HTTP pages beside the JSON-RPC.

mod common;

use common::{get, http, post, start};
use serde_json::json;

#[tokio::test]
async fn status_and_liveness_and_the_pointer() {
    let setup = start().await;
    let status = get(setup.addr, "/status").await;
    assert_eq!((status.status, status.json()), (200, json!(setup.fake.status_view())));
    assert!(status.head.contains("content-type: application/json"));
    let live = get(setup.addr, "/livez").await;
    assert_eq!((live.status, live.body.as_str()), (200, "ok\n"));
    let pointer = get(setup.addr, "/").await;
    assert_eq!((pointer.status, pointer.body.lines().count()), (200, 1));
    assert!(pointer.body.contains("rpc.discover"));
}

#[tokio::test]
async fn readiness_says_why_not_and_how_far_behind() {
    let setup = start().await;
    let ready = get(setup.addr, "/readyz").await;
    assert_eq!((ready.status, ready.json()), (200, json!({"ready": true, "reason": "serving", "lag": 0})));
    *setup.fake.ready.lock().unwrap() = false;
    let behind = get(setup.addr, "/readyz").await;
    assert_eq!(
        (behind.status, behind.json()),
        (503, json!({"ready": false, "reason": "catching up", "lag": 12}))
    );
}

#[tokio::test]
async fn metrics_have_the_node_and_the_port_itself() {
    let setup = start().await;
    post(setup.addr, r#"{"jsonrpc":"2.0","id":1,"method":"chain_status"}"#).await;
    let metrics = get(setup.addr, "/metrics").await;
    assert!(metrics.head.contains("text/plain; version=0.0.4"), "{}", metrics.head);
    assert!(metrics.body.contains("# TYPE metanode_consensus_height gauge\nmetanode_consensus_height 3\n"));
    assert!(metrics.body.contains("\nmetanode_rpc_requests_total 2\n"), "{}", metrics.body);
    assert!(metrics.body.contains("\nmetanode_rpc_in_flight 1\n"), "the scrape itself: {}", metrics.body);
}

#[tokio::test]
async fn other_pages_and_methods_are_refused() {
    let setup = start().await;
    for path in ["/nope", "/status/", "/metrics/../x"] {
        assert_eq!(get(setup.addr, path).await.status, 404, "{path}");
    }
    for (method, path, allow) in
        [("POST", "/status", "get"), ("DELETE", "/", "get, post"), ("HEAD", "/livez", "get")]
    {
        let reply = http(setup.addr, method, path, "", b"").await;
        assert_eq!(reply.status, 405, "{method} {path}");
        assert!(reply.head.contains(&format!("allow: {allow}")), "{}", reply.head);
    }
    let wrong_type = http(setup.addr, "POST", "/", "content-type: text/plain\r\n", b"{}").await;
    assert_eq!(
        (wrong_type.status, wrong_type.refused()),
        (415, -32600),
        "a form of a web page is no request"
    );
}
