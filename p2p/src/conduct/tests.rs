//! Budgets, scores and bans under a made-up clock.

use super::*;

fn peer(n: u16) -> PeerId {
    let mut key = [0; 32];
    key[..2].copy_from_slice(&n.to_be_bytes());
    PeerId::from_key(key)
}

#[test]
fn five_invalid_messages_get_a_peer_banned_and_bans_grow() {
    let (mut conduct, p) = (Conduct::default(), peer(1));
    for _ in 0..4 {
        assert_eq!(conduct.offend(&p, Offence::InvalidMessage, 1000), None);
    }
    let ban = conduct.offend(&p, Offence::InvalidMessage, 1000).unwrap();
    assert_eq!(ban, Ban { reason: Offence::InvalidMessage, for_ms: limits::BAN_MIN_MS });
    assert!(conduct.is_banned(&p, 1000 + limits::BAN_MIN_MS - 1));
    assert_eq!(conduct.offend(&p, Offence::Malice, 1001), None, "one ban is one event");
    assert!(conduct.pardon(1000 + limits::BAN_MIN_MS - 1).is_empty());
    assert_eq!(conduct.pardon(1000 + limits::BAN_MIN_MS), vec![p]);
    assert!(conduct.pardon(1000 + limits::BAN_MIN_MS).is_empty(), "a pardon is spoken once");
    let again = conduct.offend(&p, Offence::Malice, 100_000).unwrap();
    assert_eq!(again.for_ms, 2 * limits::BAN_MIN_MS);
}

#[test]
fn bans_stay_below_their_bound() {
    let (mut conduct, p, mut now) = (Conduct::default(), peer(1), 0);
    for _ in 0..100 {
        let ban = conduct.offend(&p, Offence::Malice, now).unwrap();
        assert!(ban.for_ms <= limits::BAN_MAX_MS);
        now += ban.for_ms;
        conduct.pardon(now);
    }
}

#[test]
fn time_forgives() {
    let (mut conduct, p) = (Conduct::default(), peer(1));
    for i in 0..1000u64 {
        assert_eq!(
            conduct.offend(&p, Offence::InvalidMessage, i * 20_000),
            None,
            "one offence in 20 s is forgiven"
        );
    }
    assert_eq!(conduct.score(&p), Offence::InvalidMessage.weight());
}

#[test]
fn a_budget_is_spent_and_refills() {
    let (mut conduct, p) = (Conduct::default(), peer(1));
    let spent = (0..limits::REQUESTS_BURST * 2).filter(|_| conduct.allow_request(&p, 5)).count() as u64;
    assert_eq!(spent, limits::REQUESTS_BURST);
    assert!(conduct.allow_request(&p, 5 + 1000 / limits::REQUESTS_PER_SECOND));
    assert!(!conduct.allow_request(&p, 5 + 1000 / limits::REQUESTS_PER_SECOND));
    assert!(!conduct.allow_request(&p, 0), "a clock that goes back gives nothing");
    assert!(conduct.allow_request(&peer(2), 5), "another peer has its own budget");
}

#[test]
fn gossip_is_bounded_in_bytes_too() {
    let (mut conduct, p) = (Conduct::default(), peer(1));
    let big = limits::MAX_BLOCK_MESSAGE_BYTES;
    let let_in = (0..1000).filter(|_| conduct.allow_gossip(&p, big, 0)).count();
    assert_eq!(let_in as u64, limits::GOSSIP_BYTES_BURST / big as u64);
}

#[test]
fn strangers_cannot_grow_the_memory_nor_wash_away_a_ban() {
    let mut conduct = Conduct::default();
    conduct.offend(&peer(0), Offence::Malice, 0).unwrap();
    for n in 1..=(limits::MAX_REMEMBERED_PEERS as u16 + 500) {
        conduct.allow_request(&peer(n), u64::from(n) % 50);
    }
    assert!(conduct.records.len() <= limits::MAX_REMEMBERED_PEERS);
    assert!(conduct.is_banned(&peer(0), 50));
}
