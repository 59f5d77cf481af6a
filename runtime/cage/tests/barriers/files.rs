//! Files: handles, nodes, attributes, links and `/dev`.

super::barriers! { use super::plain;

#[test]
fn open_by_handle_at_needs_root() {
    "open_by_handle": "the root of the disk, by its inode number" => "EPERM";
}
#[test]
fn name_to_handle_at_needs_root() {
    "name_to_handle": "a handle to start from" => "EPERM";
}
#[test]
fn device_node_needs_root() {
    "node_null": "even the null device" => "EPERM";
    "node_memory": "the machine's memory" => "EPERM";
}
#[test]
fn block_device_node_needs_root() {
    "node_disk": "the first disk" => "EPERM";
}
#[test]
fn overlay_whiteout_node_needs_root() {
    "node_whiteout": "a whiteout" => "EPERM";
}
#[test]
fn privileged_attributes_needs_root() {
    "trusted_attribute": "an attribute that overlayfs trusts" => "EPERM";
    "security_attribute": "capabilities on a file" => "EPERM" | "EINVAL";
}
#[test]
fn links_made_inside_stay_inside_needs_root() {
    "made_links": "links to a file that every host has" => "ENOENT";
}
#[test]
fn devices_of_the_host_cannot_be_changed_needs_root() {
    "device_mode": "their mode" => "EROFS" | "EPERM";
    "device_owner": "their owner" => "EROFS";
    "device_times": "their times" => "EROFS";
    "device_attribute": "their attributes" => "EROFS";
}
#[test]
fn no_other_device_exists_needs_root() {
    "other_devices": "devices by the names they have on many hosts" => "ENOENT";
    "device_list": "whether /dev holds what it should and nothing else" => "ok:0";
}
#[test]
fn dev_is_read_only_needs_root() {
    "write_dev": "a file in /dev" => "EROFS";
}
#[test]
fn no_terminal_needs_root() {
    "tty": "the controlling terminal" => "ENXIO";
}
}
