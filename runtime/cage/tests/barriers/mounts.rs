//! Which files are where: mounts, roots, and ways between mounts.

super::barriers! { use super::plain;

#[test]
fn mount_needs_root() {
    "mount_tmpfs": "a tmpfs over /tmp" => "EPERM";
    "mount_bind": "the root bound over /tmp" => "EPERM";
    "mount_remount": "/proc/sys writable again" => "EPERM";
    "mount_shared": "mounts that propagate to the host" => "EPERM";
    "mount_move": "/proc moved away" => "EPERM";
    "mount_proc": "a /proc without covers" => "EPERM";
    "mount_sysfs": "a /sys" => "EPERM";
    "mount_devtmpfs": "the host's devices" => "EPERM";
    "mount_overlay": "an overlay of one's own" => "EPERM";
}
#[test]
fn umount_needs_root() {
    "umount_proc": "take /proc away" => "EPERM";
    "umount_cover": "take the read-only cover of /proc/sys away" => "EPERM";
    "umount_root": "take the root away" => "EPERM";
}
#[test]
fn pivot_root_needs_root() {
    "pivot_root": "another root" => "EPERM";
}
#[test]
fn chroot_needs_root() {
    "chroot": "a root below the root" => "EPERM";
    "chroot_twice": "a second chroot while a descriptor of the outside is held" => "EPERM";
    "above_the_root": "climb from the root by path, link and working directory" => "ok:0";
    "carry_a_directory_away": "move the working directory out of its bind mount" => "EXDEV";
}
#[test]
fn new_mount_interface_needs_root() {
    "fsopen": "a file system context" => "EPERM";
    "fsconfig": "configure one" => "EPERM";
    "fsmount": "mount one" => "EPERM";
    "fspick": "reconfigure the root" => "EPERM";
    "open_tree": "a detached copy of the root" => "EPERM";
    "open_tree_attr": "the same with attributes" => "EPERM";
    "move_mount": "/proc moved" => "EPERM";
    "detached_tree": "a detached tree attached elsewhere" => "EPERM";
    "mount_setattr": "read-only taken from /proc/sys and /dev" => "EPERM";
    "statmount": "facts about mounts of any namespace" => "EPERM";
    "listmount": "the list of mounts of any namespace" => "EPERM";
}
#[test]
fn mounts_cannot_be_crossed_by_rename_or_link_needs_root() {
    "across_mounts": "rename and link between mounts of one file system" => "EXDEV";
    "mount_points": "mount points removed, renamed, replaced" => "EBUSY";
}
}
