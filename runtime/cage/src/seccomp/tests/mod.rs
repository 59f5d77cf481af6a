//! Tests of the table: against the kernel's own lists, against what each subject should do written down a second
//! time, and of the compiled filters. What they do in a real cage is tested by the probes in `tests/`.

mod filter;
mod kernel;
mod lists;
mod subjects;

use super::{Row, table};

/// The row of a name.
fn named(name: &str) -> &'static Row {
    table().find(|row| row.name == name).unwrap_or_else(|| panic!("no row named {name}"))
}
