//! The table for readers outside: a page of Markdown, and JSON.
//!
//! Owns wording only; every cell is computed from a row, and `docs/syscalls.md` is this page (a test compares). It
//! refuses to print anything of the machine it runs on, so the page is the same everywhere.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::rows::SOCKETS;
use super::{Pinned, Row, Rule, Test, table};

/// One row in words.
#[derive(Serialize)]
pub struct Syscall {
    /// The call's number on x86_64.
    pub number: i64,
    /// The kernel's name of the call.
    pub name: &'static str,
    /// What happens at level `contained`.
    pub contained: String,
    /// What happens at level `pinned`.
    pub pinned: String,
    /// Which part of the supervisor answers it when it is trapped.
    pub class: Option<String>,
    /// Why that is safe.
    pub why: &'static str,
    /// Why its result repeats at `pinned`, or what is virtualised.
    pub follows: &'static str,
    /// The test that covers the row.
    pub test: &'static str,
}

/// Every row of the table, by number.
#[must_use]
pub fn syscalls() -> Vec<Syscall> {
    table().map(Syscall::from).collect()
}

impl From<&Row> for Syscall {
    fn from(row: &Row) -> Self {
        Self {
            number: row.number,
            name: row.name,
            contained: contained(row.contained),
            pinned: pinned(row),
            class: row.class().map(|class| format!("{class:?}").to_lowercase()),
            why: row.why,
            follows: row.follows,
            test: row.test,
        }
    }
}

const PREAMBLE: &str = "# System calls

What the cage does with every call of x86_64 Linux. This page is printed by `metanode-cage syscalls` from the table in
`runtime/cage/src/seccomp/rows`, from which the filters and the supervisor's dispatch are made too; a test fails when
it is stale, and another when the kernel's headers know a call that the table does not. With `--json` the same as data.

*contained*: `allow`, an errno, or the arguments under which the call is allowed and otherwise `EPERM`. *pinned*, for
what contained lets pass: `native` runs untrapped; `trap` goes to the named part of the supervisor; `0` is answered
without making the call; an errno refuses. A call without a row is `EPERM` at contained and ends a pinned run with
`E_UNMODELLED_SYSCALL`. A 32-bit call kills the program at both levels; an x32 call has no row. *Why its result
repeats* says, for a native call, why the result follows from hashed or private state, and for a trapped one what the
supervisor answers instead. Arguments are counted from 0 and compared as 32 bits.
";

/// The page.
#[must_use]
pub fn syscalls_page() -> String {
    let rows = syscalls();
    let mut page = String::from(PREAMBLE);
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for row in table() {
        *kinds.entry(kind(row)).or_default() += 1;
    }
    page.push('\n');
    let counts: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    line(&mut page, format_args!("{} calls; at pinned {}.\n", rows.len(), counts.join(", ")));
    line(
        &mut page,
        format_args!("| nr | call | contained | pinned | why it is safe | why its result repeats | test |"),
    );
    line(&mut page, format_args!("|---:|---|---|---|---|---|---|"));
    for row in &rows {
        let Syscall { number, name, contained, pinned, why, follows, test, class: _ } = row;
        line(
            &mut page,
            format_args!("| {number} | `{name}` | {contained} | {pinned} | {why} | {follows} | `{test}` |"),
        );
    }
    page
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(page, "{text}").expect("writing to a string cannot fail");
}

const fn kind(row: &Row) -> &'static str {
    if !row.cases.is_empty() {
        return "by argument";
    }
    match row.pinned {
        Pinned::Native => "native",
        Pinned::Trap(_) => "trapped",
        Pinned::Zero => "answered with 0",
        Pinned::Errno(_) => "refused",
    }
}

fn contained(rule: Rule) -> String {
    match rule {
        Rule::Allow => "allow".into(),
        Rule::Errno(number) => errno(number),
        Rule::Masked { arg, mask, value } => format!("if arg{arg} & {mask:#x} is {value:#x}"),
        Rule::OneOf { arg, values } => format!("if arg{arg} is {}", list(values)),
        Rule::MaskedOneOf { arg, mask, values } => format!("if arg{arg} & {mask:#x} is {}", list(values)),
        Rule::Sockets => {
            let one = |(family, kind, protocol): &(i32, i32, Option<i32>)| {
                let protocol = protocol.map_or_else(|| "any".into(), |p| p.to_string());
                format!("({family}, {kind}, {protocol})")
            };
            format!("if arg0, arg1 & 0xf, arg2 are {}", or(SOCKETS.iter().map(one)))
        }
    }
}

fn pinned(row: &Row) -> String {
    let cases =
        row.cases.iter().map(|case| format!("{} if {}; ", outcome(case.then), asked(case.arg, case.test)));
    let cases: String = cases.collect();
    format!("{cases}{}{}", if cases.is_empty() { "" } else { "else " }, outcome(row.pinned))
}

fn outcome(pinned: Pinned) -> String {
    match pinned {
        Pinned::Native => "native".into(),
        Pinned::Trap(class) => format!("trap: {class:?}"),
        Pinned::Zero => "`0`".into(),
        Pinned::Errno(number) => errno(number),
    }
}

fn asked(arg: u8, test: Test) -> String {
    match test {
        Test::AnyBit(mask) => format!("arg{arg} & {mask:#x} is not 0"),
        Test::OneOf(values) => format!("arg{arg} is {}", list(values)),
    }
}

fn list(values: &[u64]) -> String {
    or(values.iter().map(|value| format!("{value:#x}")))
}

fn or(words: impl Iterator<Item = String>) -> String {
    let words: Vec<String> = words.collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

fn errno(number: i32) -> String {
    match number {
        libc::EPERM => "`EPERM`".into(),
        libc::ENOSYS => "`ENOSYS`".into(),
        libc::EINVAL => "`EINVAL`".into(),
        libc::EACCES => "`EACCES`".into(),
        libc::ENOMEM => "`ENOMEM`".into(),
        other => format!("errno {other}"),
    }
}
