//! The memory twin: determinism, loss, duplicates, order, partitions, crashes, bans.

use super::*;
use crate::{Failure, limits};

/// Nodes that accept and forward everything, and note what they heard.
struct Town {
    hub: Hub,
    nodes: Vec<MemNetwork>,
    heard: Vec<Vec<(u64, Vec<u8>)>>,
    events: Vec<Vec<Event>>,
}

impl Town {
    fn new(seed: u64, conditions: Conditions, size: usize) -> Town {
        let hub = Hub::new(seed, conditions);
        let nodes: Vec<_> = (0..size).map(|i| hub.join(&format!("node-{i}"))).collect();
        let mut town = Town { hub, nodes, heard: vec![vec![]; size], events: vec![vec![]; size] };
        town.run_until(100);
        town
    }

    fn run_until(&mut self, end: u64) {
        loop {
            self.drain();
            match self.hub.next_event_at().filter(|at| *at <= end) {
                Some(at) => self.hub.advance_to(at),
                None => break,
            }
        }
        self.hub.advance_to(end);
        self.drain();
    }

    fn drain(&mut self) {
        for (i, node) in self.nodes.iter().enumerate() {
            while let Some(event) = node.try_next() {
                match &event {
                    Event::Gossip { id, data, .. } => {
                        self.heard[i].push((self.hub.now_ms(), data.clone()));
                        node.validated(id, Verdict::Accept);
                    }
                    Event::Request { id, data, .. } => {
                        node.respond(*id, [b"re:", &data[..]].concat()).unwrap()
                    }
                    _ => {}
                }
                self.events[i].push(event);
            }
        }
    }

    fn id(&self, i: usize) -> PeerId {
        self.nodes[i].local_peer_id()
    }
}

fn rough(seed: u64) -> [u8; 32] {
    let conditions =
        Conditions { latency_ms: 1..=50, loss_permille: 100, duplicate_permille: 100, reorder: true };
    let mut town = Town::new(seed, conditions, 5);
    for step in 0..40u64 {
        let who = step as usize % 5;
        let _ = town.nodes[who].publish(Topic::Consensus, step.to_le_bytes().to_vec());
        let _ = town.nodes[who].request(town.id((who + 1) % 5), Protocol::Sync, vec![1]);
        match step {
            10 => town.hub.cut(&town.id(0), &town.id(1)),
            20 => town.hub.crash(&town.id(2)),
            25 => town.nodes[2] = town.hub.join("node-2"),
            30 => town.hub.heal_all(),
            _ => {}
        }
        town.run_until(200 + step * 50);
    }
    town.run_until(60_000);
    town.hub.trace()
}

#[test]
fn one_seed_is_one_run_and_another_seed_is_another() {
    assert_eq!(rough(1), rough(1));
    assert_ne!(rough(1), rough(2));
}

#[test]
fn everybody_connects_and_hears_everything_exactly_once() {
    let mut town = Town::new(3, Conditions::default(), 4);
    assert!(town.nodes.iter().all(|n| n.peers().len() == 3));
    for i in 0..4u8 {
        town.nodes[usize::from(i)].publish(Topic::Blocks, vec![i]).unwrap();
    }
    town.run_until(200);
    for (i, heard) in town.heard.iter().enumerate() {
        let mut heard: Vec<u8> = heard.iter().map(|(_, d)| d[0]).collect();
        heard.sort_unstable();
        let expected: Vec<u8> = (0..4).filter(|n| usize::from(*n) != i).collect();
        assert_eq!(heard, expected);
    }
}

#[test]
fn a_content_published_again_is_heard_again_but_not_within_the_quiet_time() {
    let mut town = Town::new(3, Conditions::default(), 2);
    for at in [200, 300, 200 + limits::REPEAT_QUIET_MS + 50] {
        town.run_until(at);
        town.nodes[0].publish(Topic::Consensus, b"vote".to_vec()).unwrap();
    }
    town.run_until(5_000);
    assert_eq!(town.heard[1].len(), 2);
    assert_eq!(town.nodes[1].stats().repeated, 1);
}

#[test]
fn order_is_kept_unless_asked_otherwise() {
    let arrivals = |reorder| {
        let conditions = Conditions { latency_ms: 1..=100, reorder, ..Conditions::default() };
        let mut town = Town::new(5, conditions, 2);
        town.run_until(1_000);
        (0..50u8).for_each(|i| town.nodes[0].publish(Topic::Consensus, vec![i]).unwrap());
        town.run_until(2_000);
        town.heard[1].iter().map(|(_, d)| d[0]).collect::<Vec<u8>>()
    };
    let sorted: Vec<u8> = (0..50).collect();
    assert_eq!(arrivals(false), sorted);
    let mut overtaken = arrivals(true);
    assert_ne!(overtaken, sorted);
    overtaken.sort_unstable();
    assert_eq!(overtaken, sorted);
}

#[test]
fn loss_loses_about_what_it_says_and_a_lost_request_times_out() {
    let conditions = Conditions { loss_permille: 300, ..Conditions::default() };
    let mut town = Town::new(7, conditions, 2);
    for i in 0..1000u32 {
        town.nodes[0].publish(Topic::Consensus, i.to_le_bytes().to_vec()).unwrap();
    }
    for _ in 0..50 {
        town.nodes[0].request(town.id(1), Protocol::Sync, vec![7]).unwrap();
    }
    town.run_until(20_000);
    assert!((600..800).contains(&town.heard[1].len()), "{}", town.heard[1].len());
    let answered = town.events[0].iter().filter(|e| matches!(e, Event::Response { .. })).count();
    let timed_out = town.events[0]
        .iter()
        .filter(|e| matches!(e, Event::RequestFailed { why: Failure::Timeout, .. }))
        .count();
    let refused = town.events[0]
        .iter()
        .filter(|e| matches!(e, Event::RequestFailed { why: Failure::Busy, .. }))
        .count();
    assert_eq!(answered + timed_out + refused, 50, "each request ends exactly once");
    assert!(answered > 10 && timed_out > 5, "{answered} {timed_out} {refused}");
}

