//! What a pinned run is given from outside before it begins: by the world, or by the witness of an earlier run.
//!
//! Owns the decision which of the two. It refuses a witness that is of another run, or that lacks inputs: a replay
//! under another header could not come to the same root, whatever the program did.

use std::io::{self, Read};
use std::path::Path;

use super::session;
use crate::Error;
use crate::spec::{CageSpec, Level};
use crate::witness::{InputKind, OwnedInput, RunHeader, Witness};

/// Label under which the list of hosts stands among the inputs.
pub(crate) const HOSTS: &str = "net";

/// The inputs of a run.
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// All of standard input.
    pub stdin: Vec<u8>,
    /// The other recorded inputs, in order, when this run is a replay.
    pub recorded: Option<Vec<OwnedInput>>,
}

impl Given {
    /// Everything that must be known before the run begins. A contained run reads its input as it goes.
    pub(crate) fn of(spec: &CageSpec) -> Result<Self, Error> {
        match (&spec.replay, &spec.stdin) {
            _ if spec.level != Level::Pinned => Ok(Self::default()),
            (Some(witness), _) => from_witness(spec, witness),
            (None, Some(file)) => Ok(Self { stdin: read(file, spec.limits.memory_bytes)?, recorded: None }),
            (None, None) => Ok(Self::default()),
        }
    }

    /// Standard input as the program's descriptor.
    pub(crate) fn descriptor(&self) -> Result<std::os::fd::OwnedFd, Error> {
        session::input(&self.stdin)
    }
}

fn read(file: &Path, bound: u64) -> Result<Vec<u8>, Error> {
    let fail = |e| Error::launch("read the file for standard input", e);
    let mut bytes = Vec::new();
    std::fs::File::open(file).and_then(|f| f.take(bound + 1).read_to_end(&mut bytes)).map_err(fail)?;
    if bytes.len() as u64 > bound {
        return Err(fail(io::Error::other("it does not fit into the memory of the cage")));
    }
    Ok(bytes)
}

fn from_witness(spec: &CageSpec, path: &Path) -> Result<Given, Error> {
    let refuse = |why: String| Error::launch("take the inputs from the witness", io::Error::other(why));
    let witness = Witness::open(path).map_err(|e| refuse(e.to_string()))?;
    let other = differing(&session::header(spec)?, witness.header());
    if !other.is_empty() {
        return Err(refuse(format!("it is of another run: {} differ", other.join(", "))));
    }
    if witness.truncated() {
        return Err(refuse("it reached its limit: inputs are missing".into()));
    }
    let mut given = Given { stdin: Vec::new(), recorded: Some(Vec::new()) };
    for input in witness.inputs() {
        let input = input.map_err(|e| refuse(e.to_string()))?;
        match input.kind {
            InputKind::Stdin => given.stdin = input.bytes,
            _ => given.recorded.get_or_insert_default().push(input),
        }
    }
    Ok(given)
}

/// The fields in which two headers would lead to two roots.
fn differing(ours: &RunHeader, recorded: &RunHeader) -> Vec<&'static str> {
    let same = [
        ("image", ours.image == recorded.image),
        ("argv", ours.argv == recorded.argv),
        ("env", ours.env == recorded.env),
        ("cwd", ours.cwd == recorded.cwd),
        ("hostname", ours.hostname == recorded.hostname),
        ("limits", ours.limits == recorded.limits),
        ("seed", ours.seed == recorded.seed),
        ("epoch", ours.epoch_ms == recorded.epoch_ms),
        ("cage_abi", ours.cage_abi == recorded.cage_abi),
        ("cpu_class", ours.cpu_class == recorded.cpu_class),
    ];
    same.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
}
