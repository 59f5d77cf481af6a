//! Requests in and out: budgets, answers, failures.

use super::{Pending, Task};
use crate::{
    Event, Failure, InboundId, Offence, PeerId, Protocol, RequestId, limits,
    live::{codec::Answer, failed, peers::Chain},
};
use libp2p::request_response::{self, InboundFailure, Message, OutboundFailure};
use std::io;

type RequestEvent = request_response::Event<Vec<u8>, Answer>;

impl Task {
    pub(super) fn request(&mut self, id: RequestId, peer: PeerId, protocol: Protocol, data: Vec<u8>) {
        let refusal = match self.peers.get(&peer) {
            None => Some(Failure::NotConnected),
            Some(state) if state.chain != Chain::Ours => Some(Failure::NotConnected),
            Some(state) if state.outstanding >= limits::MAX_OUTSTANDING_PER_PEER => Some(Failure::TooMany),
            Some(_) => None,
        };
        if let Some(why) = refusal {
            return self.tell(failed(peer, protocol, id, why));
        }
        let number = self.swarm.behaviour_mut().requests(protocol).send_request(&peer.to_libp2p(), data);
        self.outstanding.insert((protocol, number), (id, peer));
        if let Some(state) = self.peers.get_mut(&peer) {
            state.outstanding += 1;
        }
        self.shared.count(|s| s.requests += 1);
    }

    pub(super) fn respond(&mut self, id: InboundId, answer: Answer) {
        // Unknown: answered before, or the peer is gone.
        let Some(Pending { peer, channel }) = self.pending.remove(&id) else { return };
        if let Some(state) = self.peers.get_mut(&peer) {
            state.pending = state.pending.saturating_sub(1);
        }
        let now = self.now_ms();
        let answer = match answer {
            Answer::Bytes(bytes) if !self.conduct.allow_response(&peer, bytes.len(), now) => {
                self.shared.count(|s| s.dropped += 1);
                Answer::Refused
            }
            answer => answer,
        };
        // An error says that the peer no longer waits.
        let _ = self.swarm.behaviour_mut().requests(id.protocol).send_response(channel, answer);
    }

    pub(super) fn hear_request(&mut self, protocol: Protocol, event: RequestEvent) {
        match event {
            RequestEvent::Message { peer, message, .. } => {
                let Some(peer) = PeerId::from_libp2p(&peer) else { return };
                let now = self.now_ms();
                if let Some(state) = self.peers.get_mut(&peer) {
                    state.alive(now);
                }
                match message {
                    Message::Request { request_id, request, channel } => {
                        let id = InboundId { number: self.next_inbound, protocol };
                        self.next_inbound += 1;
                        self.pending_numbers.insert((protocol, request_id), id);
                        self.serve(peer, id, request, channel);
                    }
                    Message::Response { request_id, response } => {
                        let Some((id, peer)) = self.concluded(protocol, request_id) else { return };
                        self.tell(match response {
                            Answer::Bytes(data) => Event::Response { peer, protocol, id, data },
                            Answer::Refused => failed(peer, protocol, id, Failure::Busy),
                        });
                    }
                }
            }
            RequestEvent::OutboundFailure { request_id, error, .. } => {
                let Some((id, peer)) = self.concluded(protocol, request_id) else { return };
                let why = failure(&error);
                if why == Failure::Malformed {
                    self.offend(&peer, Offence::InvalidResponse);
                }
                self.tell(failed(peer, protocol, id, why));
            }
            RequestEvent::InboundFailure { peer, request_id, error, .. } => {
                self.abandoned(protocol, request_id);
                let Some(peer) = PeerId::from_libp2p(&peer) else { return };
                if matches!(&error, InboundFailure::Io(e) if e.kind() == io::ErrorKind::InvalidData) {
                    self.offend(&peer, Offence::InvalidRequest);
                }
            }
            RequestEvent::ResponseSent { request_id, .. } => self.abandoned(protocol, request_id),
        }
    }

    /// Hands a peer's request to the core loop, if the peer's budget and our queue allow.
    fn serve(
        &mut self,
        peer: PeerId,
        id: InboundId,
        data: Vec<u8>,
        channel: request_response::ResponseChannel<Answer>,
    ) {
        let now = self.now_ms();
        self.pending.insert(id, Pending { peer, channel });
        let within = self.conduct.allow_request(&peer, now);
        let room = self.peers.get_mut(&peer).is_some_and(|state| {
            state.pending += 1;
            state.pending <= limits::MAX_PENDING_PER_PEER && !matches!(state.chain, Chain::Foreign { .. })
        });
        let told = within
            && room
            && self.shared.tell(Event::Request { peer, protocol: id.protocol, id, data }).is_ok();
        if told {
            self.shared.count(|s| s.served += 1);
            return;
        }
        self.shared.count(|s| s.dropped += 1);
        self.respond(id, Answer::Refused);
        if !within {
            self.offend(&peer, Offence::Flood);
        }
    }

    /// One of our requests has come to its end.
    fn concluded(
        &mut self,
        protocol: Protocol,
        number: request_response::OutboundRequestId,
    ) -> Option<(RequestId, PeerId)> {
        let (id, peer) = self.outstanding.remove(&(protocol, number))?;
        if let Some(state) = self.peers.get_mut(&peer) {
            state.outstanding = state.outstanding.saturating_sub(1);
        }
        Some((id, peer))
    }

    /// A peer's request has come to its end, answered or not.
    fn abandoned(&mut self, protocol: Protocol, number: request_response::InboundRequestId) {
        let Some(id) = self.pending_numbers.remove(&(protocol, number)) else { return };
        if let Some(Pending { peer, .. }) = self.pending.remove(&id)
            && let Some(state) = self.peers.get_mut(&peer)
        {
            state.pending = state.pending.saturating_sub(1);
        }
    }
}

fn failure(error: &OutboundFailure) -> Failure {
    match error {
        OutboundFailure::Timeout => Failure::Timeout,
        OutboundFailure::UnsupportedProtocols => Failure::Unsupported,
        OutboundFailure::Io(e) if e.kind() == io::ErrorKind::InvalidData => Failure::Malformed,
        // The peer closed the stream without a word, or with the connection.
        OutboundFailure::Io(_) | OutboundFailure::DialFailure | OutboundFailure::ConnectionClosed => {
            Failure::NotConnected
        }
    }
}
