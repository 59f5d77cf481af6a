//! Judged by one thing, acting on another: a sibling thread changes memory while a call is under way.

super::barriers! { use super::plain;

#[test]
fn a_path_rewritten_by_a_sibling_needs_root() {
    "race_path": "a path that turns into the init's environment" => "ok:0";
    "race_path_write": "a path that turns into a setting of the kernel" => "ok:0";
}
#[test]
fn an_address_rewritten_by_a_sibling_needs_root() {
    "race_address": "an address that turns into the metadata's" => "ok:0";
}
#[test]
fn clone_arguments_rewritten_by_a_sibling_needs_root() {
    "race_clone_arguments": "flags that turn into a namespace" => "ok:0";
    "race_number": "a number that turns into a refused one" => "ok:0";
}
#[test]
fn descriptors_and_directories_exchanged_by_a_sibling_needs_root() {
    "race_descriptor": "a base directory that is exchanged during a climb" => "ok:0";
    "race_directory": "a directory that turns into a link to the init's root" => "ok:0";
}
}
