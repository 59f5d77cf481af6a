//! Requests and answers between simulated nodes.

use super::{Cargo, Due, World};
use crate::{Event, Failure, InboundId, Offence, PeerId, Protocol, RequestId, limits};

impl World {
    pub(in crate::mem) fn request(
        &mut self,
        me: PeerId,
        to: PeerId,
        protocol: Protocol,
        data: Vec<u8>,
    ) -> RequestId {
        let connected = self.neighbours(&me).contains(&to);
        let now = self.now_ms;
        let Some(node) = self.nodes.get_mut(&me) else { return RequestId(0) };
        let id = RequestId(node.next_request);
        node.next_request += 1;
        let under_way = node.outstanding.values().filter(|(peer, ..)| *peer == to).count();
        let refusal = match connected {
            false => Some(Failure::NotConnected),
            true if under_way >= limits::MAX_OUTSTANDING_PER_PEER => Some(Failure::TooMany),
            true => None,
        };
        if let Some(why) = refusal {
            self.tell(me, Event::RequestFailed { peer: to, protocol, id, why });
            return id;
        }
        node.stats.requests += 1;
        let timeout = self.plan(now + limits::REQUEST_TIMEOUT_MS, Due::Timeout { node: me, id });
        if let Some(node) = self.nodes.get_mut(&me) {
            node.outstanding.insert(id, (to, protocol, timeout));
        }
        self.send(me, to, 0, Cargo::Request { id, protocol, data });
        id
    }

    pub(in crate::mem) fn respond(&mut self, me: PeerId, request: InboundId, data: Option<Vec<u8>>) {
        let now = self.now_ms;
        let Some(node) = self.nodes.get_mut(&me) else { return };
        let Some((asker, id)) = node.pending.remove(&request) else { return };
        let data = data.filter(|d| node.conduct.allow_response(&asker, d.len(), now));
        self.send(me, asker, 0, Cargo::Answer { id, protocol: request.protocol, data });
    }

    pub(super) fn serve(
        &mut self,
        from: PeerId,
        me: PeerId,
        id: RequestId,
        protocol: Protocol,
        data: Vec<u8>,
    ) {
        let now = self.now_ms;
        let Some(node) = self.nodes.get_mut(&me) else { return };
        let inbound = InboundId { number: node.next_inbound, protocol };
        node.next_inbound += 1;
        let within = node.conduct.allow_request(&from, now);
        let room =
            node.pending.values().filter(|(asker, _)| *asker == from).count() < limits::MAX_PENDING_PER_PEER;
        node.pending.insert(inbound, (from, id));
        if within && room && self.tell(me, Event::Request { peer: from, protocol, id: inbound, data }) {
            if let Some(node) = self.nodes.get_mut(&me) {
                node.stats.served += 1;
            }
            return;
        }
        self.respond(me, inbound, None);
        if !within {
            self.offend(me, from, Offence::Flood);
        }
    }

    pub(super) fn conclude(
        &mut self,
        from: PeerId,
        me: PeerId,
        id: RequestId,
        protocol: Protocol,
        data: Option<Vec<u8>>,
    ) {
        let Some(data) = data else { return self.fail(me, id, Failure::Busy) };
        if self.settle(me, id).is_some() {
            self.tell(me, Event::Response { peer: from, protocol, id, data });
        }
    }

    pub(super) fn fail(&mut self, me: PeerId, id: RequestId, why: Failure) {
        if let Some((peer, protocol)) = self.settle(me, id) {
            self.tell(me, Event::RequestFailed { peer, protocol, id, why });
        }
    }

    /// A request has come to its end, if it had not before.
    fn settle(&mut self, me: PeerId, id: RequestId) -> Option<(PeerId, Protocol)> {
        let (peer, protocol, timeout) = self.nodes.get_mut(&me)?.outstanding.remove(&id)?;
        self.schedule.remove(&timeout);
        Some((peer, protocol))
    }
}
