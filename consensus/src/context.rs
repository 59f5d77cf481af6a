//! The vocabulary of the consensus core, in our types.
//!
//! Owns the `Context` that `arc-malachitebft-core-consensus` is generic over: heights, addresses, votes,
//! proposals, validators. A *value* is a block id; blocks travel outside of consensus. Refuses to sign or
//! verify (see `answer`), to encode anything for the wire (see `wire`), and to support vote extensions and
//! proposal parts, which this chain does not use. Private to the crate: callers see only `metanode-types`.

use crate::proposer::proposer_index;
use arc_malachitebft_core_types as core;
use core::{LinearTimeouts, NilOrVal, Round, VotingPower};
use metanode_types::bls::{BlsPublic, BlsSecret, BlsSignature};
use metanode_types::ids::{Address, BlockId};
use metanode_types::validator::ValidatorSet;
use metanode_types::vote::{ProposalContent, VoteContent, VoteKind};
use std::fmt;
use std::sync::Arc;

/// The context: no state, only rules.
#[derive(Clone, Debug)]
pub(crate) struct Ctx;

/// A height.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Height(pub(crate) u64);

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl core::Height for Height {
    const ZERO: Self = Height(0);
    const INITIAL: Self = Height(1);
    fn increment_by(&self, n: u64) -> Self {
        Height(self.0.saturating_add(n))
    }
    fn decrement_by(&self, n: u64) -> Option<Self> {
        self.0.checked_sub(n).map(Height)
    }
    fn as_u64(&self) -> u64 {
        self.0
    }
}

/// A validator's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Addr(pub(crate) Address);

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.short())
    }
}
impl core::Address for Addr {}

/// The value decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Block(pub(crate) BlockId);

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.short())
    }
}
impl core::Value for Block {
    type Id = Block;
    fn id(&self) -> Block {
        *self
    }
}

/// A vote as the core sees it: the content we sign, and who cast it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vote {
    pub(crate) content: VoteContent,
    pub(crate) voter: Addr,
    value: NilOrVal<Block>,
}

impl Vote {
    pub(crate) fn new(content: VoteContent, voter: Addr) -> Self {
        let value = content.block.map_or(NilOrVal::Nil, |b| NilOrVal::Val(Block(b)));
        Vote { content, voter, value }
    }

    fn cast(kind: VoteKind, height: Height, round: Round, value: NilOrVal<Block>, voter: Addr) -> Self {
        let block = match value {
            NilOrVal::Nil => None,
            NilOrVal::Val(b) => Some(b.0),
        };
        Vote { content: VoteContent { kind, height: height.0, round: defined(round), block }, voter, value }
    }
}

/// Rounds in votes and proposals are always defined: the core votes only after entering a round.
pub(crate) fn defined(round: Round) -> u32 {
    round.as_u32().expect("the core acts only in a defined round")
}

impl core::Vote<Ctx> for Vote {
    fn height(&self) -> Height {
        Height(self.content.height)
    }
    fn round(&self) -> Round {
        Round::new(self.content.round)
    }
    fn value(&self) -> &NilOrVal<Block> {
        &self.value
    }
    fn take_value(self) -> NilOrVal<Block> {
        self.value
    }
    fn vote_type(&self) -> core::VoteType {
        match self.content.kind {
            VoteKind::Prevote => core::VoteType::Prevote,
            VoteKind::Precommit => core::VoteType::Precommit,
        }
    }
    fn validator_address(&self) -> &Addr {
        &self.voter
    }
    fn extension(&self) -> Option<&core::SignedExtension<Ctx>> {
        None
    }
    fn take_extension(&mut self) -> Option<core::SignedExtension<Ctx>> {
        None
    }
    /// Vote extensions are disabled at every height, so the core never calls this.
    fn extend(self, _: core::SignedExtension<Ctx>) -> Self {
        self
    }
}

/// A proposal as the core sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub(crate) content: ProposalContent,
    pub(crate) proposer: Addr,
    block: Block,
}

impl Proposal {
    pub(crate) fn new(content: ProposalContent, proposer: Addr) -> Self {
        Proposal { content, proposer, block: Block(content.block) }
    }
}

impl core::Proposal<Ctx> for Proposal {
    fn height(&self) -> Height {
        Height(self.content.height)
    }
    fn round(&self) -> Round {
        Round::new(self.content.round)
    }
    fn value(&self) -> &Block {
        &self.block
    }
    fn take_value(self) -> Block {
        self.block
    }
    fn pol_round(&self) -> Round {
        Round::from(self.content.pol_round)
    }
    fn validator_address(&self) -> &Addr {
        &self.proposer
    }
}

