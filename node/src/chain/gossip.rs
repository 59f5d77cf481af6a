//! What arrives from the network, and what goes out in batches.
//!
//! Owns the verdicts on gossip: bytes that cannot be right are rejected and their bringer scored, what is merely
//! of no use is ignored.

use super::{Chain, ChainError, Notice};
use borsh::{BorshDeserialize, BorshSerialize};
use metanode_consensus::Input;
use metanode_consensus::sync::SyncInput;
use metanode_p2p::{Event, PeerId, Protocol, Topic, Verdict};
use metanode_types::block::Block;
use metanode_types::codec::{self, bounded_vec};
use metanode_types::limits::{MAX_BLOCK_BYTES, MAX_BLOCK_TXS};
use metanode_types::tx::SignedTx;

/// Network events handled in one poll at most, so that timers are never starved.
const MAX_EVENTS_PER_POLL: usize = 512;
/// Bytes of one batch of transactions at most.
const MAX_BATCH_BYTES: usize = MAX_BLOCK_BYTES / 2;

/// A batch of transactions as gossiped.
#[derive(BorshSerialize)]
struct TxBatch {
    txs: Vec<SignedTx>,
}

impl BorshDeserialize for TxBatch {
    fn deserialize_reader<R: borsh::io::Read>(r: &mut R) -> borsh::io::Result<Self> {
        Ok(TxBatch { txs: bounded_vec(r, MAX_BLOCK_TXS)? })
    }
}

pub(super) fn consensus_peer(peer: &PeerId) -> metanode_consensus::PeerId {
    metanode_consensus::PeerId(peer.as_key().to_vec())
}

pub(super) fn network_peer(peer: &metanode_consensus::PeerId) -> Option<PeerId> {
    peer.0.as_slice().try_into().ok().map(PeerId::from_key)
}

impl Chain {
    pub(super) fn network_events(&mut self) -> Result<(), ChainError> {
        for _ in 0..MAX_EVENTS_PER_POLL {
            let Some(event) = self.network.try_next() else { break };
            self.network_event(event)?;
        }
        Ok(())
    }

    fn network_event(&mut self, event: Event) -> Result<(), ChainError> {
        match event {
            Event::Gossip { topic, from, id, data } => {
                let verdict = self.gossip(topic, &from, &data)?;
                self.network.validated(&id, verdict);
            }
            Event::PeerConnected { peer } => self.sync_step(SyncInput::Connected(consensus_peer(&peer)))?,
            Event::PeerDisconnected { peer } => {
                self.sync_step(SyncInput::Disconnected(consensus_peer(&peer)))?
            }
            Event::Request { protocol: Protocol::Sync, peer, id, data } => self.serve(&peer, id, &data),
            Event::Response { protocol: Protocol::Sync, id, data, .. } => self.sync_response(id, &data)?,
            Event::RequestFailed { protocol: Protocol::Sync, id, why, .. } => self.sync_failed(id, why)?,
            blob @ (Event::Request { .. } | Event::Response { .. } | Event::RequestFailed { .. }) => {
                self.blob_event(blob)
            }
            Event::ChainMismatch { peer, ours, theirs } => self.notices.push(Notice::Alarm(format!(
                "peer {peer} is of another chain ({theirs}, this is {ours}): its genesis file differs"
            ))),
            Event::Banned { peer, reason, for_ms } => {
                self.notices
                    .push(Notice::Offence(format!("peer {peer} is banned for {for_ms} ms: {reason}")));
            }
            Event::Listening { address } => {
                self.notices.push(Notice::Degraded(format!("listening on {address}")))
            }
            Event::ListenerLost { addresses, why } => {
                self.notices.push(Notice::Alarm(format!("no longer listening on {addresses:?}: {why}")));
            }
        }
        Ok(())
    }

    /// Hands an event of the blob protocol to its service; refused when there is none or it is busy.
    fn blob_event(&mut self, event: Event) {
        let request = match &event {
            Event::Request { id, .. } => Some(*id),
            _ => None,
        };
        let taken = self.blobs.as_ref().is_some_and(|sink| sink(event));
        if let (false, Some(id)) = (taken, request) {
            self.network.refuse(id);
        }
    }

    fn gossip(&mut self, topic: Topic, from: &PeerId, data: &[u8]) -> Result<Verdict, ChainError> {
        match topic {
            Topic::Consensus => {
                let peer = consensus_peer(from);
                let before = self.notices.len();
                self.step(Input::Message { peer, bytes: data.to_vec() })?;
                let offence = self.notices[before.min(self.notices.len())..]
                    .iter()
                    .any(|n| matches!(n, Notice::Offence(_)));
                Ok(if offence { Verdict::Reject } else { Verdict::Accept })
            }
            Topic::Blocks => match Block::decode(data) {
                Ok(block) => Ok(if self.body_arrived(block)? { Verdict::Accept } else { Verdict::Ignore }),
                Err(_) => Ok(Verdict::Reject),
            },
            Topic::Transactions => match codec::decode::<TxBatch>("transaction batch", data, MAX_BLOCK_BYTES)
            {
                Ok(batch) => Ok(self.batch(batch)),
                Err(_) => Ok(Verdict::Reject),
            },
        }
    }

    /// Takes what is new of a batch. One transaction that can never be valid spoils its bringer's score.
    fn batch(&mut self, batch: TxBatch) -> Verdict {
        let mut verdict = Verdict::Ignore;
        for tx in batch.txs {
            if self.mempool.contains(&tx.id()) {
                continue;
            }
            if tx.envelope.chain_id != self.chain_id {
                return Verdict::Reject;
            }
            if self.admit(tx).is_ok() {
                verdict = Verdict::Accept;
            }
        }
        verdict
    }

    /// Sends the transactions submitted here since the last poll, in batches.
    pub(super) fn flush_outbox(&mut self) {
        let mut txs: Vec<SignedTx> = Vec::new();
        let mut bytes = 0;
        for tx in std::mem::take(&mut self.outbox) {
            let size = codec::encode(tx.as_ref()).len();
            if bytes + size > MAX_BATCH_BYTES || txs.len() >= MAX_BLOCK_TXS {
                self.publish(Topic::Transactions, codec::encode(&TxBatch { txs: std::mem::take(&mut txs) }));
                bytes = 0;
            }
            bytes += size;
            txs.push(SignedTx::clone(&tx));
        }
        if !txs.is_empty() {
            self.publish(Topic::Transactions, codec::encode(&TxBatch { txs }));
        }
    }
}
