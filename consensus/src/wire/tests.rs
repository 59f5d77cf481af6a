//! The wire form is frozen, strict and bounded.

use super::*;
use proptest::prelude::*;

fn signature(b: u8) -> BlsSignature {
    BlsSignature([b; 96])
}

fn samples() -> Vec<ConsensusMessage> {
    let content =
        VoteContent { kind: VoteKind::Precommit, height: 7, round: 2, block: Some(BlockId([5; 32])) };
    let proposal = ProposalContent { height: 7, round: 2, block: BlockId([5; 32]), pol_round: Some(1) };
    let vote = |voter| RoundVote {
        kind: VoteKind::Prevote,
        block: None,
        voter: Address([voter; 32]),
        signature: signature(4),
    };
    vec![
        ConsensusMessage::Vote(SignedVote { content, voter: Address([1; 32]), signature: signature(2) }),
        ConsensusMessage::Proposal(SignedProposal {
            content: proposal,
            proposer: Address([1; 32]),
            signature: signature(3),
        }),
        ConsensusMessage::Polka(PolkaCertificate {
            height: 7,
            round: 2,
            block: BlockId([5; 32]),
            signatures: vec![(Address([1; 32]), signature(2)), (Address([2; 32]), signature(3))],
        }),
        ConsensusMessage::Round(RoundCertificate {
            height: 7,
            round: 2,
            kind: RoundCertificateKind::Skip,
            votes: vec![vote(1), vote(2)],
        }),
    ]
}

#[test]
fn messages_come_back_and_nothing_may_follow_them() {
    for message in samples() {
        let bytes = message.to_bytes();
        assert_eq!(ConsensusMessage::from_bytes(&bytes), Ok(message));
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(ConsensusMessage::from_bytes(&longer).is_err(), "trailing byte");
        for len in 0..bytes.len() {
            assert!(ConsensusMessage::from_bytes(&bytes[..len]).is_err(), "cut at {len}");
        }
        let mut other = bytes.clone();
        other[0] = WIRE_VERSION + 1;
        assert!(ConsensusMessage::from_bytes(&other).is_err(), "unknown version");
    }
}

/// The encoding of each message, hashed. A change here changes the wire: bump `WIRE_VERSION`.
#[test]
fn the_encoding_is_frozen() {
    let digests: Vec<String> = samples()
        .iter()
        .map(|m| metanode_types::ids::Digest(metanode_types::hash::sha256(&m.to_bytes())).short())
        .collect();
    assert_eq!(digests, ["0x4a662843", "0xf9b1938c", "0xf9399e0f", "0x56b83061"]);
}

#[test]
fn a_list_longer_than_the_largest_set_is_refused_before_allocation() {
    let mut bytes = vec![WIRE_VERSION, 3];
    bytes.extend_from_slice(&[0; 8 + 4 + 32]);
    bytes.extend_from_slice(&u32::MAX.to_le_bytes());
    let error = ConsensusMessage::from_bytes(&bytes).unwrap_err().to_string();
    assert!(error.contains("at most 1024"), "{error}");
    assert!(ConsensusMessage::from_bytes(&vec![WIRE_VERSION; MAX_MESSAGE_BYTES + 1]).is_err());
}

#[test]
fn the_largest_message_fits_the_bound() {
    let vote = |i: u16| {
        let mut voter = [0; 32];
        voter[..2].copy_from_slice(&i.to_be_bytes());
        RoundVote {
            kind: VoteKind::Prevote,
            block: Some(BlockId([1; 32])),
            voter: Address(voter),
            signature: signature(4),
        }
    };
    let votes = (0..MAX_VALIDATORS as u16).map(vote).collect();
    let kind = RoundCertificateKind::Skip;
    let message =
        ConsensusMessage::Round(RoundCertificate { height: u64::MAX, round: u32::MAX, kind, votes });
    assert!(message.to_bytes().len() <= MAX_MESSAGE_BYTES);
    assert_eq!(ConsensusMessage::from_bytes(&message.to_bytes()), Ok(message));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = ConsensusMessage::from_bytes(&bytes);
        if bytes.len() > 1 {
            bytes[0] = WIRE_VERSION;
            bytes[1] = bytes[1] % 4 + 1;
            if let Ok(m) = ConsensusMessage::from_bytes(&bytes) {
                prop_assert_eq!(m.to_bytes(), bytes);
            }
        }
    }
}
