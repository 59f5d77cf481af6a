//! Routes of a network namespace: one message to the kernel, one answer.
//!
//! Owns the encoding of the single request that the cage needs: an address that is local to `lo`.

use std::io;
use std::os::fd::AsFd;

use super::{read, socket, write};

/// `RTM_NEWROUTE`.
const NEW_ROUTE: u16 = 24;
/// `NLM_F_REQUEST | NLM_F_ACK | NLM_F_REPLACE | NLM_F_CREATE`.
const FLAGS: u16 = 0x1 | 0x4 | 0x100 | 0x400;
/// Table of what is local to this machine.
const TABLE_LOCAL: u8 = 255;
/// `RTPROT_KERNEL`, `RT_SCOPE_HOST`, `RTN_LOCAL`.
const KERNEL_HOST_LOCAL: [u8; 3] = [2, 254, 2];
/// Attributes of a route: destination, device, source, metrics; and the metric that answers every segment at once.
const DESTINATION: u16 = 1;
const DEVICE: u16 = 4;
const SOURCE: u16 = 7;
const METRICS: u16 = 8;
const QUICK_ANSWERS: u16 = 15;
/// Index of `lo` in every namespace.
const LO: u32 = 1;
/// `NLMSG_ERROR`, which also carries success.
const ANSWER: u16 = 2;

fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend_from_slice(&(value.len() as u16 + 4).to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Makes `address/prefix` local to `lo` in the current network namespace, or changes the route that already does;
/// connections over it acknowledge every segment at once. `source` is the address that connections to it come from.
pub(crate) fn local_route(address: [u8; 4], prefix: u8, source: [u8; 4]) -> io::Result<()> {
    let mut message = vec![0; 16]; // the header, written at the end
    // struct rtmsg: family, destination and source bits, service, table, protocol, scope, type, flags
    message.extend_from_slice(&[libc::AF_INET as u8, prefix, 0, 0, TABLE_LOCAL]);
    message.extend_from_slice(&KERNEL_HOST_LOCAL);
    message.extend_from_slice(&[0; 4]);
    attribute(&mut message, DESTINATION, &address);
    attribute(&mut message, DEVICE, &LO.to_ne_bytes());
    attribute(&mut message, SOURCE, &source);
    let mut metrics = Vec::new();
    attribute(&mut metrics, QUICK_ANSWERS, &1u32.to_ne_bytes());
    attribute(&mut message, METRICS, &metrics);
    let length = (message.len() as u32).to_ne_bytes();
    message[..4].copy_from_slice(&length);
    message[4..6].copy_from_slice(&NEW_ROUTE.to_ne_bytes());
    message[6..8].copy_from_slice(&FLAGS.to_ne_bytes());

    let socket = socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)?;
    write(socket.as_fd(), &message)?;
    let mut answer = [0u8; 512];
    let got = read(socket.as_fd(), &mut answer)?;
    if got < 20 || u16::from_ne_bytes([answer[4], answer[5]]) != ANSWER {
        return Err(io::Error::other("an answer to another question"));
    }
    let error = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error.saturating_neg())) }
}
