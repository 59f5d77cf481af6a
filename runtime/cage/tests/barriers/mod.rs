//! The table of barriers and how a row of it is tried.
//!
//! One row is one attempt: the probe's name, what it tries, and the answers that mean that the barrier held. The rows
//! of one barrier are made in one cage, each in a process of its own, as root and as an ordinary user. A row fails
//! when its answer is not listed and also when the probe does not say that it made the attempt. The test binary that
//! includes the table decides at which level its cages run, by the constant `LEVEL`.

pub mod bait;
pub mod files;
pub mod hardware;
pub mod image;
pub mod kernel;
pub mod mounts;
pub mod namespaces;
pub mod network;
pub mod processes;
pub mod procfs;
pub mod races;
pub mod tighten;

use std::any::Any;

use metanode_cage::report::Verdict;
use metanode_cage::{Exit, Level};

use crate::common::Bench;

/// One attempt and what holds.
pub struct Row {
    /// Name of the attempt in the probe.
    pub probe: &'static str,
    /// What it tries.
    pub tries: &'static str,
    /// Answers that mean that the barrier held.
    pub held: &'static [&'static str],
    /// The same at level `pinned`, where it differs.
    pub pinned: Option<&'static [&'static str]>,
}

impl Row {
    fn held(&self, level: Level) -> &'static [&'static str] {
        match (level, self.pinned) {
            (Level::Pinned, Some(pinned)) => pinned,
            _ => self.held,
        }
    }

    /// Whether the attempt ends the whole run without a verdict, as a call without a row does at level `pinned`.
    fn ends_the_run(&self, level: Level) -> bool {
        self.held(level).iter().any(|answer| answer.starts_with("E_"))
    }
}

/// What must live while the cages of a barrier run.
pub type Kept = Box<dyn Any>;

/// Tries every row, as root and rootless, and fails with the list of those that gave way.
pub fn hold(level: Level, barrier: &str, prepare: fn(&mut Bench) -> Kept, rows: &[Row]) {
    let mut fallen = Vec::new();
    for (who, mut bench) in [("root", Bench::at(level, false)), ("rootless", Bench::at(level, true))] {
        let kept = prepare(&mut bench);
        let mut judge = |row: &Row, answer: &str| {
            let verdict = if row.held(level).contains(&answer) { "held" } else { "GAVE WAY" };
            let line = format!("{verdict} {barrier} {who} {}: {answer} ({})", row.probe, row.tries);
            println!("{line}");
            if verdict != "held" {
                fallen.push(line);
            }
        };
        let together: Vec<_> = rows.iter().filter(|row| !row.ends_the_run(level)).collect();
        let names: Vec<_> = together.iter().map(|row| row.probe).collect();
        let ran = bench.attempts(&names);
        together.iter().for_each(|row| judge(row, ran.answer(row.probe)));
        assert_eq!(ran.report.exit, Exit::Code(0), "{barrier} {who}: the cage did not live: {ran:?}");
        assert_eq!(ran.report.level, level.name());
        for row in rows.iter().filter(|row| row.ends_the_run(level)) {
            let ran = bench.attempts(&["whoami", row.probe]);
            assert_eq!(ran.answer("whoami"), "ok:0", "the probe itself runs");
            let Verdict::NoVerdict(why) = &ran.report.verdict else { panic!("{}: {ran:?}", row.probe) };
            judge(row, why.split_whitespace().next().unwrap_or_default());
        }
        drop(kept);
    }
    assert!(fallen.is_empty(), "{}", fallen.join("\n"));
}

/// The image that the bench makes is enough.
pub fn plain(_: &mut Bench) -> Kept {
    Box::new(())
}

/// Tests from rows: `use PREPARE;` then, for each barrier, `#[test] fn NAME() { "probe": "tries" => "held" | ..; }`.
macro_rules! barriers {
    (use $prepare:path; $(
        #[test]
        fn $test:ident() {
            $($probe:literal: $tries:literal => $($held:literal)|+ $(, pinned $($pinned:literal)|+)?;)+
        }
    )+) => {
        $(
            #[test]
            fn $test() {
                let rows = [$($crate::barriers::Row {
                    probe: $probe,
                    tries: $tries,
                    held: &[$($held),+],
                    pinned: None$(.or(Some(&[$($pinned),+])))?,
                }),+];
                $crate::barriers::hold($crate::LEVEL, stringify!($test), $prepare, &rows);
            }
        )+
        /// Rows of this part of the table, for the check that none was lost.
        #[allow(dead_code, reason = "only one of the files that try this table has the check")]
        pub const PROBES: &[&str] = &[$($($probe),+),+];
    };
}
pub(crate) use barriers;
