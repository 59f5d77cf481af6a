//! A look at JSON before anything parses it.
//!
//! Owns one linear pass that counts nesting and batch entries without allocating. It does not decide whether
//! the text is JSON: whatever passes is parsed afterwards, and no deeper than the bound checked here.

/// What one pass over a text found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    /// Deepest nesting of arrays and objects.
    pub depth: usize,
    /// Entries of the outermost array; `None` when the text does not start with one.
    pub batch: Option<usize>,
}

/// Counts nesting and batch entries; stops as soon as `max_depth` is exceeded.
pub(super) fn shape(text: &[u8], max_depth: usize) -> Shape {
    let mut out = Shape { depth: 0, batch: None };
    let (mut depth, mut in_string, mut escaped, mut commas, mut empty) = (0usize, false, false, 0usize, true);
    for (i, byte) in text.iter().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => continue,
            b'[' if depth == 0 && text[..i].iter().all(u8::is_ascii_whitespace) => {
                out.batch = Some(0);
                (depth, out.depth) = (1, 1);
                continue;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => in_string = true,
            b',' if depth == 1 => commas += 1,
            _ => {}
        }
        empty &= depth == 0;
        out.depth = out.depth.max(depth);
        if out.depth > max_depth {
            break;
        }
    }
    out.batch = out.batch.map(|_| if empty { 0 } else { commas + 1 });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (usize, Option<usize>) {
        let shape = shape(text.as_bytes(), 16);
        (shape.depth, shape.batch)
    }

    #[test]
    fn counts_depth_and_entries_outside_strings() {
        assert_eq!(of("{}"), (1, None));
        assert_eq!(of("[]"), (1, Some(0)));
        assert_eq!(of(" [ ] "), (1, Some(0)));
        assert_eq!(of("[1]"), (1, Some(1)));
        assert_eq!(of("[[]]"), (2, Some(1)));
        assert_eq!(of(r#"[{"a":[1,2]},{"b":"],[\"{{{{{{{{{{{{{{{{{{"},3]"#), (3, Some(3)));
        assert_eq!(of(r#"{"a":[[[[1]]]]}"#), (5, None));
        assert_eq!(of(&"[".repeat(1_000_000)).0, 17, "the pass stops at the bound");
        assert_eq!(of("]]]]"), (0, None));
    }
}
