//! When to dial whom again.
//!
//! Owns the table of peers worth dialling. Sans-I/O: time comes in as milliseconds, due peers come out.
//! Static peers are tried for ever, and the pause never exceeds [`limits::REDIAL_MAX_MS`] (plus jitter), so
//! a peer that was away for an hour is found within seconds of its return. Peers that told us their address
//! are tried a bounded number of times, and a bounded number of them is known.

use crate::{PeerAddress, PeerId, limits};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
struct Target {
    addresses: BTreeSet<String>,
    is_static: bool,
    connected: bool,
    /// Dials since the peer was last ready.
    dials: u32,
    next_at_ms: u64,
}

/// The peers worth dialling.
#[derive(Debug)]
pub(crate) struct Redial {
    targets: BTreeMap<PeerId, Target>,
    jitter: u64,
}

impl Redial {
    /// An empty table. The seed spreads the dials of different nodes.
    pub(crate) fn new(seed: u64) -> Self {
        Redial { targets: BTreeMap::new(), jitter: seed }
    }

    /// Adds a static peer, or an address to one; says whether there was room.
    pub(crate) fn add_static(&mut self, address: &PeerAddress, now_ms: u64) -> bool {
        let others = self.targets.iter().filter(|(peer, t)| t.is_static && **peer != address.peer).count();
        if others >= limits::MAX_STATIC_PEERS {
            return false;
        }
        let target = self.targets.entry(address.peer).or_insert_with(|| Target::new(now_ms));
        target.is_static = true;
        if !target.connected {
            target.next_at_ms = now_ms;
        }
        target.add(address.address());
        true
    }

    /// Notes the addresses that a connected peer told us, if there is room.
    pub(crate) fn learn<'a>(&mut self, peer: PeerId, addresses: impl Iterator<Item = &'a str>, now_ms: u64) {
        let learnt = self.targets.values().filter(|t| !t.is_static).count();
        if !self.targets.contains_key(&peer) && learnt >= limits::MAX_LEARNT_PEERS {
            return;
        }
        let mut addresses = addresses.peekable();
        if addresses.peek().is_none() {
            return;
        }
        let target = self.targets.entry(peer).or_insert_with(|| Target::new(now_ms));
        addresses.for_each(|a| target.add(a));
        target.connected = true;
    }

    /// The peer is connected: no need to dial it.
    pub(crate) fn connected(&mut self, peer: &PeerId) {
        if let Some(target) = self.targets.get_mut(peer) {
            target.connected = true;
        }
    }

    /// The peer has proven itself: the next pause starts small again.
    pub(crate) fn ready(&mut self, peer: &PeerId) {
        if let Some(target) = self.targets.get_mut(peer) {
            target.dials = 0;
        }
    }

    /// The peer is gone: dial it after a pause that grows with failure.
    pub(crate) fn lost(&mut self, peer: &PeerId, now_ms: u64) {
        let jitter = self.draw();
        if let Some(target) = self.targets.get_mut(peer) {
            target.connected = false;
            target.next_at_ms = now_ms + pause(target.dials, jitter);
        }
    }

    /// Do not dial the peer before a time.
    pub(crate) fn hold(&mut self, peer: &PeerId, until_ms: u64) {
        if let Some(target) = self.targets.get_mut(peer) {
            target.next_at_ms = target.next_at_ms.max(until_ms);
        }
    }

    /// Peers to dial now, with their addresses. Each is due again after its pause, whatever becomes of the
    /// dial.
    pub(crate) fn due(&mut self, now_ms: u64) -> Vec<(PeerId, Vec<String>)> {
        self.targets.retain(|_, t| t.is_static || t.connected || t.dials < limits::MAX_LEARNT_DIALS);
        let mut due = Vec::new();
        let mut jitter = self.jitter;
        for (peer, target) in &mut self.targets {
            if target.connected || target.next_at_ms > now_ms {
                continue;
            }
            target.dials = target.dials.saturating_add(1);
            target.next_at_ms = now_ms + pause(target.dials, mix(&mut jitter));
            due.push((*peer, target.addresses.iter().cloned().collect()));
        }
        self.jitter = jitter;
        due
    }

    fn draw(&mut self) -> u64 {
        mix(&mut self.jitter)
    }
}

