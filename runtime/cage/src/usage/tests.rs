//! The parts that read other people's text: process lines and ancestry.

use std::collections::BTreeMap;

use super::{Stat, add_up, descends, parse_stat};

const LINE: &str =
    "77 (a) b (c)) S 12 77 77 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 500 9000 7 18446744073709551615 0\n";

#[test]
fn names_with_parentheses_do_not_shift_the_fields() {
    assert_eq!(parse_stat(LINE), Some(Stat { parent: 12, ticks: 100, pages: 7 }));
    for bad in ["", "77", "77 (a", "77 (a)", "77 (a) S 1 2 3", &LINE.replace(" 10 20 ", " -1 20 ")] {
        assert_eq!(parse_stat(bad), None, "{bad:?}");
    }
}

#[test]
fn ancestry_ends_even_in_a_ring() {
    let stat = |parent| Stat { parent, ticks: 0, pages: 0 };
    let all = BTreeMap::from([(1, stat(0)), (2, stat(1)), (3, stat(2)), (8, stat(9)), (9, stat(8))]);
    assert!(descends(&all, 3, 2) && descends(&all, 2, 2) && descends(&all, 3, 1));
    assert!(!descends(&all, 2, 3) && !descends(&all, 8, 2) && !descends(&all, 5, 2));
}

#[test]
fn this_process_uses_memory_and_a_missing_one_is_none() {
    let own = add_up(std::process::id() as i32).expect("this process is there");
    assert!(own.memory_bytes > 100_000, "{own:?}");
    assert_eq!(add_up(i32::MAX), None);
}
