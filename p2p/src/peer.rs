//! Who a peer is: the Ed25519 key its TLS certificate is bound to.
//!
//! Owns the identity newtypes, so that no libp2p type leaves the crate. Refuses every other kind of key:
//! all metanodes have Ed25519 identities, the id *is* the public key, and the ledger can authenticate it
//! directly.

use crate::{Error, limits};
use libp2p::{Multiaddr, multiaddr::Protocol as Part};
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

/// Bytes before the key in the identity multihash of a protobuf-encoded Ed25519 key.
const ED25519_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// A peer: its Ed25519 public key. Prints in libp2p's form, `12D3Koo…`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId([u8; 32]);

impl PeerId {
    /// The peer with this public key.
    pub const fn from_key(key: [u8; 32]) -> Self {
        PeerId(key)
    }

    /// The public key.
    pub const fn as_key(&self) -> &[u8; 32] {
        &self.0
    }

    /// The id's multihash, as other implementations write it.
    pub fn to_multihash(&self) -> Vec<u8> {
        [ED25519_PREFIX.as_slice(), &self.0].concat()
    }

    pub(crate) fn to_libp2p(self) -> libp2p::PeerId {
        libp2p::PeerId::from_bytes(&self.to_multihash())
            .expect("a well-formed identity multihash of 36 bytes")
    }

    pub(crate) fn from_libp2p(peer: &libp2p::PeerId) -> Option<Self> {
        let bytes = peer.to_bytes();
        let key = bytes.strip_prefix(&ED25519_PREFIX)?;
        Some(PeerId(key.try_into().ok()?))
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_libp2p().fmt(f)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PeerId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fail = || Error::ParsePeerId { text: shorten(text) };
        let peer = libp2p::PeerId::from_str(text).map_err(|_| fail())?;
        PeerId::from_libp2p(&peer).ok_or_else(fail)
    }
}

/// The secret half of a peer's identity. Never printed.
#[derive(Clone)]
pub struct NodeKey(libp2p::identity::Keypair);

impl NodeKey {
    /// The key with this Ed25519 seed.
    pub fn from_seed(mut seed: [u8; 32]) -> Self {
        let pair = libp2p::identity::Keypair::ed25519_from_bytes(&mut seed);
        NodeKey(pair.expect("every 32 bytes are an Ed25519 seed"))
    }

    /// The public half.
    pub fn peer_id(&self) -> PeerId {
        PeerId::from_libp2p(&self.0.public().to_peer_id()).expect("the key is an Ed25519 key")
    }

    pub(crate) fn to_libp2p(&self) -> libp2p::identity::Keypair {
        self.0.clone()
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({})", self.peer_id())
    }
}

/// Where a peer can be reached: `/ip4/…/udp/…/quic-v1/p2p/<id>` or `/ip4/…/tcp/…/p2p/<id>`.
///
/// The id is mandatory: without it whoever answers at the address would be believed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerAddress {
    /// The peer.
    pub peer: PeerId,
    address: String,
}

impl PeerAddress {
    /// Puts a peer and a bare transport address (as reported by [`crate::Event::Listening`]) together.
    pub fn new(peer: PeerId, address: &str) -> Result<Self, Error> {
        format!("{address}/p2p/{peer}").parse()
    }

    /// The transport address without the peer.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/p2p/{}", self.address, self.peer)
    }
}

impl FromStr for PeerAddress {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fail = |why| Error::ParseAddress { address: shorten(text), why };
        let mut full: Multiaddr = text.parse().map_err(|_| fail("it is not a multiaddress"))?;
        let Some(Part::P2p(peer)) = full.pop() else {
            return Err(fail("it must end in /p2p/<peer id>"));
        };
        let peer =
            PeerId::from_libp2p(&peer).ok_or_else(|| fail("the peer id is not that of an Ed25519 key"))?;
        if !is_transport(&full) {
            return Err(fail(
                "it must start with /ip4|ip6/<address>/udp/<port>/quic-v1 or /ip4|ip6/<address>/tcp/<port>",
            ));
        }
        Ok(PeerAddress { peer, address: full.to_string() })
    }
}

/// Whether the address is one of a transport we have, and nothing more.
pub(crate) fn is_transport(address: &Multiaddr) -> bool {
    let parts: Vec<Part<'_>> = address.iter().take(4).collect();
    matches!(
        parts.as_slice(),
        [Part::Ip4(_) | Part::Ip6(_), Part::Tcp(_)]
            | [Part::Ip4(_) | Part::Ip6(_), Part::Udp(_), Part::QuicV1]
    )
}

/// The IP address an address starts with.
pub(crate) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Part::Ip4(ip) => Some(ip.into()),
        Part::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}

/// The socket behind an address, and whether it is a TCP one.
pub(crate) fn socket_of(address: &Multiaddr) -> Option<(SocketAddr, bool)> {
    let ip = ip_of(address)?;
    match address.iter().nth(1)? {
        Part::Tcp(port) => Some((SocketAddr::new(ip, port), true)),
        Part::Udp(port) => Some((SocketAddr::new(ip, port), false)),
        _ => None,
    }
}

/// A stranger's text, cut to a bound and freed of control characters.
pub(crate) fn shorten(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(limits::MAX_PEER_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_id_is_its_key_and_prints_as_libp2p_does() {
        let key = NodeKey::from_seed([7; 32]);
        let peer = key.peer_id();
        assert!(peer.to_string().starts_with("12D3Koo"));
        assert_eq!(peer.to_string().parse::<PeerId>().unwrap(), peer);
        assert_eq!(PeerId::from_key(*peer.as_key()), peer);
        assert_eq!(PeerId::from_libp2p(&peer.to_libp2p()), Some(peer));
        assert!(!format!("{key:?}").contains("07, 07"));
    }

    #[test]
    fn addresses_without_identity_or_with_other_transports_are_refused() {
        let peer = NodeKey::from_seed([7; 32]).peer_id();
        for good in
            [format!("/ip4/127.0.0.1/udp/1/quic-v1/p2p/{peer}"), format!("/ip6/::1/tcp/65535/p2p/{peer}")]
        {
            assert_eq!(good.parse::<PeerAddress>().unwrap().to_string(), good);
        }
        for bad in [
            "".to_string(),
            "/ip4/127.0.0.1/tcp/1".to_string(),
            format!("/dns4/example.org/tcp/1/p2p/{peer}"),
            format!("/ip4/127.0.0.1/udp/1/p2p/{peer}"),
            format!("/ip4/127.0.0.1/tcp/1/ws/p2p/{peer}"),
            format!("/p2p/{peer}"),
            "/ip4/127.0.0.1/tcp/1/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".to_string(),
        ] {
            assert!(matches!(bad.parse::<PeerAddress>(), Err(Error::ParseAddress { .. })), "{bad}");
        }
    }

    #[test]
    fn a_strangers_text_is_cut_and_cleaned() {
        let text = shorten(&format!("a\u{1b}[31m\n{}", "x".repeat(1000)));
        assert!(!text.contains('\u{1b}') && !text.contains('\n'));
        assert_eq!(text.chars().count(), limits::MAX_PEER_TEXT);
    }
}
