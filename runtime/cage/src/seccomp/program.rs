//! The filter: rows turned into the BPF program that the kernel runs before every call.
//!
//! Owns the order of decisions. A dispatch by call number, made here, answers every row that needs no argument: a
//! binary search among the runs of neighbouring numbers with the same outcome. A row judged by argument has a
//! chain of its own, whose conditions `seccompiler` compiles, and the dispatch jumps to it. Invariants: a foreign
//! architecture (`int 0x80`, 32-bit) kills the process; at `pinned` the refusals of `contained` are judged first;
//! every path ends in a return.

use seccompiler::{BpfProgram, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule, sock_filter};

use super::rows::{SOCKETS, TABLE};
use super::{Case, Level, Pinned, Row, Rule, TRACED, Test, UNKNOWN};
use crate::Error;

/// The compiled wall.
pub(crate) struct Filter(pub(super) BpfProgram);

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

/// What the kernel is told to do: a value for its `ret` instruction.
type Action = u32;

const ALLOW: Action = libc::SECCOMP_RET_ALLOW;
const REFUSE: Action = refuse(libc::EPERM);
const TRACE: Action = libc::SECCOMP_RET_TRACE | TRACED;

const fn refuse(errno: i32) -> Action {
    libc::SECCOMP_RET_ERRNO | errno as u32
}

/// What the dispatch does with a run of numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Return(Action),
    /// Jump to the chain at this position behind the dispatch.
    Judge(usize),
}

/// Compiles the table for one level.
pub(crate) fn compile(level: Level) -> Result<Filter, Error> {
    let unknown = match level {
        Level::Contained => REFUSE,
        Level::Pinned => libc::SECCOMP_RET_TRACE | UNKNOWN,
    };
    let mut chains = BpfProgram::new();
    // Runs of numbers with one outcome: (first number after the run, outcome).
    let mut runs: Vec<(u32, Outcome)> = Vec::with_capacity(256);
    let last = TABLE.iter().rposition(Option::is_some).unwrap_or_default();
    for (number, row) in TABLE.iter().enumerate().take(last + 1) {
        let outcome = match row {
            None => Outcome::Return(unknown),
            Some(row) => match decision(row, level)? {
                Decision::Always(action) => Outcome::Return(action),
                Decision::Chain(chain) => {
                    let at = chains.len();
                    chains.extend(chain);
                    Outcome::Judge(at)
                }
            },
        };
        let after = number as u32 + 1;
        match runs.last_mut() {
            Some((end, same)) if *same == outcome => *end = after,
            _ => runs.push((after, outcome)),
        }
    }
    let mut program = dispatch(runs, unknown);
    program.extend(chains);
    Ok(Filter(program))
}

const fn op(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}

const fn load(offset: u32) -> sock_filter {
    op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

const fn give(action: Action) -> sock_filter {
    op(libc::BPF_RET | libc::BPF_K, 0, 0, action)
}

const fn skip(distance: usize) -> sock_filter {
    op(libc::BPF_JMP | libc::BPF_JA, 0, 0, distance as u32)
}

/// The part that needs only the number. Every path ends in a return or in a jump to a chain behind it.
fn dispatch(mut runs: Vec<(u32, Outcome)>, unknown: Action) -> BpfProgram {
    const NUMBER: u32 = 0; // offsets in struct seccomp_data
    const ARCHITECTURE: u32 = 4;
    const X86_64: u32 = 0xc000_003e;
    let mut program = Vec::with_capacity(1024);
    program.extend([
        load(ARCHITECTURE),
        op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, 0, X86_64),
        give(libc::SECCOMP_RET_KILL_PROCESS),
        load(NUMBER),
    ]);
    runs.push((u32::MAX, Outcome::Return(unknown))); // beyond the table, and every x32 number
    let total = program.len() + tree_length(runs.len());
    tree(&runs, total, &mut program);
    program
}

/// A conditional jump reaches this far.
const REACH: usize = u8::MAX as usize;

/// Instructions of [`tree`]: a comparison and perhaps a long jump for each fork, and one for each leaf.
fn tree_length(runs: usize) -> usize {
    if runs <= 1 {
        return 1;
    }
    let below = tree_length(runs / 2);
    1 + usize::from(below > REACH) + below + tree_length(runs - runs / 2)
}

/// A binary search for the run of a number. The kernel walks it for every number when the filter is installed, in
/// order to learn which calls are always allowed, so depth is start time.
fn tree(runs: &[(u32, Outcome)], total: usize, program: &mut BpfProgram) {
    if let [(_, outcome)] = runs {
        let here = program.len() + 1;
        program.push(match outcome {
            Outcome::Return(action) => give(*action),
            Outcome::Judge(at) => skip(total - here + at),
        });
        return;
    }
    let (below, above) = runs.split_at(runs.len() / 2);
    let boundary = below[below.len() - 1].0;
    let distance = tree_length(below.len());
    if distance > REACH {
        program.push(op(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, boundary));
        program.push(skip(distance));
    } else {
        program.push(op(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, distance as u8, 0, boundary));
    }
    tree(below, total, program);
    tree(above, total, program);
}

