//! Budgets of the port: connections and requests, in all and per address.
//!
//! Owns the counts and the permits, which give back on drop. One address is one IPv4 address or one IPv6 /64,
//! so that a host with many addresses is one. Refuses, never queues: who is refused is told to come back.

use crate::limits::{Limits, MAX_LARGE_BODIES, MAX_REFUSALS};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Resource {
    /// An open connection.
    Connection,
    /// A request being read or answered.
    Request,
}

#[derive(Default)]
struct Counts {
    all: [usize; 2],
    by_ip: HashMap<IpAddr, [usize; 2]>,
}

/// The budgets of one server.
pub(super) struct Budgets {
    limits: Limits,
    counts: Mutex<Counts>,
    /// Large bodies being read.
    pub large_bodies: Arc<Semaphore>,
    /// Refusals being written.
    pub refusals: Arc<Semaphore>,
    /// Requests answered.
    pub requests: AtomicU64,
    /// Connections and requests refused.
    pub refused: AtomicU64,
}

/// Gives back on drop.
pub(super) struct Permit {
    budgets: Arc<Budgets>,
    ip: IpAddr,
    resource: Resource,
}

/// The address under which `ip` is counted.
fn key(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !(u128::from(u64::MAX)))),
        v4 => v4,
    }
}

impl Budgets {
    pub fn new(limits: Limits) -> Arc<Budgets> {
        Arc::new(Budgets {
            limits,
            counts: Mutex::default(),
            large_bodies: Arc::new(Semaphore::new(MAX_LARGE_BODIES)),
            refusals: Arc::new(Semaphore::new(MAX_REFUSALS)),
            requests: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// One more, or `None` when a budget is used up.
    pub fn take(self: &Arc<Self>, ip: IpAddr, resource: Resource) -> Option<Permit> {
        let (all, per_ip) = match resource {
            Resource::Connection => (self.limits.connections, self.limits.connections_per_ip),
            Resource::Request => (self.limits.in_flight, self.limits.in_flight_per_ip),
        };
        let (slot, ip) = (resource as usize, key(ip));
        let mut counts = self.lock();
        let mine = counts.by_ip.get(&ip).map_or(0, |c| c[slot]);
        if counts.all[slot] >= all || mine >= per_ip {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        counts.all[slot] += 1;
        counts.by_ip.entry(ip).or_default()[slot] += 1;
        Some(Permit { budgets: self.clone(), ip, resource })
    }

    /// How many are held now.
    pub fn held(&self, resource: Resource) -> usize {
        self.lock().all[resource as usize]
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counts> {
        // Counting cannot panic half-way, so a poisoned lock still holds right counts.
        self.counts.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let slot = self.resource as usize;
        let mut counts = self.budgets.lock();
        counts.all[slot] -= 1;
        if let Some(mine) = counts.by_ip.get_mut(&self.ip) {
            mine[slot] -= 1;
            if *mine == [0, 0] {
                counts.by_ip.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_per_address_and_in_all_and_gives_back() {
        let limits = Limits { connections: 3, connections_per_ip: 2, ..Limits::default() };
        let budgets = Budgets::new(limits);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let take = |text: &str| budgets.take(ip(text), Resource::Connection);
        let (a, b) = (take("2001:db8::1"), take("2001:db8::2"));
        assert!(a.is_some() && b.is_some());
        assert!(take("2001:db8::3").is_none(), "one /64 is one address");
        let c = take("2001:db8:0:1::1");
        assert!(c.is_some() && take("192.0.2.1").is_none(), "three in all");
        drop((a, b, c));
        assert_eq!(budgets.held(Resource::Connection), 0);
        assert!(budgets.lock().by_ip.is_empty(), "addresses are forgotten");
        let (_a, _b) = (take("192.0.2.1"), take("::ffff:192.0.2.1"));
        assert!(take("192.0.2.1").is_none(), "a mapped address is its IPv4 address");
    }
}
