//! The wrapper: one chain, one node, `step(Input) -> effects`.
//!
//! Owns the life of a height: start, replay of the log, the questions to the application, the decision. The core
//! runs as a coroutine that is driven here by hand and not by its `process!` macro, which answers a failed
//! effect with "continue" in the middle of a transition. After a decision the node rests; it never starts a
//! height by itself, so a chain of one validator yields between heights like any other.

use crate::answer::{Own, Shell};
use crate::api::{Effect, Input, TimeoutId};
use crate::context::{Addr, Block, Ctx, Height, Members};
use crate::convert;
use crate::guard::{SignGuard, SignHistory, Step};
use crate::scheme::{Scheme, Signer};
use crate::wal::{ProposedBlock, WalRecord};
use crate::{Fatal, SetupError};
use arc_malachitebft_core_consensus as core;
use arc_malachitebft_core_types as types;
use core::r#gen::{CoResult, Gen};
use metanode_types::ids::{Address, BlockId, ChainId};
use metanode_types::limits::MAX_VALIDATORS;
use metanode_types::params::ConsensusTimeouts;
use metanode_types::validator::ValidatorSet;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use types::{Round, ThresholdParams, ValuePayload, VoteExtensionPolicy};

/// Heights ahead of the current one for which verified messages are kept.
pub(crate) const FUTURE_HEIGHTS: u64 = 2;
/// Rounds of a future height for which messages are kept; the core drops later ones at the current height.
pub(crate) const FUTURE_ROUNDS: u32 = core::MAX_FUTURE_ROUND_LOOKAHEAD;
/// Verdicts kept per height.
const MAX_VERDICTS: usize = 4096;
const QUEUE_PER_HEIGHT: usize = MAX_VALIDATORS * 3 * (FUTURE_ROUNDS as usize + 1);

/// What a chain's consensus needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The chain: part of everything that is signed.
    pub chain_id: ChainId,
    /// Round timeouts.
    pub timeouts: ConsensusTimeouts,
}

/// This node's voting key. A node without one only listens.
pub struct Local {
    /// Address of the validator, as in the validator set.
    pub address: Address,
    /// Its key.
    pub signer: Box<dyn Signer>,
    /// What the key signed so far, from durable storage.
    pub history: SignHistory,
}

/// Consensus of one chain at one node.
pub struct Consensus {
    pub(crate) shell: Shell,
    pub(crate) core: Option<core::State<Ctx>>,
    /// Verified messages handed to the core for later heights: author, step and round of each.
    pub(crate) future: BTreeMap<u64, BTreeSet<(Address, Step, u32)>>,
    stopped: bool,
}

impl Consensus {
    /// Sets up; nothing happens before the first [`Input::StartHeight`].
    pub fn new(config: Config, scheme: Arc<dyn Scheme>, local: Option<Local>) -> Result<Self, SetupError> {
        let own = match local {
            None => None,
            Some(Local { address, signer, history }) => {
                let guard = SignGuard::new(config.chain_id, signer.public(), history)?;
                Some(Own { address: Addr(address), signer, guard })
            }
        };
        let shell = Shell::new(config.chain_id, config.timeouts, scheme, own);
        Ok(Consensus { shell, core: None, future: BTreeMap::new(), stopped: false })
    }

    /// Takes one input and returns what to do, in order.
    pub fn step(&mut self, input: Input) -> Result<Vec<Effect>, Fatal> {
        if self.stopped {
            return Err(Fatal::Stopped);
        }
        debug_assert!(self.shell.out.is_empty(), "every step hands out all its effects");
        let result = self.dispatch(input);
        self.stopped = result.is_err();
        result?;
        // What was only heard may wait for the next sync; what was said may not.
        debug_assert!(!self.shell.owes_guard(), "a signature is published in the step that makes it");
        Ok(std::mem::take(&mut self.shell.out))
    }

    /// Height started last; 0 before the first.
    pub fn height(&self) -> u64 {
        self.shell.at.height
    }

    /// Round of the current height, if one was entered.
    pub fn round(&self) -> Option<u32> {
        self.core.as_ref().and_then(|c| c.round().as_u32())
    }

    /// Whether the current height is decided.
    pub fn is_decided(&self) -> bool {
        self.shell.at.decided
    }

    /// What this node's key signed so far (for export), if it has one.
    pub fn sign_history(&self) -> Option<&SignHistory> {
        self.shell.own.as_ref().map(|own| own.guard.history())
    }

    fn dispatch(&mut self, input: Input) -> Result<(), Fatal> {
        match input {
            Input::StartHeight { height, validators, replay } => {
                self.start_height(height, &validators, replay)
            }
            Input::Message { peer, bytes } => self.message(peer, &bytes),
            Input::Propose { height, round, block } => self.propose(height, round, block),
            Input::BlockVerdict { height, block, valid } => self.verdict(height, block, valid),
            Input::Timeout(id) => self.timeout(&id),
        }
    }

