//! Every attempt of the table of barriers again, at level pinned: tracing weakens no wall.

mod barriers;
mod common;

use metanode_cage::Level;

const LEVEL: Level = Level::Pinned;
