//! WASI 0.2, met by components: every interface linked against the real WIT, the calls one by one, and the programs
//! of preview 1 through the public adapter.

mod filesystem;
mod guest;
mod linking;
mod process;

use super::*;
use guest::{At, BUFFER, Guest, I, RET};

const STREAMS: &str = "wasi:io/streams#[method]";
const FILES: &str = "wasi:filesystem/types#[method]descriptor.";

/// The end of `run`: all is well.
const OK: &str = "(i32.const 0)";

impl Guest {
    fn run(&self) -> Ran {
        Run::of(self.component(OK)).go()
    }

    /// A call of a method of `descriptor`.
    fn file(&mut self, name: &str, arguments: &[guest::Arg], out: i64) -> &mut Self {
        self.call(&format!("{FILES}{name}"), arguments, out)
    }

    /// A call of a method of a stream.
    fn stream(&mut self, name: &str, arguments: &[guest::Arg], out: i64) -> &mut Self {
        self.call(&format!("{STREAMS}{name}"), arguments, out)
    }
}

fn trap_of(ran: &Ran) -> TrapKind {
    match ran.outcome.end {
        End::Trapped { trap } => trap,
        ref other => panic!("it ended with {other:?}"),
    }
}
