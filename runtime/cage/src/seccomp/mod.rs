//! The system call wall: a table of rows, and the two filters made from it.
//!
//! Owns the meaning of a row and the compilation through `seccompiler`. Invariants: the default is refusal
//! (`EPERM`), a foreign architecture (`int 0x80`, 32-bit) kills the process, and a number with the x32 bit
//! matches no row. It refuses to look at memory: a rule sees registers only, so what is behind a pointer is
//! never the ground of a decision.
//!
//! One program in two parts. A short dispatch by call number, made here, answers every row that needs no
//! argument: one comparison for each run of neighbouring numbers with the same outcome, so the kernel
//! translates a tenth of what a chain of single calls would take. Rows judged by argument fall through to the
//! part that `seccompiler` makes.

mod allowed;
mod by_argument;
mod refused;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
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
        IO,
        FILES,
        MEMORY,
        PROCESS,
        SIGNALS,
        TIME,
        NETWORK,
        IPC,
        SYSTEM,
        by_argument::BY_ARGUMENT,
        refused::REFUSED,
        refused::MISSING,
    ];
    parts.into_iter().flatten()
}

/// The compiled wall.
pub(crate) struct Filter(BpfProgram);

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// What the dispatch does with a number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Return(u32),
    Judge,
}

const ALLOW: Outcome = Outcome::Return(libc::SECCOMP_RET_ALLOW);

const fn refuse(errno: i32) -> Outcome {
    Outcome::Return(libc::SECCOMP_RET_ERRNO | errno as u32)
}

/// Compiles the table.
pub(crate) fn compile() -> Result<Filter, Error> {
    let mut outcomes = BTreeMap::new();
    let mut judged = Rules::new();
    for row in table() {
        let outcome = match row.rule {
            Rule::Allow => ALLOW,
            Rule::Errno(errno) => refuse(errno),
            _ => {
                judged.insert(row.number, conditions(&row.rule)?);
                Outcome::Judge
            }
        };
        let number = u32::try_from(row.number)
            .map_err(|_| Error::CompileFilter(format!("{}: bad number", row.name)))?;
        outcomes.insert(number, outcome);
    }
    let mut program = dispatch(&outcomes);
    program.extend(judge(judged)?);
    Ok(Filter(program))
}

/// The part that needs only the number. Every path ends in a return, except that judged numbers jump to its
/// end.
fn dispatch(outcomes: &BTreeMap<u32, Outcome>) -> BpfProgram {
    const NUMBER: u32 = 0; // offsets in struct seccomp_data
    const ARCHITECTURE: u32 = 4;
    const X86_64: u32 = 0xc000_003e;
    let op = |code: u32, jt, jf, k| sock_filter { code: code as u16, jt, jf, k };
    let load = |offset| op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset);
    let give = |value| op(libc::BPF_RET | libc::BPF_K, 0, 0, value);
    let mut program = vec![
        load(ARCHITECTURE),
        op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, 0, X86_64),
        give(libc::SECCOMP_RET_KILL_PROCESS),
        load(NUMBER),
    ];
    // Runs of numbers with one outcome: (first number after the run, outcome).
    let mut runs: Vec<(u32, Outcome)> = Vec::new();
    let last = outcomes.last_key_value().map_or(0, |(number, _)| *number);
    for number in 0..=last {
        let outcome = outcomes.get(&number).copied().unwrap_or(refuse(libc::EPERM));
        match runs.last_mut() {
            Some((end, same)) if *same == outcome => *end = number + 1,
            _ => runs.push((number + 1, outcome)),
        }
    }
    let total = program.len() + 2 * runs.len() + 1;
    for (end, outcome) in runs {
        program.push(op(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 1, 0, end));
        let distance = (total - program.len() - 1) as u32;
        program.push(match outcome {
            Outcome::Return(value) => give(value),
            Outcome::Judge => op(libc::BPF_JMP | libc::BPF_JA, 0, 0, distance),
        });
    }
    program.push(give(libc::SECCOMP_RET_ERRNO | libc::EPERM as u32)); // beyond the table, and every x32 number
    program
}

/// The part that looks at arguments, made by `seccompiler`: it loads what it needs itself, so it may follow
/// anything.
fn judge(rules: Rules) -> Result<BpfProgram, Error> {
    let otherwise = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(rules, otherwise, SeccompAction::Allow, TargetArch::x86_64)
        .and_then(BpfProgram::try_from)
        .map_err(|e| Error::CompileFilter(e.to_string()))
}

/// The alternatives under which a judged call is allowed.
fn conditions(rule: &Rule) -> Result<Vec<SeccompRule>, Error> {
    use SeccompCmpOp::{Eq, MaskedEq};
    Ok(match *rule {
        Rule::Allow | Rule::Errno(_) => Vec::new(), // decided by the dispatch
        Rule::Masked { arg, mask, value } => vec![all(&[(arg, MaskedEq(mask), value)])?],
        Rule::OneOf { arg, values } => {
            values.iter().map(|v| all(&[(arg, Eq, *v)])).collect::<Result<Vec<_>, _>>()?
        }
        Rule::MaskedOneOf { arg, mask, values } => {
            values.iter().map(|v| all(&[(arg, MaskedEq(mask), *v)])).collect::<Result<Vec<_>, _>>()?
        }
        Rule::Sockets => SOCKETS.iter().map(|s| socket(*s)).collect::<Result<Vec<_>, _>>()?,
    })
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

/// A rule that holds when every condition does. Arguments are compared as the 32 bits the kernel itself
/// reads.
fn all(parts: &[(u8, SeccompCmpOp, u64)]) -> Result<SeccompRule, Error> {
    let one = |(arg, op, value): &(u8, SeccompCmpOp, u64)| {
        SeccompCondition::new(*arg, SeccompCmpArgLen::Dword, op.clone(), *value)
    };
    let conditions = parts.iter().map(one).collect::<Result<Vec<_>, _>>();
    conditions.and_then(SeccompRule::new).map_err(|e| Error::CompileFilter(e.to_string()))
}

impl Filter {
    /// Installs the filter on this thread and everything it starts. There is no way back.
    pub(crate) fn install(&self) -> Result<(), seccompiler::Error> {
        seccompiler::apply_filter(&self.0)
    }

    /// Instructions in the program.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
