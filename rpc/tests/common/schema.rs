//! A checker for the part of JSON Schema that the document uses.

use serde_json::Value;

/// Panics unless `value` has the form that `schema` describes.
pub fn conforms(path: &str, schema: &Value, value: &Value) {
    if let Err(why) = check(path, schema, value) {
        panic!("{why}\nvalue: {value}");
    }
}

fn check(path: &str, schema: &Value, value: &Value) -> Result<(), String> {
    let fail = |why: String| Err(format!("{path}: {why}"));
    if let Some(options) = schema["oneOf"].as_array() {
        let outcomes: Vec<_> = options.iter().map(|o| check(path, o, value)).collect();
        return match outcomes.iter().filter(|o| o.is_ok()).count() {
            1 => Ok(()),
            n => fail(format!("{n} of {} variants match: {outcomes:?}", options.len())),
        };
    }
    if !schema["const"].is_null() && schema["const"] != *value {
        return fail(format!("is not {}", schema["const"]));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return fail(format!("is none of {words:?}"));
    }
    let right = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        Some(other) => return fail(format!("the schema has type {other}")),
        None => true,
    };
    if !right {
        return fail(format!("is not of type {}", schema["type"]));
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str()) {
        // Enough to tell the kinds of ids apart.
        let prefix: String = pattern
            .trim_start_matches('^')
            .chars()
            .take_while(|c| c.is_alphanumeric() || "_:".contains(*c))
            .collect();
        if !text.starts_with(&prefix) {
            return fail(format!("does not start with {prefix}"));
        }
    }
    for (i, item) in value.as_array().into_iter().flatten().enumerate() {
        check(&format!("{path}[{i}]"), &schema["items"], item)?;
    }
    let Some(fields) = value.as_object() else { return Ok(()) };
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().unwrap();
        if !fields.contains_key(name) {
            return fail(format!("lacks {name}"));
        }
    }
    let Some(properties) = schema["properties"].as_object() else { return Ok(()) };
    for (name, field) in fields {
        match properties.get(name) {
            Some(schema) => check(&format!("{path}.{name}"), schema, field)?,
            None => return fail(format!("has {name}, which the schema does not describe")),
        }
    }
    Ok(())
}
