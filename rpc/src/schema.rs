//! JSON Schema of the types that cross the interface.
//!
//! Owns the trait [`Schema`] and the macros that declare a view or a parameter list once: the struct, its
//! serde form and its schema come from the same lines, so that they cannot drift. Refuses references and
//! recursion: every schema is inlined, small and self-contained.

use metanode_types::ids::{Address, BlockId, ChainId, ContentDigest, Digest, Name, ReceiptId, TxId};
use metanode_types::quantity::Amount;
use serde_json::{Value, json};

/// A type whose JSON form is documented.
pub trait Schema {
    /// True when the field may be left out of parameters (and is `null` in answers).
    const OPTIONAL: bool = false;
    /// The JSON Schema.
    fn schema() -> Value;
}

/// One named field of an object.
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub text: String,
    /// False when it may be left out.
    pub required: bool,
    /// Its JSON Schema.
    pub schema: Value,
}

/// A type that is a JSON object with named fields.
pub trait ObjectSchema: Schema {
    /// The fields in order.
    fn fields() -> Vec<Field>;
}

/// The schema of an object from its fields; a closed one refuses unknown fields.
pub fn object(fields: Vec<Field>, closed: bool) -> Value {
    let required: Vec<&str> = fields.iter().filter(|f| f.required).map(|f| f.name).collect();
    let properties: serde_json::Map<String, Value> =
        fields.iter().map(|f| (f.name.to_owned(), described(&f.schema, &f.text))).collect();
    let mut out = json!({"type": "object", "properties": properties, "required": required});
    if closed {
        out["additionalProperties"] = Value::Bool(false);
    }
    out
}

fn described(schema: &Value, text: &str) -> Value {
    let mut schema = schema.clone();
    if let Some(map) = schema.as_object_mut() {
        map.insert("description".to_owned(), Value::String(text.to_owned()));
    }
    schema
}

macro_rules! plain {
    ($($ty:ty => $schema:expr;)*) => { $(impl Schema for $ty { fn schema() -> Value { $schema } })* };
}

fn hex_id(prefix: &str) -> Value {
    json!({"type": "string", "pattern": format!("^{prefix}[0-9a-f]{{64}}$")})
}

plain! {
    String => json!({"type": "string"});
    bool => json!({"type": "boolean"});
    u32 => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX});
    u64 => json!({"type": "integer", "minimum": 0});
    usize => json!({"type": "integer", "minimum": 0});
    i64 => json!({"type": "integer"});
    Value => json!({});
    ChainId => hex_id("0x");
    BlockId => hex_id("0x");
    TxId => hex_id("0x");
    Address => hex_id("0x");
    Digest => hex_id("0x");
    ReceiptId => hex_id("rx_");
    ContentDigest => hex_id("sha256:");
    Name => json!({"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"});
    Amount => json!({"type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,6})?$"});
}

impl<T: Schema> Schema for Option<T> {
    const OPTIONAL: bool = true;
    fn schema() -> Value {
        json!({"oneOf": [T::schema(), {"type": "null"}]})
    }
}
impl<T: Schema> Schema for Vec<T> {
    fn schema() -> Value {
        json!({"type": "array", "items": T::schema()})
    }
}
impl<T: Schema> Schema for Box<T> {
    const OPTIONAL: bool = T::OPTIONAL;
    fn schema() -> Value {
        T::schema()
    }
}

/// Declares a struct that crosses the interface: the struct, its serde form and its schema.
macro_rules! object_type {
    ([$($attr:meta),*] $closed:literal $(#[doc = $doc:literal])* $name:ident $(<$param:ident>)? {
        $($(#[doc = $fdoc:literal])+ $(#[serde($fserde:meta)])* $field:ident : $ty:ty),* $(,)?
    }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        $(#[$attr])*
        pub struct $name $(<$param>)? { $($(#[doc = $fdoc])+ $(#[serde($fserde)])* pub $field: $ty),* }

        impl $(<$param: $crate::schema::Schema>)? $crate::schema::Schema for $name $(<$param>)? {
            fn schema() -> serde_json::Value {
                $crate::schema::object(<Self as $crate::schema::ObjectSchema>::fields(), $closed)
            }
        }
        impl $(<$param: $crate::schema::Schema>)? $crate::schema::ObjectSchema for $name $(<$param>)? {
            fn fields() -> Vec<$crate::schema::Field> {
                vec![$($crate::schema::Field {
                    name: stringify!($field),
                    text: concat!($($fdoc),+).trim().to_owned(),
                    required: !<$ty as $crate::schema::Schema>::OPTIONAL,
                    schema: <$ty as $crate::schema::Schema>::schema(),
                }),*]
            }
        }
    };
}
pub(crate) use object_type;

/// Declares an answer. A client ignores fields that it does not know, so that nodes may grow new ones.
macro_rules! view { ($($all:tt)*) => { $crate::schema::object_type! { [] false $($all)* } }; }
pub(crate) use view;

/// Declares a parameter list. Unknown fields are refused; what is `Option` may be left out.
macro_rules! params {
    ($($all:tt)*) => { $crate::schema::object_type! { [serde(deny_unknown_fields)] true $($all)* } };
}
pub(crate) use params;

/// Declares an enum of words with its serde form (snake case is spelled out) and its schema.
macro_rules! words {
    ($(#[doc = $doc:literal])* $name:ident {
        $($(#[doc = $vdoc:literal])+ $variant:ident = $word:literal),* $(,)?
    }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[doc = $vdoc])+ #[serde(rename = $word)] $variant),* }

        impl $crate::schema::Schema for $name {
            fn schema() -> serde_json::Value { serde_json::json!({"type": "string", "enum": [$($word),*]}) }
        }
        impl $name {
            /// The word of the JSON form.
            pub const fn as_str(self) -> &'static str { match self { $($name::$variant => $word),* } }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.as_str()) }
        }
    };
}
pub(crate) use words;
