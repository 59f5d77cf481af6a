//! How a command answers: one JSON value, or text for people.
//!
//! Owns the choice between the two and the layout of tables. Standard output carries the answer and nothing else;
//! notes and progress go to standard error. Refuses to compute: it prints what it is given.

use serde::Serialize;
use serde_json::Value;
use std::io::Write;

/// Form of the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Form {
    /// For people.
    #[default]
    Text,
    /// One JSON value.
    Json,
}

/// Writes a line of text to standard output. A reader that went away is no failure of the command.
pub fn line(text: impl AsRef<str>) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", text.as_ref());
    let _ = out.flush();
}

/// Writes a note to standard error.
pub fn note(text: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr().lock(), "{}", text.as_ref());
}

/// The JSON form of a value that has only string keys and no floats.
pub fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).expect("answers have only string keys")
}

impl Form {
    /// Prints `answer`, in the text that `text` makes of it or as JSON.
    pub fn emit<T: Serialize + ?Sized>(self, answer: &T, text: impl FnOnce(&T) -> String) {
        match self {
            Form::Text => {
                let text = text(answer);
                line(text.trim_end_matches('\n'));
            }
            Form::Json => line(serde_json::to_string(answer).expect("answers have only string keys")),
        }
    }
}

/// Columns as wide as their widest entry, two spaces apart.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = headings.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let format = |cells: &mut dyn Iterator<Item = &str>| {
        let mut out = String::new();
        for (cell, width) in cells.zip(&widths) {
            let pad = width - cell.chars().count() + 2;
            out.push_str(cell);
            out.extend(std::iter::repeat_n(' ', pad));
        }
        out.trim_end().to_owned()
    };
    let mut out = format(&mut headings.iter().map(|h| &**h));
    for row in rows {
        out.push('\n');
        out.push_str(&format(&mut row.iter().map(String::as_str)));
    }
    out
}

/// Names and values, one pair a line, aligned.
pub fn pairs(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> = rows.iter().map(|(name, value)| format!("{name:width$}  {value}")).collect();
    lines.join("\n")
}

/// What is known, or the word for what is not.
pub fn known<T: std::fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(|| "unavailable".to_owned(), |v| v.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align() {
        let rows = vec![vec!["a".into(), "ready".into()], vec!["node-10".into(), "lost".into()]];
        assert_eq!(table(&["NAME", "STATE"], &rows), "NAME     STATE\na        ready\nnode-10  lost");
        assert_eq!(
            pairs(&[("height", "7".into()), ("id", known::<u8>(None))]),
            "height  7\nid      unavailable"
        );
    }
}
