//! The checked-in OpenRPC document is the generated one.

use metanode_rpc::{methods, openrpc};
use std::collections::BTreeSet;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/formats/openrpc.json");

#[test]
fn the_checked_in_document_has_not_drifted() {
    let generated = format!("{:#}\n", openrpc::document());
    if std::env::var_os("UPDATE").is_some_and(|v| v == "1") {
        std::fs::create_dir_all(std::path::Path::new(FILE).parent().unwrap()).unwrap();
        std::fs::write(FILE, &generated).unwrap();
    }
    let kept = std::fs::read_to_string(FILE).expect("docs/formats/openrpc.json exists; UPDATE=1 writes it");
    assert!(
        kept == generated,
        "docs/formats/openrpc.json has drifted: run this test with UPDATE=1 and read the diff"
    );
}

#[test]
fn names_are_unique_and_belong_to_a_known_family() {
    let table = methods::table();
    let names: BTreeSet<&str> = table.iter().map(|m| m.name).collect();
    assert_eq!(names.len(), table.len());
    let families =
        ["chain_", "tx_", "state_", "deployment_", "receipt_", "proof_", "node_", "events_", "rpc."];
    for method in &table {
        assert!(families.iter().any(|f| method.name.starts_with(f)), "{}", method.name);
        assert!(method.summary.ends_with('.'), "{}: {}", method.name, method.summary);
    }
    assert_eq!(openrpc::document()["methods"].as_array().unwrap().len(), table.len());
}

#[test]
fn parameters_that_must_be_given_come_first_so_that_positions_work() {
    for method in methods::table() {
        let required: Vec<bool> = (method.params)().iter().map(|f| f.required).collect();
        assert!(required.is_sorted_by(|a, b| a >= b), "{}", method.name);
    }
}
