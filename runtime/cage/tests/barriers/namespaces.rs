//! Namespaces: none can be made, none entered, none rewritten.

super::barriers! { use super::plain;

#[test]
fn unshare_needs_root() {
    "unshare_user": "a user namespace" => "EPERM";
    "unshare_mount": "a mount namespace" => "EPERM";
    "unshare_pid": "a pid namespace" => "EPERM";
    "unshare_net": "a network namespace" => "EPERM";
    "unshare_ipc": "an ipc namespace" => "EPERM";
    "unshare_uts": "a host name of one's own" => "EPERM";
    "unshare_cgroup": "a cgroup namespace" => "EPERM";
    "unshare_time": "a time namespace" => "EPERM";
    "unshare_user_and_mount": "root of a nested namespace, with its mounts" => "EPERM";
}
#[test]
fn clone_with_namespaces_needs_root() {
    "clone_user": "a child in a user namespace" => "EPERM";
    "clone_mount": "a child in a mount namespace" => "EPERM";
    "clone_pid": "a child in a pid namespace" => "EPERM";
    "clone_net": "a child in a network namespace" => "EPERM";
    "clone_ipc": "a child in an ipc namespace" => "EPERM";
    "clone_uts": "a child in a uts namespace" => "EPERM";
    "clone_cgroup": "a child in a cgroup namespace" => "EPERM";
    "clone_thread": "a thread, which is no attack" => "ok:0";
}
#[test]
fn clone3_looks_missing_needs_root() {
    "clone3_plain": "a child by the call whose flags no filter can read" => "ENOSYS";
    "clone3_user": "the same in a user namespace" => "ENOSYS";
    "clone3_time": "the same in a time namespace" => "ENOSYS";
    "clone3_into_cgroup": "the same in another control group" => "ENOSYS";
}
#[test]
fn setns_needs_root() {
    "setns_own_user": "enter one's own user namespace again, with all capabilities" => "EPERM", pinned "ENOENT";
    "setns_own_mount": "one's own mount namespace" => "EPERM", pinned "ENOENT";
    "setns_own_net": "one's own network namespace" => "EPERM", pinned "ENOENT";
    "setns_own_pid": "one's own pid namespace" => "EPERM", pinned "ENOENT";
    "setns_init_user": "the init's user namespace" => "ENOENT" | "EACCES";
    "setns_init_mount": "the init's mount namespace" => "ENOENT" | "EACCES";
    "setns_pidfd_of_init": "all of the init's at once" => "EPERM";
    "setns_pidfd_of_parent": "all of the parent's at once" => "EPERM";
    "namespace_parent_user": "the parent of one's user namespace, which is the host's" => "EPERM", pinned "ENOENT";
    "namespace_parent_pid": "the parent of one's pid namespace" => "EPERM", pinned "ENOENT";
}
#[test]
fn user_id_maps_cannot_be_rewritten_needs_root() {
    "uid_map": "map another user" => "EPERM", pinned "EACCES";
    "gid_map": "map another group" => "EPERM", pinned "EACCES";
    "project": "map a project and give a file to it" => "EPERM";
    "setgroups_file": "change who may set groups" => "EPERM" | "EACCES";
    "timens_offsets": "move the clocks of children" => "EPERM" | "EACCES", pinned "ENOENT";
}
}
