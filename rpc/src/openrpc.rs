//! The OpenRPC document, generated from the table of methods.
//!
//! Owns nothing but the rendering: names, parameters, answers and errors come from [`crate::methods::table`].
//! The checked-in copy is `docs/formats/openrpc.json`; a test compares the two.

use crate::error::ErrorKind;
use crate::methods::params::NoParams;
use crate::methods::{Call, Cost, Method, ask, table};
use serde_json::{Value, json};

/// Kinds of error that any method may return.
const COMMON: [ErrorKind; 4] =
    [ErrorKind::InvalidParams, ErrorKind::Internal, ErrorKind::Unavailable, ErrorKind::LimitExceeded];

pub(crate) fn methods() -> Vec<Method> {
    vec![ask("rpc.discover", "This document.", Cost::Inline, &[], |_, _: NoParams| Ok(document()))]
}

/// The document.
pub fn document() -> Value {
    json!({
        "openrpc": "1.3.2",
        "info": {
            "title": "Metanode",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "JSON-RPC 2.0 over HTTP POST / and WebSocket on one port. Parameters by name or by \
                position; unknown names are refused. Every error carries {code_name, reason, next_step?, tx?} \
                in data. Lists are paged by cursor.",
            "license": {"name": "Apache-2.0"},
        },
        "methods": table().iter().map(method).collect::<Vec<_>>(),
    })
}

fn method(m: &Method) -> Value {
    let params: Vec<Value> = (m.params)()
        .into_iter()
        .map(|f| json!({"name": f.name, "description": f.text, "required": f.required, "schema": f.schema}))
        .collect();
    let mut kinds: Vec<ErrorKind> = COMMON.to_vec();
    kinds.extend(m.errors.iter().filter(|k| !COMMON.contains(k)));
    kinds.sort_by_key(|k| ErrorKind::ALL.iter().position(|o| o == k));
    let errors: Vec<Value> = kinds.iter().map(|k| json!({"code": k.code(), "message": k.name()})).collect();
    let mut out = json!({
        "name": m.name,
        "summary": m.summary,
        "paramStructure": "either",
        "params": params,
        "result": {"name": "result", "schema": (m.result)()},
        "errors": errors,
    });
    if let Call::Subscription { notification, unsubscribe } = m.call {
        out["x-transport"] = json!("WebSocket");
        out["x-notification"] = json!(notification);
        out["x-unsubscribe"] = json!(unsubscribe);
    }
    out
}
