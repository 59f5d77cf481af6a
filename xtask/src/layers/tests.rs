//! The layer check on made-up workspaces: each kind of wrong edge must be seen, and each right one let
//! through.

use super::*;

fn member(folder: &str, dependencies: &[(&str, &str)]) -> Member {
    let package = match folder {
        "xtask" => "xtask".to_owned(),
        "runtime/cage" => "metanode-cage".to_owned(),
        other => format!("metanode-{other}"),
    };
    let dependencies = dependencies.iter().map(|(on, kind)| ((*on).to_owned(), (*kind).to_owned())).collect();
    Member { folder: folder.to_owned(), package, dependencies }
}

fn texts(members: &[Member], files: &[(&str, &str)]) -> Vec<String> {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect();
    let edges = edges::collect(&Tree::from_files(files), members);
    judge(members, &edges).iter().map(ToString::to_string).collect()
}

#[test]
fn a_sideways_dependency_of_any_kind_is_printed() {
    for kind in ["normal", "dev", "build"] {
        let members = [member("consensus", &[("metanode-state", kind)]), member("state", &[])];
        assert_eq!(texts(&members, &[]), ["consensus/Cargo.toml: [layers] consensus -> state: sideways"]);
    }
}

#[test]
fn an_upward_dependency_is_printed() {
    let members =
        [member("types", &[("metanode-genesis", "dev")]), member("genesis", &[("metanode-types", "normal")])];
    assert_eq!(texts(&members, &[]), ["types/Cargo.toml: [layers] types -> genesis: upward"]);
}

#[test]
fn downward_and_nested_dependencies_pass() {
    let members = [
        member("types", &[]),
        member("runtime", &[("metanode-types", "normal"), ("metanode-cage", "normal")]),
        member("runtime/cage", &[("metanode-types", "normal")]),
        member(
            "testnet",
            &[("metanode-runtime", "dev"), ("metanode-cage", "normal"), ("metanode-types", "normal")],
        ),
        member("xtask", &[("metanode-types", "normal")]),
    ];
    assert!(texts(&members, &[]).is_empty());
}

#[test]
fn only_runtime_among_its_layer_may_import_the_cage() {
    let members = [
        member("rpc", &[("metanode-cage", "normal")]),
        member("runtime/cage", &[("metanode-runtime", "dev")]),
    ];
    assert_eq!(
        texts(&[members[0].clone(), members[1].clone(), member("runtime", &[])], &[]),
        [
            "rpc/Cargo.toml: [layers] rpc -> runtime/cage: sideways",
            "runtime/cage/Cargo.toml: [layers] runtime/cage -> runtime: sideways",
        ]
    );
}

#[test]
fn nobody_reads_xtask_and_no_member_is_unknown() {
    let members = [member("testnet", &[("xtask", "dev")]), member("xtask", &[]), member("gateway", &[])];
    let found = texts(&members, &[]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().any(|text| text.ends_with("testnet -> xtask: nobody reads xtask")), "{found:?}");
    assert!(
        found.iter().any(|text| text.starts_with("gateway/Cargo.toml: [layers] not in the layer table")),
        "{found:?}"
    );
}

#[test]
fn a_crate_path_in_code_is_an_edge_but_not_in_a_comment_or_a_string() {
    let members = [member("p2p", &[]), member("rpc", &[])];
    let comment = "//! metanode_rpc\nconst NAME: &str = \"metanode_rpc::Backend\";\n";
    assert!(texts(&members, &[("p2p/src/lib.rs", comment)]).is_empty());
    let code = "//! x\nfn f() {\n    metanode_rpc::serve();\n}\n";
    assert_eq!(
        texts(&members, &[("p2p/tests/a.rs", code)]),
        ["p2p/tests/a.rs:3: [layers] p2p -> rpc: sideways"]
    );
}

#[test]
fn a_file_pulled_in_by_path_is_an_edge() {
    let members = [member("p2p", &[]), member("rpc", &[]), member("types", &[])];
    let pulled = "//! x\n#[path = \"../../rpc/src/wire.rs\"]\nmod wire;\n";
    assert_eq!(
        texts(&members, &[("p2p/src/lib.rs", pulled)]),
        ["p2p/src/lib.rs:2: [layers] p2p -> rpc: sideways"]
    );
    let included = "//! x\ninclude!(\n    \"../../rpc/src/wire.rs\"\n);\n";
    assert_eq!(
        texts(&members, &[("p2p/src/lib.rs", included)]),
        ["p2p/src/lib.rs:2: [layers] p2p -> rpc: sideways"]
    );
    let allowed =
        "//! x\nconst V: &str = include_str!(\"../../types/vectors/a.json\");\nlet path = \"../../rpc/x\";\n";
    assert!(texts(&members, &[("p2p/src/lib.rs", allowed)]).is_empty());
}

#[test]
fn a_file_of_the_nested_crate_belongs_to_it() {
    let members = [member("runtime", &[]), member("runtime/cage", &[])];
    let code = "//! x\nuse metanode_runtime::Planner;\n";
    assert_eq!(
        texts(&members, &[("runtime/cage/src/lib.rs", code)]),
        ["runtime/cage/src/lib.rs:2: [layers] runtime/cage -> runtime: sideways"]
    );
}

#[test]
fn a_reserved_crate_is_refused_elsewhere() {
    let found =
        texts(&[member("state", &[("tokio", "normal")]), member("node", &[("anyhow", "normal")])], &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("state -> tokio: reserved"), "{found:?}");
}

#[test]
fn the_tree_of_types_may_not_hold_a_runtime_or_a_database() {
    let clean = "metanode-types v0.1.0 (types)\nborsh v1.8.1\ntokio v1.54.1\n";
    assert_eq!(judge_types_tree(clean).len(), 1, "tokio is found");
    let derived = "metanode-types v0.1.0\nwasmtime-environ v48.0.8\nlibp2p-core v0.45.0 (*)\ntokio2 v1.0.0\n";
    let found: Vec<String> = judge_types_tree(derived).iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(judge_types_tree("metanode-types v0.1.0\nborsh v1.8.1\n").is_empty());
}

#[test]
fn members_are_read_from_cargo_metadata() {
    let json = r#"{"packages":[{"name":"metanode-cage","manifest_path":"/w/runtime/cage/Cargo.toml",
        "dependencies":[{"name":"libc","kind":null},{"name":"tempfile","kind":"dev"}]}]}"#;
    let members = read_members(json, Path::new("/w")).unwrap();
    assert_eq!(members, [member("runtime/cage", &[("libc", "normal"), ("tempfile", "dev")])]);
    assert!(
        read_members(json, Path::new("/elsewhere")).is_err(),
        "a package outside the workspace is refused"
    );
    assert!(read_members("{}", Path::new("/w")).is_err());
    assert!(
        read_members(r#"{"packages":[]}"#, Path::new("/w")).is_err(),
        "an empty workspace is no proof of anything"
    );
}
