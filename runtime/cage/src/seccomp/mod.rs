//! The system call wall: a table of rows, and the two filters made from it.
//!
//! Owns the meaning of a row and the compilation through `seccompiler`. Invariants: the default is refusal (`EPERM`), a
//! foreign architecture (`int 0x80`, 32-bit) kills the process, and a number with the x32 bit matches no row. It refuses
//! to look at memory: a rule sees registers only, so what is behind a pointer is never the ground of a decision.
//!
//! Two filters are stacked because `seccompiler` gives one filter one outcome for its matches: the first allows what
//! the rows allow and refuses the rest, the second turns the calls that must look *missing* into `ENOSYS`.

mod allowed;
mod by_argument;
mod refused;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use crate::Error;

/// What the cage does with one system call, and why that is safe.
#[cfg_attr(not(test), expect(dead_code, reason = "names and reasons are for readers and tests"))]
pub(crate) struct Row {
    /// The kernel's name of the call.
    pub name: &'static str,
    /// Its number on x86_64.
    pub number: i64,
    /// What happens when it is called.
    pub rule: Rule,
    /// The reason, for the reader of the table.
    pub why: &'static str,
}

/// The outcome of a call, decided by number and register arguments only.
pub(crate) enum Rule {
    /// Always allowed.
    Allow,
    /// Allowed when `arg & mask == value`.
    Masked {
        /// Which argument.
        arg: u8,
        /// The bits looked at.
        mask: u64,
        /// What they must be.
        value: u64,
    },
    /// Allowed when the low 32 bits of the argument are one of `values`.
    OneOf {
        /// Which argument.
        arg: u8,
        /// The values allowed.
        values: &'static [u64],
    },
    /// Allowed when `arg & mask` is one of `values`.
    MaskedOneOf {
        /// Which argument.
        arg: u8,
        /// The bits looked at.
        mask: u64,
        /// The values allowed.
        values: &'static [u64],
    },
    /// `socket(2)`: family, type and protocol as in [`SOCKETS`].
    Sockets,
    /// Refused with this errno.
    Errno(i32),
}

/// One row; a function so that the table stays one call a line.
const fn row(name: &'static str, number: i64, rule: Rule, why: &'static str) -> Row {
    Row { name, number, rule, why }
}

/// Sockets that may be made: (family, type without flags, protocol or any).
const SOCKETS: &[(i32, i32, Option<i32>)] = &[
    (libc::AF_UNIX, libc::SOCK_STREAM, None),
    (libc::AF_UNIX, libc::SOCK_DGRAM, None),
    (libc::AF_UNIX, libc::SOCK_SEQPACKET, None),
    (libc::AF_INET, libc::SOCK_STREAM, Some(0)),
    (libc::AF_INET, libc::SOCK_STREAM, Some(libc::IPPROTO_TCP)),
    (libc::AF_INET, libc::SOCK_DGRAM, Some(0)),
    (libc::AF_INET, libc::SOCK_DGRAM, Some(libc::IPPROTO_UDP)),
    (libc::AF_INET6, libc::SOCK_STREAM, Some(0)),
    (libc::AF_INET6, libc::SOCK_STREAM, Some(libc::IPPROTO_TCP)),
    (libc::AF_INET6, libc::SOCK_DGRAM, Some(0)),
    (libc::AF_INET6, libc::SOCK_DGRAM, Some(libc::IPPROTO_UDP)),
];

/// Every row of the table.
pub(crate) fn table() -> impl Iterator<Item = &'static Row> {
    use allowed::{FILES, IO, IPC, MEMORY, NETWORK, PROCESS, SIGNALS, SYSTEM, TIME};
    let parts = [
        IO, FILES, MEMORY, PROCESS, SIGNALS, TIME, NETWORK, IPC, SYSTEM, by_argument::BY_ARGUMENT, refused::REFUSED,
        refused::MISSING,
    ];
    parts.into_iter().flatten()
}

/// The two programs of the wall, in the order in which they must be installed.
pub(crate) struct Filters([BpfProgram; 2]);

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Compiles the table.
pub(crate) fn compile() -> Result<Filters, Error> {
    let (mut allow, mut missing) = (Rules::new(), Rules::new());
    for row in table() {
        match conditions(&row.rule)? {
            Some(rules) => drop(allow.insert(row.number, rules)),
            None if matches!(row.rule, Rule::Errno(libc::ENOSYS)) => drop(missing.insert(row.number, Vec::new())),
            None => {} // EPERM is the default of the first filter
        }
    }
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let absent = SeccompAction::Errno(libc::ENOSYS as u32);
    // The second filter must see a missing call *allowed* by the first: the stricter action of the two wins, and for
    // two errnos the filter installed last.
    Ok(Filters([program(allow, refuse, SeccompAction::Allow)?, program(missing, SeccompAction::Allow, absent)?]))
}

/// The alternatives under which a call is allowed: none at all for a refused one, an empty list for an unconditional.
fn conditions(rule: &Rule) -> Result<Option<Vec<SeccompRule>>, Error> {
    use SeccompCmpOp::{Eq, MaskedEq};
    Ok(Some(match *rule {
        Rule::Errno(_) => return Ok(None),
        Rule::Allow => Vec::new(),
        Rule::Masked { arg, mask, value } => vec![all(&[(arg, MaskedEq(mask), value)])?],
        Rule::OneOf { arg, values } => {
            values.iter().map(|v| all(&[(arg, Eq, *v)])).collect::<Result<Vec<_>, _>>()?
        }
        Rule::MaskedOneOf { arg, mask, values } => {
            values.iter().map(|v| all(&[(arg, MaskedEq(mask), *v)])).collect::<Result<Vec<_>, _>>()?
        }
        Rule::Sockets => SOCKETS.iter().map(|s| socket(*s)).collect::<Result<Vec<_>, _>>()?,
    }))
}

fn socket((family, kind, protocol): (i32, i32, Option<i32>)) -> Result<SeccompRule, Error> {
    let flags = (libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) as u64;
    let mut parts = vec![
        (0, SeccompCmpOp::Eq, family as u64),
        (1, SeccompCmpOp::MaskedEq(0xffff_ffff & !flags), kind as u64),
    ];
    parts.extend(protocol.map(|p| (2, SeccompCmpOp::Eq, p as u64)));
    all(&parts)
}

/// A rule that holds when every condition does. Arguments are compared as the 32 bits the kernel itself reads.
fn all(parts: &[(u8, SeccompCmpOp, u64)]) -> Result<SeccompRule, Error> {
    let one = |(arg, op, value): &(u8, SeccompCmpOp, u64)| {
        SeccompCondition::new(*arg, SeccompCmpArgLen::Dword, op.clone(), *value)
    };
    let conditions = parts.iter().map(one).collect::<Result<Vec<_>, _>>();
    conditions.and_then(SeccompRule::new).map_err(|e| Error::CompileFilter(e.to_string()))
}

fn program(rules: Rules, otherwise: SeccompAction, matched: SeccompAction) -> Result<BpfProgram, Error> {
    SeccompFilter::new(rules, otherwise, matched, TargetArch::x86_64)
        .and_then(BpfProgram::try_from)
        .map_err(|e| Error::CompileFilter(e.to_string()))
}

impl Filters {
    /// Installs both filters on this thread and everything it starts. There is no way back.
    pub(crate) fn install(&self) -> Result<(), seccompiler::Error> {
        // Last of all: once the first filter stands, `seccomp` itself is still allowed, so the order is free.
        self.0.iter().try_for_each(|program| seccompiler::apply_filter(program))
    }

    /// Instructions in both programs together.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }
}
