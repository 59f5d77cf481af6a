//! What happens to a run, drawn from its seed: load, crashes, partitions.
//!
//! Owns the randomness of a run (splitmix64; the network has its own from the same seed). Never more than a third of
//! the validators are down at once, so that liveness after the storm can be demanded.

use super::Scenario;

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A transfer is submitted.
    Load {
        /// Paying user.
        from: usize,
        /// Receiving user.
        to: usize,
        /// Micro-units.
        amount: u64,
        /// Node asked.
        node: usize,
    },
    /// A process dies; what was not synced is lost.
    Crash {
        /// Which.
        node: usize,
    },
    /// A process starts again.
    Restart {
        /// Which.
        node: usize,
    },
    /// The network splits.
    Partition {
        /// Who still hears whom.
        groups: Vec<Vec<usize>>,
    },
    /// The network is whole again.
    Heal,
    /// Nothing is lost any more.
    Calm,
}

/// A source of numbers: splitmix64.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Seeded.
    pub fn new(seed: u64) -> Dice {
        Dice(seed ^ 0x9e37_79b9_7f4a_7c15)
    }
    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// A number below `n` (at least 1).
    pub fn below(&mut self, n: u64) -> u64 {
        self.roll() % n.max(1)
    }
}

/// Everything that will happen, in order of time.
#[derive(Clone, Debug)]
pub struct Plan {
    events: std::collections::VecDeque<(u64, Fault)>,
    end_ms: u64,
}

impl Plan {
    /// Draws a plan.
    pub fn new(seed: u64, scenario: &Scenario, start_ms: u64) -> Plan {
        let mut dice = Dice::new(seed);
        let storm_end = start_ms + scenario.storm_ms;
        let mut events = Vec::new();
        load(&mut dice, scenario, start_ms, storm_end, &mut events);
        crashes(&mut dice, scenario, start_ms, storm_end, &mut events);
        partitions(&mut dice, scenario, start_ms, storm_end, &mut events);
        events.push((storm_end, Fault::Heal));
        events.push((storm_end, Fault::Calm));
        for node in 0..scenario.validators {
            events.push((storm_end + 1, Fault::Restart { node }));
        }
        events.sort_by_key(|(at, _)| *at);
        Plan { events: events.into(), end_ms: storm_end + scenario.calm_ms }
    }

    /// When the run ends.
    pub fn end_ms(&self) -> u64 {
        self.end_ms
    }
    /// When the next thing happens.
    pub fn next_at(&self) -> u64 {
        self.events.front().map_or(self.end_ms, |(at, _)| *at)
    }
    /// The next thing that is due.
    pub fn pop_due(&mut self, now_ms: u64) -> Option<Fault> {
        let due = self.events.front().is_some_and(|(at, _)| *at <= now_ms);
        if due { self.events.pop_front().map(|(_, fault)| fault) } else { None }
    }
}

fn load(dice: &mut Dice, s: &Scenario, start: u64, end: u64, out: &mut Vec<(u64, Fault)>) {
    let mut at = start + 1_000;
    while at < end {
        let (from, to) = (dice.below(8) as usize, dice.below(8) as usize);
        let node = dice.below(s.validators as u64) as usize;
        out.push((at, Fault::Load { from, to, amount: 1 + dice.below(1000), node }));
        at += 1 + dice.below(2 * s.load_every_ms);
    }
}

fn crashes(dice: &mut Dice, s: &Scenario, start: u64, end: u64, out: &mut Vec<(u64, Fault)>) {
    if s.crash_every_ms == 0 {
        return;
    }
    let mut at = start + dice.below(2 * s.crash_every_ms);
    while at < end {
        let node = dice.below(s.validators as u64) as usize;
        let down = 1 + dice.below(s.crash_every_ms);
        out.push((at, Fault::Crash { node }));
        out.push(((at + down).min(end), Fault::Restart { node }));
        at += down + dice.below(2 * s.crash_every_ms);
    }
}

fn partitions(dice: &mut Dice, s: &Scenario, start: u64, end: u64, out: &mut Vec<(u64, Fault)>) {
    if s.partition_every_ms == 0 {
        return;
    }
    let mut at = start + dice.below(2 * s.partition_every_ms);
    while at < end {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for node in 0..s.validators {
            if dice.below(2) == 0 { left.push(node) } else { right.push(node) }
        }
        let lasts = 500 + dice.below(s.partition_every_ms);
        out.push((at, Fault::Partition { groups: vec![left, right] }));
        out.push(((at + lasts).min(end), Fault::Heal));
        at += lasts + dice.below(2 * s.partition_every_ms);
    }
}
