//! The JSON forms used over RPC and in files: round trips, unknown fields, and that nothing gets in as JSON
//! which the binary codec would refuse.

use crate::samples::{self, account, chain};
use metanode_types::limits::MAX_TX_BYTES;
use metanode_types::quantity::Amount;
use metanode_types::tx::{SignedTx, TxBody, TxError};
use serde_json::{Value, json};

#[test]
fn json_and_back_is_the_same_value() {
    let mut checked = 0;
    for s in samples::all() {
        let Some((text, from_json)) = s.json else { continue };
        assert_eq!(from_json(&text).unwrap(), s.bytes, "{}: {text}", s.name);
        let pretty = serde_json::to_string_pretty(&serde_json::from_str::<Value>(&text).unwrap()).unwrap();
        assert_eq!(from_json(&pretty).unwrap(), s.bytes, "{}: through a JSON value", s.name);
        checked += 1;
    }
    assert!(checked > 50, "{checked} samples have a JSON form");
}

/// Calls `edit` with every place in `value` that `edit` may replace.
fn each_place(value: &Value, edit: &mut dyn FnMut(&Value) -> Option<Value>, out: &mut Vec<Value>) {
    fn walk(
        node: &Value,
        edit: &mut dyn FnMut(&Value) -> Option<Value>,
        rebuild: &dyn Fn(Value) -> Value,
        out: &mut Vec<Value>,
    ) {
        if let Some(replaced) = edit(node) {
            out.push(rebuild(replaced));
        }
        match node {
            Value::Object(map) => {
                for (key, child) in map {
                    let up = |v: Value| {
                        let mut map = map.clone();
                        map.insert(key.clone(), v);
                        rebuild(Value::Object(map))
                    };
                    walk(child, edit, &up, out);
                }
            }
            Value::Array(list) => {
                for (at, child) in list.iter().enumerate() {
                    let up = |v: Value| {
                        let mut list = list.clone();
                        list[at] = v;
                        rebuild(Value::Array(list))
                    };
                    walk(child, edit, &up, out);
                }
            }
            _ => {}
        }
    }
    walk(value, edit, &|v| v, out);
}

fn variations(value: &Value, mut edit: impl FnMut(&Value) -> Option<Value>) -> Vec<Value> {
    let mut out = Vec::new();
    each_place(value, &mut edit, &mut out);
    out
}

fn bodies() -> impl Iterator<Item = (String, Value)> {
    samples::all().into_iter().filter(|s| s.name.starts_with("TxBody")).map(|s| {
        let text = s.json.unwrap().0;
        (s.name, serde_json::from_str(&text).unwrap())
    })
}

#[test]
fn an_unknown_field_of_a_transaction_is_refused() {
    let signed = samples::all().into_iter().find(|s| s.name == "SignedTx").unwrap();
    let (text, from_json) = signed.json.unwrap();
    let mut value: Value = serde_json::from_str(&text).unwrap();
    value["surprise"] = json!(1);
    assert!(from_json(&value.to_string()).unwrap_err().to_string().contains("unknown field `surprise`"));
    for (name, body) in bodies() {
        let extended = variations(&body, |v| {
            let mut map = v.as_object()?.clone();
            map.insert("surprise".into(), json!(1));
            Some(Value::Object(map))
        });
        for value in extended {
            assert!(serde_json::from_value::<TxBody>(value.clone()).is_err(), "{name}: {value}");
        }
    }
}

#[test]
fn what_json_lets_in_the_codec_lets_in() {
    let huge = "a".repeat(9000);
    let mut judged = 0;
    for (name, body) in bodies() {
        let mut edits = variations(&body, |v| v.is_string().then(|| json!(huge)));
        edits.extend(variations(&body, |v| v.is_string().then(|| json!("ab".repeat(300)))));
        edits.extend(variations(&body, |v| {
            let first = v.as_array()?.first()?;
            Some(Value::Array(vec![first.clone(); 4097]))
        }));
        edits.extend(variations(&body, |v| v.is_number().then(|| json!(u64::MAX))));
        edits.extend(variations(&body, |v| v.is_number().then(|| json!(0))));
        for value in edits {
            let Ok(edited) = serde_json::from_value::<TxBody>(value) else { continue };
            let tx = SignedTx::sign(&account(1), chain(), 1, 2, Amount(3), edited);
            let Ok(()) = tx.check(&chain()) else { continue };
            judged += 1;
            let bytes = metanode_types::codec::encode(&tx);
            match SignedTx::decode(&bytes) {
                Ok(again) => assert_eq!(again, tx),
                Err(TxError::Decode(e)) => assert!(bytes.len() > MAX_TX_BYTES, "{name}: {e}"),
                Err(e) => panic!("{name}: {e}"),
            }
        }
    }
    assert!(judged > 20, "{judged} edits passed both JSON and check");
}

#[test]
fn keys_and_ids_have_one_spelling() {
    use metanode_types::account::AccountKey;
    use metanode_types::ids::{Address, ReceiptId};
    let key = format!("01:{}", "ab".repeat(32));
    assert!(serde_json::from_value::<AccountKey>(json!(key)).is_ok());
    for bad in
        [key.replacen("01", "+1", 1), key.replacen("01", "1", 1), key.replace(':', ""), format!("{key}00")]
    {
        assert!(serde_json::from_value::<AccountKey>(json!(bad)).is_err(), "{bad}");
    }
    let digits = "ab".repeat(32);
    assert!(
        format!("0x{digits}").parse::<Address>().is_ok()
            && format!("rx_{digits}").parse::<ReceiptId>().is_ok()
    );
    for bad in [
        format!("rx_{digits}"),
        digits.clone(),
        format!("0x{}", digits.to_uppercase()),
        format!("0x{digits} "),
    ] {
        assert!(bad.parse::<Address>().is_err(), "{bad}");
    }
}
