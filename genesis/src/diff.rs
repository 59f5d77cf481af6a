//! Where two geneses part.
//!
//! Owns the walk in the order of the file and the path of what it finds. Entries are matched by address, so
//! a missing validator is called absent instead of making all that follow look changed. The walk over the
//! values is generic: a parameter that a later version adds is covered without a change here.

use crate::genesis::Genesis;
use metanode_types::ids::Address;
use serde::Serialize;
use serde_json::Value;
use std::cmp::Ordering;

/// The first value, in the order of the file, that two geneses do not share.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FirstDifference {
    /// Path of the value, such as `validators[2].power`; indexes are those of the canonical order.
    pub path: String,
    /// Value on the left, or `absent`.
    pub left: String,
    /// Value on the right, or `absent`.
    pub right: String,
}

impl std::fmt::Display for FirstDifference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} against {}", self.path, self.left, self.right)
    }
}

/// The first difference between two geneses, or `None` when they are of one chain.
pub fn diff(left: &Genesis, right: &Genesis) -> Option<FirstDifference> {
    let (l, r) = (left.spec(), right.spec());
    value("format", &json(&l.format), &json(&r.format))
        .or_else(|| value("chain_name", &json(&l.chain_name), &json(&r.chain_name)))
        .or_else(|| value("genesis_time_ms", &json(&l.genesis_time_ms), &json(&r.genesis_time_ms)))
        .or_else(|| entries("validators", &l.validators, &r.validators, |v| v.address()))
        .or_else(|| entries("accounts", &l.accounts, &r.accounts, |a| a.address))
        .or_else(|| value("params", &json(&l.params), &json(&r.params)))
}

fn json<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("every key is a text and every value finite")
}

fn found(path: String, left: impl ToString, right: impl ToString) -> Option<FirstDifference> {
    Some(FirstDifference { path, left: left.to_string(), right: right.to_string() })
}

/// Compares two lists, each ascending by `key`.
fn entries<T: Serialize>(
    list: &str,
    left: &[T],
    right: &[T],
    key: impl Fn(&T) -> Address,
) -> Option<FirstDifference> {
    for at in 0..left.len().max(right.len()) {
        let path = format!("{list}[{at}]");
        let order = match (left.get(at), right.get(at)) {
            (Some(l), Some(r)) => key(l).cmp(&key(r)),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        match order {
            Ordering::Less => return found(path, key(&left[at]), "absent"),
            Ordering::Greater => return found(path, "absent", key(&right[at])),
            Ordering::Equal => {
                if let Some(difference) = value(&path, &json(&left[at]), &json(&right[at])) {
                    return Some(difference);
                }
            }
        }
    }
    None
}

/// Compares two values, descending into objects and lists.
fn value(path: &str, left: &Value, right: &Value) -> Option<FirstDifference> {
    match (left, right) {
        (Value::Object(l), Value::Object(r)) => {
            let only_right = r.keys().filter(|k| !l.contains_key(*k));
            l.keys().chain(only_right).find_map(|key| {
                let path = format!("{path}.{key}");
                match (l.get(key), r.get(key)) {
                    (Some(a), Some(b)) => value(&path, a, b),
                    (Some(a), None) => found(path, a, "absent"),
                    (None, b) => found(path, "absent", b.unwrap_or(&Value::Null)),
                }
            })
        }
        (Value::Array(l), Value::Array(r)) if l.len() == r.len() => {
            l.iter().zip(r).enumerate().find_map(|(at, (a, b))| value(&format!("{path}[{at}]"), a, b))
        }
        _ if left == right => None,
        _ => found(path.to_owned(), left, right),
    }
}