/// Proposal parts are not used: blocks travel on their own topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoPart {}

impl core::ProposalPart<Ctx> for NoPart {
    fn is_first(&self) -> bool {
        match *self {}
    }
    fn is_last(&self) -> bool {
        match *self {}
    }
}

/// One validator: address and key are computed once per height, not once per vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) address: Addr,
    pub(crate) key: BlsPublic,
    pub(crate) power: u64,
}

impl core::Validator<Ctx> for Member {
    fn address(&self) -> &Addr {
        &self.address
    }
    fn public_key(&self) -> &BlsPublic {
        &self.key
    }
    fn voting_power(&self) -> VotingPower {
        self.power
    }
}

/// The validator set of a height, ordered by address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Members {
    list: Arc<[Member]>,
    total: u64,
}

impl Members {
    pub(crate) fn new(set: &ValidatorSet) -> Self {
        let list: Arc<[Member]> = set
            .members()
            .iter()
            .map(|v| Member { address: Addr(v.address()), key: v.bls, power: v.power })
            .collect();
        assert!(
            list.windows(2).all(|w| w[0].address < w[1].address),
            "a validator set is ordered by address"
        );
        Members { total: set.total_power(), list }
    }

    pub(crate) fn index_of(&self, address: &Addr) -> Option<usize> {
        self.list.binary_search_by(|m| m.address.cmp(address)).ok()
    }

    pub(crate) fn get(&self, address: &Addr) -> Option<&Member> {
        self.index_of(address).map(|i| &self.list[i])
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn proposer(&self, height: u64, round: u32) -> &Member {
        let powers: Vec<u64> = self.list.iter().map(|m| m.power).collect();
        let index = proposer_index(&powers, height, round).expect("a validator set has power");
        &self.list[index]
    }
}

impl core::ValidatorSet<Ctx> for Members {
    fn count(&self) -> usize {
        self.list.len()
    }
    fn total_voting_power(&self) -> VotingPower {
        self.total
    }
    fn get_by_address(&self, address: &Addr) -> Option<&Member> {
        self.get(address)
    }
    fn get_by_index(&self, index: usize) -> Option<&Member> {
        self.list.get(index)
    }
}

/// Byte forms of keys and signatures. The core itself neither signs nor verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyForms;

/// Bytes of the wrong length.
#[derive(Debug)]
pub(crate) struct WrongLength;

impl fmt::Display for WrongLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key or signature of the wrong length")
    }
}

impl core::SigningScheme for KeyForms {
    type DecodingError = WrongLength;
    type Signature = BlsSignature;
    type PublicKey = BlsPublic;
    type PrivateKey = BlsSecret;
    fn decode_signature(bytes: &[u8]) -> Result<BlsSignature, WrongLength> {
        bytes.try_into().map(BlsSignature).map_err(|_| WrongLength)
    }
    fn encode_signature(signature: &BlsSignature) -> Vec<u8> {
        signature.0.to_vec()
    }
    fn decode_public_key(bytes: &[u8]) -> Result<BlsPublic, WrongLength> {
        bytes.try_into().map(BlsPublic).map_err(|_| WrongLength)
    }
    fn encode_public_key(key: &BlsPublic) -> Vec<u8> {
        key.0.to_vec()
    }
}

impl core::Context for Ctx {
    type Address = Addr;
    type Height = Height;
    type ProposalPart = NoPart;
    type Proposal = Proposal;
    type Validator = Member;
    type ValidatorSet = Members;
    type Timeouts = LinearTimeouts;
    type Value = Block;
    type Vote = Vote;
    type Extension = ();
    type SigningScheme = KeyForms;

    fn select_proposer<'a>(&self, set: &'a Members, height: Height, round: Round) -> &'a Member {
        set.proposer(height.0, defined(round))
    }

    fn new_proposal(
        &self,
        height: Height,
        round: Round,
        block: Block,
        pol_round: Round,
        proposer: Addr,
    ) -> Proposal {
        let content = ProposalContent {
            height: height.0,
            round: defined(round),
            block: block.0,
            pol_round: pol_round.as_u32(),
        };
        Proposal { content, proposer, block }
    }

    fn new_prevote(&self, height: Height, round: Round, value: NilOrVal<Block>, voter: Addr) -> Vote {
        Vote::cast(VoteKind::Prevote, height, round, value, voter)
    }

    fn new_precommit(&self, height: Height, round: Round, value: NilOrVal<Block>, voter: Addr) -> Vote {
        Vote::cast(VoteKind::Precommit, height, round, value, voter)
    }
}
