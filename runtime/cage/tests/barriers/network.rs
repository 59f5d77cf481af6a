//! Sockets and terminals: the loopback of the cage and nothing else.

super::barriers! { use super::bait::listeners;

#[test]
fn vsock_needs_root() {
    "socket_vsock": "the hypervisor's sockets, which no namespace holds" => "EPERM";
}
#[test]
fn packet_socket_needs_root() {
    "socket_packet": "whole packets" => "EPERM";
    "socket_xdp": "whole packets, faster" => "EPERM";
}
#[test]
fn packet_socket_by_inet_needs_root() {
    "socket_inet_packet": "the old way to whole packets" => "EPERM";
}
#[test]
fn raw_socket_needs_root() {
    "socket_raw": "raw IPv4" => "EPERM";
    "socket_raw6": "raw IPv6" => "EPERM";
    "socket_other_protocols": "SCTP, DCCP, MPTCP, ping, UDP-Lite" => "EPERM";
}
#[test]
fn netlink_needs_root() {
    "socket_netlink": "configuration of the network" => "EPERM";
}
#[test]
fn alg_socket_needs_root() {
    "socket_alg": "the kernel's ciphers" => "EPERM";
}
#[test]
fn other_socket_families_needs_root() {
    "socket_tipc": "TIPC" => "EPERM";
    "socket_key": "IPsec keys" => "EPERM";
    "socket_bluetooth": "Bluetooth" => "EPERM";
    "socket_can": "CAN" => "EPERM";
    "socket_rds": "RDS" => "EPERM";
    "socket_smc": "SMC" => "EPERM";
    "socket_any_other": "every other family there is" => "EPERM";
    "socket_pairs": "pairs of them" => "EPERM";
}
#[test]
fn only_loopback_exists_needs_root() {
    "interfaces": "how many other interfaces there are" => "ok:0";
    "interface_changes": "addresses, flags, routes, names" => "EPERM";
}
#[test]
fn network_is_unreachable_needs_root() {
    "internet": "a host of the internet" => "ENETUNREACH";
    "internet6": "the same by IPv6" => "ENETUNREACH" | "EADDRNOTAVAIL";
    "private_network": "a host beside this one" => "ENETUNREACH";
    "broadcast": "everybody" => "ENETUNREACH";
    "multicast": "everybody who listens" => "ENETUNREACH";
}
#[test]
fn metadata_address_is_unreachable_needs_root() {
    "metadata": "the cloud's metadata" => "ENETUNREACH";
    "metadata6": "the same by IPv6" => "ENETUNREACH" | "EADDRNOTAVAIL";
    "metadata_datagram": "the same by datagram" => "ENETUNREACH";
}
#[test]
fn host_abstract_socket_needs_root() {
    "abstract_socket": "an abstract socket of the host" => "ECONNREFUSED";
    "path_socket": "a socket file of the host" => "ENOENT";
}
#[test]
fn host_loopback_needs_root() {
    "host_loopback": "a service of the host's own loopback" => "ECONNREFUSED";
}
#[test]
fn the_hosts_paths_do_not_exist_needs_root() {
    "state_directory": "where the supervisor keeps its state" => "ENOENT";
}
#[test]
fn loopback_works_needs_root() {
    "loopback": "a connection to oneself, which is no attack" => "ok:0";
}
#[test]
fn privileged_socket_options_needs_root() {
    "socket_mark": "marks that routing trusts" => "EPERM";
    "socket_transparent": "foreign addresses" => "EPERM";
    "socket_repair": "forged connections" => "EPERM";
    "socket_force_buffer": "buffers beyond the limit" => "EPERM";
}
#[test]
fn terminal_input_injection_needs_root() {
    "terminal_input": "input for whoever reads the terminal next" => "EPERM";
    "terminal_linux": "the console's selection" => "EPERM";
    "terminal_console": "the console's output" => "EPERM";
    "terminal_discipline": "another line discipline" => "EPERM";
    "terminal_own": "a terminal of one's own" => "EPERM";
    "terminal_keyboard": "the keyboard's strings" => "EPERM";
}
}
