//! Schemas of the ledger's own types where they appear in views.
//!
//! Owns no type: it describes the JSON form that `metanode-types` gives them. A test compares each
//! description with a value that was really serialised.

use crate::schema::Schema;
use metanode_types::block::Header;
use metanode_types::bls::BlsPublic;
use metanode_types::cage_report::ExitStatus;
use metanode_types::certificate::Certificate;
use metanode_types::ids::{Address, BlockId, ChainId, ContentDigest, Digest, Name, ReceiptId, TxId};
use metanode_types::level::{CageLevel, SecurityLevel};
use metanode_types::receipt::{Receipt, Subject, Tier};
use metanode_types::tx::PlacementPolicy;
use metanode_types::workload::{ImageRef, Resources, Workload};
use serde_json::{Value, json};

fn record(fields: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = fields.iter().map(|f| f.0).collect();
    let properties: serde_json::Map<String, Value> =
        fields.iter().map(|f| (f.0.to_owned(), f.1.clone())).collect();
    json!({"type": "object", "properties": properties, "required": names})
}

fn words(words: &[&str]) -> Value {
    json!({"type": "string", "enum": words})
}

/// One of several variants, each an object with one key.
fn tagged(variants: &[(&str, Value)]) -> Vec<Value> {
    variants.iter().map(|(tag, inner)| record(&[(tag, inner.clone())])).collect()
}

macro_rules! describe {
    ($($ty:ty => $schema:expr;)*) => { $(impl Schema for $ty { fn schema() -> Value { $schema } })* };
}

describe! {
    BlsPublic => json!({"type": "string", "pattern": "^[0-9a-f]{96}$"});
    Tier => words(&["action", "agreement", "pipeline", "economic"]);
    CageLevel => words(&["contained", "pinned", "reproduced", "replayed"]);
    SecurityLevel => words(&["standard", "enterprise", "high", "maximum"]);
    PlacementPolicy => words(&["spread", "bin-pack"]);
    Subject => json!({"oneOf": tagged(&[
        ("account", Address::schema()),
        ("node", Address::schema()),
        ("cluster", Name::schema()),
        ("deployment", Name::schema()),
        ("replica", record(&[("deployment", Name::schema()), ("index", u32::schema())])),
    ])});
    ExitStatus => {
        let int = json!({"type": "integer"});
        let mut all = tagged(&[
            ("code", int.clone()), ("signal", int), ("trap", String::schema()), ("cage-failed", String::schema()),
        ]);
        all.push(words(&["timeout", "out-of-memory", "out-of-fuel"]));
        json!({"oneOf": all})
    };
    Resources => record(&[
        ("cpu_milli", u32::schema()),
        ("memory_bytes", u64::schema()),
        ("disk_bytes", u64::schema()),
        ("pids", u32::schema()),
    ]);
    ImageRef => record(&[
        ("kind", words(&["oci", "wasm"])),
        ("digest", ContentDigest::schema()),
        ("descriptor", Digest::schema()),
    ]);
    Workload => record(&[
        ("image", ImageRef::schema()),
        ("args", Vec::<String>::schema()),
        ("env", json!({"type": "array", "items": record(&[("name", String::schema()), ("value", String::schema())])})),
        ("resources", Resources::schema()),
        ("kind", json!({"oneOf": tagged(&[
            ("service", json!({"type": "object"})),
            ("job", record(&[("timeout_ms", u64::schema())])),
        ])})),
        ("cage_level", CageLevel::schema()),
        ("security", SecurityLevel::schema()),
        ("verify", u32::schema()),
    ]);
    Receipt => record(&[
        ("subject", Subject::schema()),
        ("seq", u64::schema()),
        ("previous", Option::<ReceiptId>::schema()),
        ("height", u64::schema()),
        ("tx_index", Option::<u32>::schema()),
        ("tx", Option::<TxId>::schema()),
        ("before", Digest::schema()),
        ("after", Digest::schema()),
        ("body", json!({"oneOf": tagged(&[
            ("action", json!({"type": "object"})),
            ("agreement", json!({"type": "object"})),
            ("pipeline", json!({"type": "object"})),
            ("economic", json!({"type": "object"})),
        ])})),
    ]);
    Certificate => record(&[
        ("height", u64::schema()),
        ("round", u32::schema()),
        ("block", BlockId::schema()),
        ("signers", String::schema()),
        ("signature", json!({"type": "string", "pattern": "^[0-9a-f]{192}$"})),
    ]);
    Header => record(&[
        ("version", u32::schema()),
        ("chain_id", ChainId::schema()),
        ("height", u64::schema()),
        ("time_ms", u64::schema()),
        ("parent", BlockId::schema()),
        ("last_commit", record(&[("signers", String::schema()), ("round", u32::schema())])),
        ("txs_root", Digest::schema()),
        ("nonces_digest", Digest::schema()),
        ("receipts_size", u64::schema()),
        ("receipts_root", Digest::schema()),
        ("module_roots", json!({"type": "object", "additionalProperties": Digest::schema()})),
        ("app_root", Digest::schema()),
        ("evidence_root", Digest::schema()),
        ("validators_hash", Digest::schema()),
        ("next_validators_hash", Digest::schema()),
        ("params_hash", Digest::schema()),
        ("proposer", Address::schema()),
    ]);
}
