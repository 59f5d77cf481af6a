//! What a hostile image brings along: privileged files, devices, whiteouts, overlay attributes, links.

super::barriers! { use super::bait::bait;

#[test]
fn setuid_file_needs_root() {
    "setuid_file": "run a setuid file of another user" => "ok:0";
    "setgid_file": "run a setgid file of another group" => "ok:0";
    "capable_file": "run a file with all capabilities" => "ok:0";
}
#[test]
fn device_nodes_of_the_image_needs_root() {
    "image_char_device": "open a character device of the image" => "EACCES";
    "image_block_device": "open a block device of the image" => "EACCES";
    "image_whiteout": "open a whiteout of the image" => "ENOENT" | "EACCES" | "ENXIO";
}
#[test]
fn overlay_attributes_needs_root() {
    "overlay_attributes": "hide and redirect from inside; what is below stays" => "ok:0";
    "image_attributes": "redirects of the image to files of the host" => "ok:0";
}
#[test]
fn links_of_the_image_stay_inside_needs_root() {
    "image_links": "links to files of the host" => "ENOENT";
}
}