    /// Runs the core on one input, then on what that made necessary.
    pub(crate) fn drive(&mut self, input: core::Input<Ctx>) -> Result<(), Fatal> {
        self.run(input)?;
        while let Some(block) = self.shell.at.to_feed.pop() {
            self.feed_verdict(block)?;
        }
        Ok(())
    }

    fn run(&mut self, input: core::Input<Ctx>) -> Result<(), Fatal> {
        let state = self.core.as_mut().expect("inputs are refused before the first height");
        let shell = &mut self.shell;
        let mut coroutine = Gen::new(|co| core::handle(co, state, &(), input));
        let mut progress = coroutine.resume_with(core::Resume::Start);
        loop {
            match progress {
                // An error here drops the coroutine in the middle: the state is lost, and so is the process.
                CoResult::Yielded(effect) => progress = coroutine.resume_with(shell.answer(effect)?),
                CoResult::Complete(Ok(())) => return Ok(()),
                CoResult::Complete(Err(error)) => return failed(shell, error),
            }
        }
    }

    fn start_height(&mut self, height: u64, set: &ValidatorSet, replay: Vec<WalRecord>) -> Result<(), Fatal> {
        let current = self.shell.at.height;
        if height <= current {
            return Err(Fatal::StartHeight { asked: height, current });
        }
        if let Some(ahead) = replay.iter().find(|r| r.height() > height) {
            return Err(Fatal::ReplayAhead { height, record: ahead.height() });
        }
        let replay: Vec<WalRecord> = replay.into_iter().filter(|r| r.height() == height).collect();
        let members = Members::new(set);
        self.begin(height, members.clone(), &replay);
        let start = core::Input::StartHeight(
            Height(height),
            members,
            // Messages queued in memory and a log on disk cannot both exist; the log would be the older story.
            !replay.is_empty(),
            None,
            VoteExtensionPolicy::Disabled,
        );
        if replay.is_empty() {
            self.shell.out.push(Effect::WalReset { height });
            self.drive(start)
        } else {
            self.replay(start, &replay)
        }
    }

    /// Forgets the previous height and decides whether this node may sign at the new one.
    fn begin(&mut self, height: u64, members: Members, replay: &[WalRecord]) {
        let muted =
            self.shell.own.as_ref().is_some_and(|own| guard_is_ahead(own, &self.shell.chain, height, replay));
        self.shell.at = crate::answer::HeightState {
            height,
            members: Some(members.clone()),
            muted,
            replaying: !replay.is_empty(),
            replayed: replay.iter().cloned().collect(),
            ..Default::default()
        };
        self.future = self.future.split_off(&(height + 1));
        let state = self.core.get_or_insert_with(|| {
            let params = core::Params {
                address: self.shell.address(),
                threshold_params: ThresholdParams::default(),
                // `ProposalOnly` would take every proposal for valid without asking.
                value_payload: ValuePayload::ProposalAndParts,
                enabled: false,
            };
            core::State::new(Ctx, Height(0), members, params, FUTURE_HEIGHTS as usize, QUEUE_PER_HEIGHT)
        });
        state.params.enabled = self.shell.own.is_some() && !muted;
        if muted {
            self.shell.out.push(Effect::Muted { height });
        } else {
            self.shell.catch_up_guard(replay);
        }
    }

    fn replay(&mut self, start: core::Input<Ctx>, replay: &[WalRecord]) -> Result<(), Fatal> {
        let inputs: Vec<core::Input<Ctx>> = replay.iter().map(convert::record_in).collect();
        self.run(start)?;
        let state = self.core.as_mut().expect("it was just started");
        state.record_recovered_own_precommit_extensions(&inputs);
        state.index_wal_entries(&inputs);
        for (record, input) in replay.iter().zip(inputs) {
            if let WalRecord::Block(b) = record {
                *self.shell.at.verdicts.entry(b.block).or_default() |= b.valid;
                self.shell.at.fed.insert(b.block);
            }
            self.drive(input)?;
        }
        self.core.as_mut().expect("it was just started").reset_entries_index();
        self.shell.at.replaying = false;
        self.shell.at.replayed.clear();
        self.ask_again(replay)?;
        self.shell.flush();
        Ok(())
    }

