//! Programs nobody here wrote, as data, and how one of them is run in a cage.
//!
//! The same table drives the test `programs_needs_root` and the page `docs/what-runs.md`. A program is a shell script
//! that works in `/out`, a directory of the cage that the output digest covers. It must say what `says` before its
//! run counts: a program that failed in the same way every time would repeat itself too.

#![allow(dead_code)] // each user has its part

mod basics;
mod languages;
mod run;
mod servers;
mod threads;
mod tools;

#[allow(unused_imports)] // each user has its part
pub use run::{Bench, Load, Ran, missing};

/// What another seed does to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draws {
    /// It prints or writes what it drew: another seed, another output.
    Shown,
    /// It draws, but nothing of it must be seen in what it prints or writes.
    Unseen,
    /// The run ends without a verdict, for the reason that `says` names.
    Refused,
}

/// One program.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name here.
    pub name: &'static str,
    /// Debian package whose version is told.
    pub package: &'static str,
    /// Commands that it needs.
    pub needs: &'static [&'static str],
    /// What it does, for `sh`.
    pub script: &'static str,
    /// What standard output must hold; of a refused program: the reason.
    pub says: &'static str,
    /// What another seed does.
    pub draws: Draws,
}

/// A program that cannot be pinned.
const fn refused(
    name: &'static str,
    package: &'static str,
    needs: &'static [&'static str],
    says: &'static str,
    script: &'static str,
) -> Program {
    Program { name, package, needs, script, says, draws: Draws::Refused }
}

/// A program that shows nothing of what it draws.
const fn steady(
    name: &'static str,
    package: &'static str,
    needs: &'static [&'static str],
    says: &'static str,
    script: &'static str,
) -> Program {
    Program { name, package, needs, script, says, draws: Draws::Unseen }
}

/// A program whose output depends on the seed.
const fn random(
    name: &'static str,
    package: &'static str,
    needs: &'static [&'static str],
    says: &'static str,
    script: &'static str,
) -> Program {
    Program { name, package, needs, script, says, draws: Draws::Shown }
}

/// All of them.
pub fn programs() -> Vec<Program> {
    [basics::PROGRAMS, tools::PROGRAMS, languages::PROGRAMS, threads::PROGRAMS, servers::PROGRAMS].concat()
}
