//! Sizes of files and functions, measured in lines as an editor counts them.
//!
//! Owns the limits. Tests count like any other code: a test nobody can read proves little.

use std::fmt;

use crate::tree::Tree;

/// A Rust file longer than this needs a recorded exception.
pub const FILE_SOFT: usize = 500;
/// No Rust file may be longer, recorded or not.
pub const FILE_HARD: usize = 800;
/// A function longer than this needs a recorded exception.
pub const FUNCTION_HARD: usize = 70;
const FILE_TYPICAL: usize = 300;
const FUNCTION_TYPICAL: usize = 40;

const _: () = assert!(FILE_TYPICAL < FILE_SOFT && FILE_SOFT < FILE_HARD && FUNCTION_TYPICAL < FUNCTION_HARD);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Lines of a file.
    File,
    /// Lines of a function.
    Function,
}

/// One thing that is larger than its limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oversize {
    /// File or function.
    pub kind: Kind,
    /// Path, or `path::function`.
    pub subject: String,
    /// Where it starts.
    pub line: usize,
    /// Its size.
    pub lines: usize,
}

/// Everything above its limit. Functions of one name in one file share an entry: the largest counts.
pub fn measure(tree: &Tree) -> Vec<Oversize> {
    let mut found: Vec<Oversize> = Vec::new();
    for source in &tree.sources {
        if source.line_count() > FILE_SOFT {
            let (subject, lines) = (source.path.clone(), source.line_count());
            found.push(Oversize { kind: Kind::File, subject, line: 0, lines });
        }
        for function in source.functions().into_iter().filter(|f| f.lines > FUNCTION_HARD) {
            let subject = format!("{}::{}", source.path, function.name);
            let known = found.iter_mut().find(|o| o.kind == Kind::Function && o.subject == subject);
            let new =
                Oversize { kind: Kind::Function, subject, line: function.first_line, lines: function.lines };
            match known {
                Some(old) if old.lines < new.lines => *old = new,
                Some(_) => {}
                None => found.push(new),
            }
        }
    }
    found
}

/// Line counts of every Rust file.
pub fn file_lines(tree: &Tree) -> (Vec<usize>, usize) {
    (tree.sources.iter().map(|s| s.line_count()).collect(), FILE_TYPICAL)
}

/// Line counts of every function.
pub fn function_lines(tree: &Tree) -> (Vec<usize>, usize) {
    (tree.sources.iter().flat_map(|s| s.functions()).map(|f| f.lines).collect(), FUNCTION_TYPICAL)
}

/// How a set of sizes is spread, for the summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    /// How many there are.
    pub count: usize,
    median: usize,
    ninety: usize,
    largest: usize,
    above_typical: usize,
}

impl Spread {
    /// Counts sizes against the typical one.
    pub fn of((mut sizes, typical): (Vec<usize>, usize)) -> Self {
        sizes.sort_unstable();
        let at = |percent: usize| sizes.get((sizes.len() * percent / 100).min(sizes.len().saturating_sub(1)));
        Self {
            count: sizes.len(),
            median: at(50).copied().unwrap_or(0),
            ninety: at(90).copied().unwrap_or(0),
            largest: sizes.last().copied().unwrap_or(0),
            above_typical: sizes.iter().filter(|size| **size > typical).count(),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, ninety, largest, above_typical, .. } = self;
        write!(f, "median {median}, p90 {ninety}, max {largest}, {above_typical} above typical")
    }
}
