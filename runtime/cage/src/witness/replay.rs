//! Running again from a witness: the recorded inputs, handed out in their order, each where it was asked for.
//!
//! It refuses a witness that lacks inputs, and an input that is asked for at another place than it was
//! recorded at: a run that asks for other inputs is not the recorded run, whatever it then does.

use super::divergence::InputView;
use super::{InputKind, Inputs, OwnedInput, Witness, WitnessError};

/// Why a replay cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The witness lacks inputs.
    #[error("the witness reached its limit: inputs are missing, so it cannot be replayed")]
    Truncated,
    /// The run asks for something else than it did when it was recorded.
    #[error("the run asks for {asked} as input {seq}; recorded was {recorded}")]
    OtherInput {
        /// Position of the input.
        seq: u64,
        /// What the run asks for.
        asked: Asked,
        /// What was recorded there.
        recorded: InputView,
    },
    /// The run asks for more than was recorded.
    #[error("the run asks for {asked}, but all {count} recorded inputs are used up")]
    UsedUp {
        /// What the run asks for.
        asked: Asked,
        /// How many there were.
        count: u64,
    },
    /// The run ended before it used all inputs.
    #[error("the run ended before input {seq} of {count} was asked for: {recorded}")]
    Unused {
        /// Position of the first that is left.
        seq: u64,
        /// How many there were.
        count: u64,
        /// What it is.
        recorded: InputView,
    },
    /// The file cannot be read any more.
    #[error(transparent)]
    Witness(#[from] WitnessError),
}

/// What a run asks for: an input without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Where it is to come from.
    pub kind: InputKind,
    /// Which one.
    pub label: String,
    /// How many trapped calls there were.
    pub at_event: u64,
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} after event {}", self.kind, self.label, self.at_event)
    }
}

/// The inputs of a witness, being used up.
pub struct Replay {
    inputs: Inputs<Witness>,
    /// The next input.
    next: Option<OwnedInput>,
}

impl Replay {
    /// Starts a replay, if the witness has all inputs.
    pub fn new(witness: Witness) -> Result<Self, ReplayError> {
        if witness.truncated() {
            return Err(ReplayError::Truncated);
        }
        let mut inputs = witness.into_inputs();
        let next = inputs.next().transpose()?;
        Ok(Self { inputs, next })
    }

    /// The witness that is replayed.
    pub fn witness(&self) -> &Witness {
        self.inputs.witness()
    }

    /// The next input, without using it: what there is to wait for, and at which event it came.
    pub fn peek(&self) -> Option<&OwnedInput> {
        self.next.as_ref()
    }

    /// The bytes of the next input, which must be the one that is asked for. After an error the replay is over.
    pub fn take(&mut self, kind: InputKind, label: &str, at_event: u64) -> Result<Vec<u8>, ReplayError> {
        let asked = || Asked { kind, label: label.into(), at_event };
        let Some(input) = &self.next else {
            let count = self.witness().input_count();
            return Err(ReplayError::UsedUp { asked: asked(), count });
        };
        if (input.kind, input.label.as_str(), input.at_event) != (kind, label, at_event) {
            let (seq, recorded) = (input.seq, InputView::of(input));
            return Err(ReplayError::OtherInput { seq, asked: asked(), recorded });
        }
        let following = self.inputs.next().transpose()?;
        let used = std::mem::replace(&mut self.next, following);
        Ok(used.map_or_else(Vec::new, |input| input.bytes))
    }

    /// Ends the replay; nothing may be left.
    pub fn finish(self) -> Result<(), ReplayError> {
        match &self.next {
            None => Ok(()),
            Some(input) => {
                let (seq, count) = (input.seq, self.witness().input_count());
                Err(ReplayError::Unused { seq, count, recorded: InputView::of(input) })
            }
        }
    }
}
