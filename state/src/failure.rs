//! How an included transaction can fail: stable codes.
//!
//! Owns the table of codes; numbers are never reused. A failure charges the fee, changes nothing else and leaves an
//! `Action::Failed` receipt. (An *invalid* transaction is never included: [`crate::Invalid`].)

use crate::error::Error;
use metanode_types::receipt::{Pipeline, Subject};
use metanode_types::tx::ShortText;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// Stable code of a failure.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(u32)]
        pub enum Code { $($(#[$doc])* $name = $number,)* }
        impl Code {
            /// Every code.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];
        }
    };
}

codes! {
    /// The sender cannot pay.
    InsufficientFunds = 1,
    /// An amount is zero where something must move.
    NothingToMove = 2,
    /// Another node has this name.
    NodeNameTaken = 10,
    /// Another node has this peer id.
    PeerIdTaken = 11,
    /// A node offers no CPU, memory or processes.
    NoCapacity = 12,
    /// The sender is not a registered node.
    NotANode = 13,
    /// A cluster has this name.
    ClusterExists = 20,
    /// A member is listed twice.
    DuplicateMember = 21,
    /// A cluster's largest replica has no CPU, memory or processes.
    NoReplicaFits = 22,
    /// There is no such cluster.
    UnknownCluster = 30,
    /// A deployment of this name lives, or its name is still kept for its owner.
    NameTaken = 31,
    /// The number of replicas is out of bounds.
    BadReplicas = 32,
    /// The cluster demands a higher security level.
    SecurityTooLow = 33,
    /// No node offers the cage level that is demanded.
    CageLevelNotOffered = 34,
    /// The security level demands a witness.
    WitnessNotBuilt = 35,
    /// The security level demands approvals.
    ApprovalsNotBuilt = 36,
    /// One replica asks for more than profile or cluster allow.
    ResourcesTooLarge = 37,
    /// The deposit does not cover the least time.
    DepositTooSmall = 38,
    /// There is no such deployment.
    UnknownDeployment = 40,
    /// The deployment is another account's.
    NotOwner = 41,
    /// The deployment is stopping or finished.
    NotActive = 42,
    /// Jobs are not scaled.
    JobNotScalable = 43,
    /// Neither replicas nor deposit change.
    NothingToScale = 44,
    /// There is no such replica.
    UnknownReplica = 50,
    /// No node holds the replica.
    NotAssigned = 51,
    /// Another node holds the replica.
    OtherNode = 52,
    /// The report's epoch has ended.
    StaleEpoch = 53,
    /// The report says what is known already.
    NoChange = 54,
    /// The event does not fit the kind of workload or its phase.
    WrongEvent = 55,
    /// The image reported is not the one assigned.
    OtherImage = 56,
    /// Metered again too soon.
    TooSoon = 59,
    /// Neither commitments nor reports of this replica are taken now.
    WrongStage = 60,
    /// The report is not the one that was committed to.
    OtherCommitment = 61,
    /// The replica's result cannot be challenged, or not any more.
    NotChallengeable = 62,
    /// The challenger's bond does not cover the bond of the chain and one more run.
    BondTooSmall = 63,
    /// No node of the class is left that could run it once more.
    NoOtherNode = 64,
    /// Only runs at a pinned level or above can be compared.
    VerifyNeedsPinned = 65,
    /// Services run contained.
    ServiceNotContained = 66,
    /// The deployment's latest run may still be challenged.
    StillOpen = 67,
}

/// A failure with its reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Stable code.
    pub code: Code,
    /// Why, for people.
    pub reason: ShortText,
    /// The admission decision to put on record, if there was one.
    pub(crate) decision: Option<Box<(Subject, Pipeline)>>,
}

impl Failure {
    pub(crate) fn new(code: Code, reason: impl Into<String>) -> Self {
        Failure { code, reason: ShortText::new(reason), decision: None }
    }
}

/// Why a part of a transaction did not run to its end.
#[derive(Debug)]
pub(crate) enum Abort {
    /// The transaction fails.
    Failed(Failure),
    /// The store broke.
    Broken(Error),
}

impl From<Failure> for Abort {
    fn from(f: Failure) -> Self {
        Abort::Failed(f)
    }
}
impl From<Error> for Abort {
    fn from(e: Error) -> Self {
        Abort::Broken(e)
    }
}

/// `Ok` if `ok`, else the failure.
pub(crate) fn ensure(ok: bool, code: Code, reason: impl FnOnce() -> String) -> Result<(), Failure> {
    if ok { Ok(()) } else { Err(Failure::new(code, reason())) }
}