impl Target {
    fn new(now_ms: u64) -> Self {
        Target {
            addresses: BTreeSet::new(),
            is_static: false,
            connected: false,
            dials: 0,
            next_at_ms: now_ms,
        }
    }

    fn add(&mut self, address: &str) {
        if self.addresses.len() < limits::MAX_ADDRESSES_PER_PEER {
            self.addresses.insert(address.to_string());
        }
    }
}

/// The pause after so many dials: doubling up to the bound, plus up to a quarter.
fn pause(dials: u32, jitter: u64) -> u64 {
    let doubled = limits::REDIAL_MIN_MS.saturating_mul(1 << dials.saturating_sub(1).min(16));
    let base = doubled.min(limits::REDIAL_MAX_MS);
    base + jitter % (base / 4)
}

/// One step of splitmix64, the generator used wherever this crate needs spread and not secrecy.
pub(crate) fn mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u16) -> PeerId {
        let mut key = [9; 32];
        key[..2].copy_from_slice(&n.to_be_bytes());
        PeerId::from_key(key)
    }

    fn address(n: u16) -> PeerAddress {
        PeerAddress::new(peer(n), "/ip4/127.0.0.1/tcp/1").unwrap()
    }

    #[test]
    fn a_static_peer_is_tried_for_ever_and_found_soon_after_an_hour() {
        let mut redial = Redial::new(1);
        assert!(redial.add_static(&address(1), 0));
        let (mut now, mut last, mut dials) = (0, 0, 0);
        while now < 3_600_000 {
            if !redial.due(now).is_empty() {
                assert!(now - last <= limits::REDIAL_MAX_MS * 5 / 4 + 50, "{now} {last}");
                last = now;
                dials += 1;
            }
            now += 50;
        }
        assert!((500..900).contains(&dials), "{dials}");
        redial.connected(&peer(1));
        assert!(redial.due(now + 100_000).is_empty());
        redial.ready(&peer(1));
        redial.lost(&peer(1), now + 100_000);
        assert!(redial.due(now + 100_000).is_empty());
        assert_eq!(redial.due(now + 100_000 + limits::REDIAL_MIN_MS * 5 / 4).len(), 1);
    }

    #[test]
    fn a_peer_that_connects_but_never_gets_ready_is_tried_ever_more_rarely() {
        let mut redial = Redial::new(1);
        redial.add_static(&address(1), 0);
        let (mut now, mut dials) = (0, 0);
        while now < 60_000 {
            if !redial.due(now).is_empty() {
                redial.connected(&peer(1));
                redial.lost(&peer(1), now);
                dials += 1;
            }
            now += 50;
        }
        assert!((10..25).contains(&dials), "{dials}");
        redial.hold(&peer(1), now + 30_000);
        assert!(redial.due(now + 29_999).is_empty());
        assert_eq!(redial.due(now + 30_000).len(), 1);
    }

    #[test]
    fn learnt_peers_are_bounded_in_number_addresses_and_dials() {
        let mut redial = Redial::new(1);
        for n in 0..(limits::MAX_LEARNT_PEERS as u16 + 10) {
            let addresses: Vec<String> = (1..100).map(|p| format!("/ip4/127.0.0.1/tcp/{p}")).collect();
            redial.learn(peer(n), addresses.iter().map(String::as_str), 0);
            redial.lost(&peer(n), 0);
        }
        assert_eq!(redial.targets.len(), limits::MAX_LEARNT_PEERS);
        assert!(redial.due(10_000).iter().all(|(_, a)| a.len() == limits::MAX_ADDRESSES_PER_PEER));
        let mut now = 10_000;
        for _ in 0..2 * limits::MAX_LEARNT_DIALS {
            now += 10_000;
            redial.due(now);
        }
        assert!(redial.targets.is_empty());
        redial.learn(peer(1), std::iter::empty(), 0);
        assert!(redial.targets.is_empty(), "a peer without an address is not worth a place");
    }

    #[test]
    fn static_peers_are_bounded_and_a_learnt_peer_can_become_one() {
        let mut redial = Redial::new(1);
        for n in 0..limits::MAX_STATIC_PEERS as u16 {
            assert!(redial.add_static(&address(n), 0));
        }
        assert!(!redial.add_static(&address(limits::MAX_STATIC_PEERS as u16), 0));
        assert!(redial.add_static(&address(3), 0), "a further address of a known peer is no further peer");
    }
}