#[test]
fn duplicates_reach_the_core_loop_and_end() {
    let conditions = Conditions { duplicate_permille: 500, ..Conditions::default() };
    let mut town = Town::new(7, conditions, 2);
    (0..100u8).for_each(|i| town.nodes[0].publish(Topic::Consensus, vec![i]).unwrap());
    town.run_until(30_000);
    assert!((120..250).contains(&town.heard[1].len()), "{}", town.heard[1].len());
}

#[test]
fn a_cut_is_relayed_around_and_a_partition_is_not() {
    let mut town = Town::new(1, Conditions::default(), 3);
    town.hub.cut(&town.id(0), &town.id(1));
    assert_eq!(town.nodes[0].peers().len(), 1);
    town.nodes[0].publish(Topic::Consensus, b"around".to_vec()).unwrap();
    town.run_until(1_000);
    assert_eq!(town.heard[1].len(), 1, "the third node forwards what it accepted");
    town.hub.partition(&[&[town.id(0)], &[town.id(1), town.id(2)]]);
    town.nodes[0].publish(Topic::Consensus, b"lost".to_vec()).unwrap();
    assert_eq!(town.nodes[0].stats().unheard, 1);
    let id = town.nodes[0].request(town.id(1), Protocol::Blob, vec![]).unwrap();
    town.run_until(2_000);
    assert_eq!(town.heard[1].len(), 1);
    let failed =
        Event::RequestFailed { peer: town.id(1), protocol: Protocol::Blob, id, why: Failure::NotConnected };
    assert!(town.events[0].contains(&failed));
    town.hub.heal_all();
    town.run_until(3_000);
    assert_eq!(town.nodes[0].peers().len(), 2);
    town.nodes[0].publish(Topic::Consensus, b"back".to_vec()).unwrap();
    town.run_until(4_000);
    assert_eq!(town.heard[1].len(), 2);
}

#[test]
fn a_crash_is_noticed_and_the_dead_handle_stays_dead() {
    let mut town = Town::new(1, Conditions { latency_ms: 20..=20, ..Conditions::default() }, 3);
    let (dead, asked) = (town.id(2), town.nodes[0].request(town.id(2), Protocol::Sync, vec![]).unwrap());
    town.nodes[2].publish(Topic::Consensus, b"last words".to_vec()).unwrap();
    town.hub.crash(&dead);
    town.run_until(200);
    assert!(town.heard.iter().all(Vec::is_empty), "what was under way is lost");
    assert!(town.events[0].contains(&Event::PeerDisconnected { peer: dead }));
    let why = Failure::NotConnected;
    assert!(town.events[0].contains(&Event::RequestFailed {
        peer: dead,
        protocol: Protocol::Sync,
        id: asked,
        why
    }));
    assert!(matches!(town.nodes[2].publish(Topic::Consensus, vec![]), Err(Error::NetworkDown)));
    let back = town.hub.join("node-2");
    assert_eq!(back.local_peer_id(), dead);
    let old = std::mem::replace(&mut town.nodes[2], back);
    town.run_until(400);
    assert!(old.try_next().is_none() && old.peers().is_empty());
    town.nodes[2].publish(Topic::Consensus, b"again".to_vec()).unwrap();
    town.run_until(600);
    assert_eq!((town.heard[0].len(), town.heard[1].len()), (1, 1));
}

#[test]
fn who_is_rejected_often_is_banned_and_comes_back() {
    let hub = Hub::new(1, Conditions::default());
    let (a, b) = (hub.join("a"), hub.join("b"));
    hub.advance_to(100);
    let mut banned = false;
    for i in 0..10u8 {
        let _ = b.publish(Topic::Transactions, vec![i]);
        hub.advance_to(hub.now_ms() + 10);
        while let Some(event) = a.try_next() {
            match event {
                Event::Gossip { id, .. } => a.validated(&id, Verdict::Reject),
                Event::Banned { peer, reason, for_ms } => {
                    assert_eq!(
                        (peer, reason, for_ms),
                        (b.local_peer_id(), Offence::InvalidMessage, limits::BAN_MIN_MS)
                    );
                    banned = true;
                }
                _ => {}
            }
        }
    }
    assert!(banned && a.peers().is_empty() && b.peers().is_empty());
    hub.advance_to(hub.now_ms() + limits::BAN_MIN_MS + 100);
    assert_eq!((a.peers().len(), b.peers().len()), (1, 1));
}

#[test]
fn bounds_are_those_of_the_live_network() {
    let hub = Hub::new(1, Conditions::default());
    let (a, b) = (hub.join("a"), hub.join("b"));
    hub.advance_to(10);
    for topic in Topic::ALL {
        assert!(a.publish(topic, vec![0; topic.max_bytes()]).is_ok());
        assert!(matches!(
            a.publish(topic, vec![0; topic.max_bytes() + 1]),
            Err(Error::PublishTooLong { .. })
        ));
    }
    for protocol in Protocol::ALL {
        let long = vec![0; protocol.max_request() + 1];
        assert!(matches!(a.request(b.local_peer_id(), protocol, long), Err(Error::RequestTooLong { .. })));
    }
}
