//! Real nodes over QUIC and TCP: gossip, requests, handshake, redial, bans.

mod common;

use common::*;
use metanode_p2p::{
    Error, Event, Failure, LiveNetwork, Network, Offence, PeerAddress, Protocol, Topic, Verdict, limits,
};
use std::time::{Duration, Instant};

/// Waits for one gossip message and accepts it.
async fn hear(node: &LiveNetwork) -> (Topic, Vec<u8>) {
    wait_for(node, |e| match e {
        Event::Gossip { topic, data, id, .. } => {
            node.validated(&id, Verdict::Accept);
            Some((topic, data))
        }
        _ => None,
    })
    .await
}

async fn gossip_and_request(nodes: Vec<LiveNetwork>) {
    for topic in Topic::ALL {
        for (i, speaker) in nodes.iter().enumerate() {
            let word = format!("{topic} of {i}").into_bytes();
            speaker.publish(topic, word.clone()).unwrap();
            for (j, listener) in nodes.iter().enumerate().filter(|(j, _)| *j != i) {
                assert_eq!(hear(listener).await, (topic, word.clone()), "node {j}");
            }
        }
    }
    let (asker, asked) = (&nodes[0], &nodes[1]);
    for protocol in Protocol::ALL {
        let id = asker.request(asked.local_peer_id(), protocol, b"question".to_vec()).unwrap();
        let (from, inbound) = wait_for(asked, |e| match e {
            Event::Request { peer, id, data, .. } if data == b"question" => Some((peer, id)),
            _ => None,
        })
        .await;
        assert_eq!(from, asker.local_peer_id());
        let answer = vec![7; protocol.max_response()];
        asked.respond(inbound, answer.clone()).unwrap();
        asked.respond(inbound, b"twice".to_vec()).unwrap();
        let got = wait_for(asker, |e| match e {
            Event::Response { id: of, data, .. } if of == id => Some(data),
            Event::RequestFailed { why, .. } => panic!("{why}"),
            _ => None,
        })
        .await;
        assert!(got == answer, "the largest response arrives whole");
    }
    let refused = asker.request(asked.local_peer_id(), Protocol::Sync, vec![]).unwrap();
    let inbound = wait_for(asked, |e| if let Event::Request { id, .. } = e { Some(id) } else { None }).await;
    asked.refuse(inbound);
    wait_for(asker, |e| {
        matches!(e, Event::RequestFailed { id, why: Failure::Busy, .. } if id == refused).then_some(())
    })
    .await;
    for node in nodes {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_talk_over_quic() {
    gossip_and_request(cluster(2, QUIC).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_talk_over_tcp_with_tls() {
    gossip_and_request(cluster(2, TCP).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_nodes_talk_over_quic() {
    gossip_and_request(cluster(4, QUIC).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_nodes_talk_over_tcp_with_tls() {
    gossip_and_request(cluster(4, TCP).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_once_connected_arrives_and_again_when_repeated() {
    let (a, address) = start(config(1, QUIC, vec![])).await;
    let (b, _) = start(config(2, QUIC, vec![address])).await;
    wait_connected(&a, b.local_peer_id()).await;
    // No pause: being reported as connected means that gossip reaches the peer.
    a.publish(Topic::Consensus, b"vote".to_vec()).unwrap();
    assert_eq!(hear(&b).await.1, b"vote");
    let first = Instant::now();
    // The same bytes get through again once the quiet time is over, long before any duplicate cache forgets
    // them.
    wait_for_quiet(first).await;
    a.publish(Topic::Consensus, b"vote".to_vec()).unwrap();
    assert_eq!(hear(&b).await.1, b"vote");
    assert!(first.elapsed() < Duration::from_millis(limits::DUPLICATE_CACHE_MS));
}

async fn wait_for_quiet(since: Instant) {
    until(|| since.elapsed() > Duration::from_millis(limits::REPEAT_QUIET_MS + 50)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gossip_among_four_does_not_wait_for_heartbeats() {
    let nodes = cluster(4, QUIC).await;
    let mut took = Vec::new();
    for i in 0..21u8 {
        let sent = Instant::now();
        nodes[usize::from(i) % 4].publish(Topic::Consensus, vec![i]).unwrap();
        for j in (0..4).filter(|j| *j != usize::from(i) % 4) {
            assert_eq!(hear(&nodes[j]).await.1, [i]);
        }
        took.push(sent.elapsed());
    }
    took.sort_unstable();
    println!("publish to heard by all of four: median {:?}, worst {:?}", took[10], took[20]);
    assert!(took[10] < Duration::from_millis(limits::GOSSIP_HEARTBEAT_MS / 5), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_forwarded_only_after_a_verdict_and_never_if_rejected() {
    // b is between a and c, which do not know each other.
    let (b, address) = start(config(2, QUIC, vec![])).await;
    let (a, _) = start(config(1, QUIC, vec![address.clone()])).await;
    let (c, _) = start(config(3, QUIC, vec![address])).await;
    until(|| b.peers().len() == 2 && a.peers().len() == 1 && c.peers().len() == 1).await;
    for (word, verdict) in [("bad", Verdict::Reject), ("dull", Verdict::Ignore), ("good", Verdict::Accept)] {
        a.publish(Topic::Consensus, word.as_bytes().to_vec()).unwrap();
        let id = wait_for(&b, |e| if let Event::Gossip { id, .. } = e { Some(id) } else { None }).await;
        b.validated(&id, verdict);
    }
    assert_eq!(hear(&c).await.1, b"good");
    assert_eq!(b.stats().offences, 1);
    assert_eq!(b.peers().iter().map(|p| p.score).max(), Some(Offence::InvalidMessage.weight()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_message_of_each_topic_arrives_and_a_longer_one_is_refused() {
    let nodes = cluster(2, TCP).await;
    for topic in Topic::ALL {
        let cap = topic.max_bytes();
        let refused = nodes[0].publish(topic, vec![0; cap + 1]).unwrap_err();
        assert!(matches!(refused, Error::PublishTooLong { len, .. } if len == cap + 1));
        nodes[0].publish(topic, vec![5; cap]).unwrap();
        let (heard, data) = hear(&nodes[1]).await;
        assert!(heard == topic && data == vec![5; cap], "{topic}");
    }
    for protocol in Protocol::ALL {
        let long = vec![0; protocol.max_request() + 1];
        let refused = nodes[0].request(nodes[1].local_peer_id(), protocol, long).unwrap_err();
        assert!(matches!(refused, Error::RequestTooLong { .. }));
    }
    let stranger = key(99).peer_id();
    let id = nodes[0].request(stranger, Protocol::Sync, vec![]).unwrap();
    wait_for(&nodes[0], |e| {
        matches!(e, Event::RequestFailed { id: of, why: Failure::NotConnected, .. } if of == id).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_of_another_chain_are_turned_away_and_both_operators_learn_why() {
    for listen in [QUIC, TCP] {
        let (a, address) = start(config(1, listen, vec![])).await;
        let (b, _) =
            start(metanode_p2p::Config { chain: [0x0b; 32], ..config(2, listen, vec![address]) }).await;
        let mismatch = |e| match e {
            Event::ChainMismatch { peer, ours, theirs } => Some((peer, ours, theirs)),
            Event::PeerConnected { .. } => panic!("a peer of another chain was let in"),
            _ => None,
        };
        let (ours, theirs) =
            (format!("metanode/{}", "c4".repeat(32)), format!("metanode/{}", "0b".repeat(32)));
        assert_eq!(wait_for(&a, mismatch).await, (b.local_peer_id(), ours.clone(), theirs.clone()));
        assert_eq!(wait_for(&b, mismatch).await, (a.local_peer_id(), theirs, ours));
        assert!(a.peers().is_empty() && b.peers().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_restarts_on_its_port_is_found_again_and_hears_everything() {
    for listen in [QUIC, TCP] {
        let (b, address) = start(config(2, listen, vec![])).await;
        let (a, _) = start(config(1, listen, vec![address.clone()])).await;
        wait_connected(&a, b.local_peer_id()).await;
        let gone = b.local_peer_id();
        b.shutdown().await;
        wait_for(&a, |e| matches!(e, Event::PeerDisconnected { peer } if peer == gone).then_some(())).await;
        a.publish(Topic::Consensus, b"nobody hears".to_vec()).unwrap();
        // It comes back at the same address, knowing nobody: only a's redial can find it.
        let (b, again) = start(config(2, address.address(), vec![])).await;
        assert_eq!(again, address);
        wait_connected(&a, gone).await;
        wait_connected(&b, a.local_peer_id()).await;
        for (from, to) in [(&a, &b), (&b, &a)] {
            from.publish(Topic::Consensus, format!("back {}", from.local_peer_id()).into_bytes()).unwrap();
            assert_eq!(hear(to).await.1, format!("back {}", from.local_peer_id()).into_bytes());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_appears_late_is_found_by_redial() {
    // Take a free port, give it up, and let the peer appear there only after the first dials have failed.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address: PeerAddress = format!("/ip4/127.0.0.1/tcp/{port}/p2p/{}", key(2).peer_id()).parse().unwrap();
    let (a, _) = start(config(1, TCP, vec![address.clone()])).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    let (b, _) = start(config(2, address.address(), vec![])).await;
    wait_connected(&a, b.local_peer_id()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_dial_each_other_at_once_end_up_connected() {
    let (a, at_a) = start(config(1, QUIC, vec![])).await;
    let (b, at_b) = start(config(2, TCP, vec![])).await;
    a.add_peer(at_b).unwrap();
    b.add_peer(at_a).unwrap();
    wait_connected(&a, b.local_peer_id()).await;
    wait_connected(&b, a.local_peer_id()).await;
    a.publish(Topic::Blocks, b"one".to_vec()).unwrap();
    assert_eq!(hear(&b).await.1, b"one");
    b.publish(Topic::Blocks, b"two".to_vec()).unwrap();
    assert_eq!(hear(&a).await.1, b"two");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_over_the_threshold_is_banned_with_the_reason() {
    let nodes = cluster(2, QUIC).await;
    let bad = nodes[1].local_peer_id();
    for _ in 0..limits::BAN_SCORE.div_ceil(Offence::BadChunk.weight()) {
        nodes[0].penalize(&bad, Offence::BadChunk);
    }
    wait_for(&nodes[0], |e| {
        let banned = Event::Banned { peer: bad, reason: Offence::BadChunk, for_ms: limits::BAN_MIN_MS };
        (e == banned).then_some(())
    })
    .await;
    until(|| nodes[0].peers().is_empty() && nodes[1].peers().is_empty()).await;
    let turned_away = nodes[0].stats();
    assert_eq!(turned_away.bans, 1);
    // It dials on (it knows the address), and stays outside.
    let end = Instant::now() + Duration::from_secs(2);
    until(|| Instant::now() > end || !nodes[0].peers().is_empty()).await;
    assert!(nodes[0].peers().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_too_much_at_once_is_refused_the_rest_at_once() {
    let nodes = cluster(2, QUIC).await;
    let (asker, asked) = (&nodes[0], &nodes[1]);
    let total = limits::MAX_OUTSTANDING_PER_PEER + 8;
    for _ in 0..total {
        asker.request(asked.local_peer_id(), Protocol::Sync, b"more".to_vec()).unwrap();
    }
    let (mut busy, mut too_many) = (0, 0);
    while busy + too_many < total - limits::MAX_PENDING_PER_PEER {
        let why =
            wait_for(asker, |e| if let Event::RequestFailed { why, .. } = e { Some(why) } else { None })
                .await;
        match why {
            Failure::Busy => busy += 1,
            Failure::TooMany => too_many += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!((busy, too_many), (limits::MAX_OUTSTANDING_PER_PEER - limits::MAX_PENDING_PER_PEER, 8));
    assert_eq!(asked.stats().served, limits::MAX_PENDING_PER_PEER as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_and_a_false_address_are_named() {
    let (_a, address) = start(config(1, TCP, vec![])).await;
    let (_q, quic) = start(config(3, QUIC, vec![])).await;
    for (listen, reason) in [
        (quic.address(), "in use"),
        (address.address(), "in use"),
        ("nonsense", "multiaddress"),
        ("/ip4/127.0.0.1/tcp/0/ws", "it must be"),
    ] {
        match LiveNetwork::spawn(config(2, listen, vec![])) {
            Err(Error::Listen { address, why }) => {
                assert_eq!(address, listen);
                assert!(why.contains(reason), "{why}");
            }
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("{listen} was taken"),
        }
    }
}

#[test]
fn without_a_runtime_it_says_so() {
    assert!(matches!(LiveNetwork::spawn(config(1, TCP, vec![])), Err(Error::FindRuntime)));
}

#[tokio::test]
async fn a_core_loop_is_woken_and_can_block_on_its_own_thread() {
    let (calls, counted) = std::sync::mpsc::sync_channel(1);
    let wake = std::sync::Arc::new(move || calls.try_send(()).unwrap_or(()));
    let node =
        LiveNetwork::spawn(metanode_p2p::Config { wake: Some(wake), ..config(1, TCP, vec![]) }).unwrap();
    let loop_thread = std::thread::spawn(move || {
        counted.recv_timeout(PATIENCE).expect("woken");
        let event = node.next_timeout(PATIENCE).expect("an event");
        (node.next_timeout(Duration::ZERO), event, node)
    });
    let joined = tokio::task::spawn_blocking(|| loop_thread.join().unwrap()).await.unwrap();
    assert!(matches!(joined.1, Event::Listening { .. }));
    assert_eq!(joined.0, None);
}
