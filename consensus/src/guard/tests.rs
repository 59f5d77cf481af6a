//! The guard's laws, checked against every pair of positions and against random sequences.

use super::*;
use proptest::prelude::*;

const CHAIN: ChainId = ChainId([7; 32]);
const KEY: BlsPublic = BlsPublic([3; 48]);

fn guard() -> SignGuard {
    SignGuard::new(CHAIN, KEY, SignHistory::empty(CHAIN, KEY)).unwrap()
}

fn rec(height: u64, round: u32, step: Step, value: u8) -> SignRecord {
    SignRecord::of(height, round, step, &[value])
}

#[test]
fn same_message_again_is_signed_and_a_different_one_is_not() {
    let mut g = guard();
    assert_eq!(g.advance(rec(5, 1, Step::Prevote, 1)), Ok(true));
    assert_eq!(g.advance(rec(5, 1, Step::Prevote, 1)), Ok(false), "nothing new to persist");
    assert_eq!(
        g.advance(rec(5, 1, Step::Prevote, 2)),
        Err(SignRefused::Conflict(rec(5, 1, Step::Prevote, 2)))
    );
    for back in [rec(4, 9, Step::Precommit, 1), rec(5, 0, Step::Precommit, 1), rec(5, 1, Step::Proposal, 1)] {
        assert!(matches!(g.advance(back), Err(SignRefused::Backwards { .. })), "{back:?}");
    }
    assert_eq!(g.advance(rec(5, 1, Step::Precommit, 2)), Ok(true));
}

#[test]
fn history_survives_and_a_flipped_bit_is_noticed() {
    let mut g = guard();
    g.advance(rec(5, 1, Step::Prevote, 1)).unwrap();
    let bytes = g.history().to_bytes();
    assert_eq!(SignHistory::from_bytes(&bytes).unwrap(), *g.history());
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(SignHistory::from_bytes(&bad).is_err(), "bit {bit}");
    }
    for len in 0..bytes.len() {
        assert!(SignHistory::from_bytes(&bytes[..len]).is_err(), "cut at {len}");
    }
}

#[test]
fn import_only_raises_and_refuses_strangers() {
    let mut g = guard();
    g.advance(rec(5, 0, Step::Prevote, 1)).unwrap();
    let with = |last| SignHistory { last: Some(last), ..SignHistory::empty(CHAIN, KEY) };
    g.import(&with(rec(4, 9, Step::Precommit, 1))).unwrap();
    assert_eq!(g.history().last, Some(rec(5, 0, Step::Prevote, 1)), "lower positions change nothing");
    g.import(&with(rec(6, 0, Step::Proposal, 9))).unwrap();
    assert_eq!(g.history().last, Some(rec(6, 0, Step::Proposal, 9)));
    let twice = rec(6, 0, Step::Proposal, 8);
    assert_eq!(g.import(&with(twice)), Err(HistoryError::DoubleSigned(rec(6, 0, Step::Proposal, 9))));
    let other_chain = SignHistory::empty(ChainId([1; 32]), KEY);
    assert!(matches!(g.import(&other_chain), Err(HistoryError::Chain { .. })));
    let other_key = SignHistory::empty(CHAIN, BlsPublic([1; 48]));
    assert!(matches!(g.import(&other_key), Err(HistoryError::Key { .. })));
    let newer = SignHistory { version: 2, ..SignHistory::empty(CHAIN, KEY) };
    assert_eq!(g.import(&newer), Err(HistoryError::Version(2)));
}

proptest! {
    /// Whatever is asked for, in whatever order, with restarts in between: no position is signed with two values.
    #[test]
    fn never_two_values_at_one_position(
        asks in prop::collection::vec((0u64..4, 0u32..3, 0u8..3, 0u8..2, any::<bool>()), 1..60),
    ) {
        let mut g = guard();
        let mut signed = std::collections::BTreeMap::new();
        for (h, r, s, value, restart) in asks {
            let step = [Step::Proposal, Step::Prevote, Step::Precommit][s as usize];
            if restart {
                let stored = SignHistory::from_bytes(&g.history().to_bytes()).unwrap();
                g = SignGuard::new(CHAIN, KEY, stored).unwrap();
            }
            if g.advance(rec(h, r, step, value)).is_ok() {
                let first = *signed.entry((h, r, step)).or_insert(value);
                prop_assert_eq!(first, value);
            }
        }
    }
}