    /// After replay: the questions that were open when the process died.
    fn ask_again(&mut self, replay: &[WalRecord]) -> Result<(), Fatal> {
        let at = &self.shell.at;
        if at.decided {
            return Ok(());
        }
        let height = at.height;
        let open: Vec<Effect> = at
            .asked
            .iter()
            .filter(|(block, _)| !at.verdicts.contains_key(block))
            .map(|(block, (round, proposer))| Effect::NeedBlockVerdict {
                height,
                round: *round,
                block: *block,
                proposer: *proposer,
            })
            .collect();
        self.shell.out.extend(open);
        let Some((round, timeout_ms)) = self.shell.at.get_value else { return Ok(()) };
        if !self.awaits_value(round) {
            self.shell.at.get_value = None;
            return Ok(());
        }
        let own = self.shell.address().0;
        let built = replay.iter().find_map(|r| match r {
            WalRecord::Block(b) if b.round == round && b.proposer == own && b.valid => Some(b.block),
            _ => None,
        });
        match built {
            Some(block) => {
                self.shell.out.push(Effect::RepublishBlock { height, block });
                self.propose(height, round, block)
            }
            None => {
                self.shell.flush();
                self.shell.out.push(Effect::GetValue { height, round, timeout_ms });
                Ok(())
            }
        }
    }

    fn awaits_value(&self, round: u32) -> bool {
        let at = &self.shell.at;
        let waiting = |c: &core::State<Ctx>| c.round() == Round::new(round) && c.driver.step_is_propose();
        !at.decided
            && matches!(at.get_value, Some((r, _)) if r == round)
            && self.core.as_ref().is_some_and(waiting)
    }

    fn propose(&mut self, height: u64, round: u32, block: BlockId) -> Result<(), Fatal> {
        // A late answer, or an answer to a question that was not asked, is dropped: the round went on.
        if height != self.shell.at.height || !self.awaits_value(round) {
            return Ok(());
        }
        let at = &mut self.shell.at;
        at.get_value = None;
        at.verdicts.insert(block, true);
        at.fed.insert(block);
        self.shell.out.push(Effect::PersistBlock { block });
        let value = core::LocallyProposedValue::new(Height(height), Round::new(round), Block(block));
        self.drive(core::Input::Propose(value))
    }

    fn verdict(&mut self, height: u64, block: BlockId, valid: bool) -> Result<(), Fatal> {
        let at = &mut self.shell.at;
        let known = at.verdicts.get(&block).copied();
        // A verdict may turn from invalid to valid (a missing parent came), never back.
        let news = known.is_none() || (known == Some(false) && valid);
        if height != at.height
            || at.decided
            || !news
            || (known.is_none() && at.verdicts.len() >= MAX_VERDICTS)
        {
            return Ok(());
        }
        at.verdicts.insert(block, valid);
        at.fed.remove(&block);
        if at.asked.contains_key(&block) { self.feed_then_rest(block) } else { Ok(()) }
    }

    fn feed_then_rest(&mut self, block: BlockId) -> Result<(), Fatal> {
        self.shell.at.to_feed.push(block);
        while let Some(block) = self.shell.at.to_feed.pop() {
            self.feed_verdict(block)?;
        }
        Ok(())
    }

    /// Hands the verdict on a proposed block to the core, once.
    fn feed_verdict(&mut self, block: BlockId) -> Result<(), Fatal> {
        let at = &mut self.shell.at;
        let (Some(valid), Some((round, proposer))) = (at.verdicts.get(&block), at.asked.get(&block)) else {
            return Ok(());
        };
        if !at.fed.insert(block) {
            return Ok(());
        }
        let judged =
            ProposedBlock { height: at.height, round: *round, proposer: *proposer, block, valid: *valid };
        if judged.valid {
            self.shell.out.push(Effect::PersistBlock { block });
        }
        self.run(convert::block_in(&judged))
    }

    fn timeout(&mut self, id: &TimeoutId) -> Result<(), Fatal> {
        let at = &self.shell.at;
        if self.core.is_none() || id.height != at.height || at.decided {
            return Ok(());
        }
        self.drive(core::Input::TimeoutElapsed(convert::timeout_in(id)))
    }
}

/// True when the key signed something that the log does not hold: the log was lost, or the chain was set back.
fn guard_is_ahead(own: &Own, chain: &ChainId, height: u64, replay: &[WalRecord]) -> bool {
    let Some(last) = own.guard.history().last else { return false };
    if last.height != height {
        return last.height > height;
    }
    !replay.iter().any(|r| own.record_of(chain, r) == Some(last))
}

/// Sorts the core's own errors into those that must stop the process and the one that the next round repairs.
fn failed(shell: &mut Shell, error: core::Error<Ctx>) -> Result<(), Fatal> {
    match error {
        core::Error::ReplayDivergence(kind, height, round) => {
            Err(Fatal::Replay { what: kind.to_string(), height: height.0, round: round.as_i64() })
        }
        core::Error::MissingPolkaCertificate(..) => {
            shell.out.push(Effect::Degraded { what: error.to_string() });
            Ok(())
        }
        other => Err(Fatal::Drive(other.to_string())),
    }
}