/// What a level does with a call that has a row.
enum Decision {
    Always(Action),
    Chain(BpfProgram),
}

fn decision(row: &Row, level: Level) -> Result<Decision, Error> {
    // What the call gets once `contained` lets it pass: at once, or after a look at more arguments.
    let (passed, cases) = match level {
        Level::Contained => (ALLOW, [].as_slice()),
        Level::Pinned => (action(row.pinned), row.cases),
    };
    let first = match row.contained {
        Rule::Errno(errno) => return Ok(Decision::Always(refuse(errno))),
        Rule::Allow => None,
        rule => Some(alternatives(&rule)?),
    };
    if cases.is_empty() {
        return Ok(match first {
            None => Decision::Always(passed),
            Some(first) => Decision::Chain(chain(first, Then::Give(passed), Otherwise::Give(REFUSE))),
        });
    }
    let mut program = first.map_or_else(Vec::new, |first| chain(first, Then::GoOn, Otherwise::Give(REFUSE)));
    for case in cases {
        program.extend(exception(case)?);
    }
    program.push(give(passed));
    Ok(Decision::Chain(program))
}

const fn action(pinned: Pinned) -> Action {
    match pinned {
        Pinned::Native => ALLOW,
        Pinned::Trap(_) => TRACE,
        Pinned::Zero => refuse(0), // the kernel returns minus this errno
        Pinned::Errno(errno) => refuse(errno),
    }
}

/// Where a rule leads that holds.
enum Then {
    Give(Action),
    /// To the instruction behind the chain.
    GoOn,
}

/// What a chain ends with in which no rule holds.
enum Otherwise {
    Give(Action),
    /// Nothing: on with the instruction behind the chain.
    GoOn,
}

/// Tries the rules in order.
fn chain(rules: Vec<SeccompRule>, then: Then, otherwise: Otherwise) -> BpfProgram {
    let rules: Vec<BpfProgram> = rules.into_iter().map(conditions).collect();
    let end = match otherwise {
        Otherwise::Give(action) => Some(give(action)),
        Otherwise::GoOn => None,
    };
    let total = rules.iter().map(|rule| rule.len() + 1).sum::<usize>() + end.iter().len();
    let mut program = Vec::with_capacity(total);
    for rule in rules {
        program.extend(rule);
        let here = program.len() + 1;
        // A rule that fails jumps over the one instruction that stands behind it, whatever it is.
        program.push(match then {
            Then::Give(action) => give(action),
            Then::GoOn => skip(total - here),
        });
    }
    program.extend(end);
    program
}

/// The conditions of a rule. What `seccompiler` makes opens with two jumps: one into the conditions, and one for its
/// own dispatch, which leads out of this program.
fn conditions(rule: SeccompRule) -> BpfProgram {
    BpfProgram::from(rule).split_off(2)
}

/// Gives the outcome of a case that holds and goes on behind it otherwise.
fn exception(case: &Case) -> Result<BpfProgram, Error> {
    let Case { arg, test, then } = *case;
    Ok(match test {
        Test::AnyBit(mask) => {
            let none = all(&[(arg, SeccompCmpOp::MaskedEq(mask), 0)])?;
            chain(vec![none], Then::GoOn, Otherwise::Give(action(then)))
        }
        Test::OneOf(values) => chain(equal(arg, values)?, Then::Give(action(then)), Otherwise::GoOn),
    })
}

/// The alternatives under which a judged call passes at `contained`.
fn alternatives(rule: &Rule) -> Result<Vec<SeccompRule>, Error> {
    use SeccompCmpOp::MaskedEq;
    match *rule {
        Rule::Allow | Rule::Errno(_) => Ok(Vec::new()), // decided by the dispatch
        Rule::Masked { arg, mask, value } => Ok(vec![all(&[(arg, MaskedEq(mask), value)])?]),
        Rule::OneOf { arg, values } => equal(arg, values),
        Rule::MaskedOneOf { arg, mask, values } => {
            values.iter().map(|v| all(&[(arg, MaskedEq(mask), *v)])).collect()
        }
        Rule::Sockets => SOCKETS.iter().map(|s| socket(*s)).collect(),
    }
}

fn equal(arg: u8, values: &[u64]) -> Result<Vec<SeccompRule>, Error> {
    values.iter().map(|v| all(&[(arg, SeccompCmpOp::Eq, *v)])).collect()
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
