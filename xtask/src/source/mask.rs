//! Blanks comments, strings and character literals of Rust text, so that a brace in a string is not a brace.
//!
//! Owns the only lexing of this crate. Keeps length and line breaks: every blanked byte becomes a space, so
//! the result is valid UTF-8 and offsets stay true. An unterminated literal is blanked to the end of the
//! file.

/// Returns the text with comments and literals replaced by spaces.
pub fn mask(raw: &str) -> String {
    let bytes = raw.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let end = match byte {
            b'/' if bytes.get(at + 1) == Some(&b'/') => line_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => block_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'\'' => match char_end(raw, at) {
                Some(end) => end,
                None => {
                    at += 1;
                    continue;
                }
            },
            _ if is_word(*byte) => {
                let word_end = (at..bytes.len()).find(|i| !is_word(bytes[*i])).unwrap_or(bytes.len());
                match prefixed_literal_end(raw, at, word_end) {
                    Some(end) => end,
                    None => {
                        at = word_end;
                        continue;
                    }
                }
            }
            _ => {
                at += 1;
                continue;
            }
        };
        for slot in &mut out[at..end] {
            if *slot != b'\n' {
                *slot = b' ';
            }
        }
        at = end;
    }
    // Only whole characters are blanked, each byte by a space, so the lossy form never loses anything.
    String::from_utf8_lossy(&out).into_owned()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn line_end(bytes: &[u8], from: usize) -> usize {
    (from..bytes.len()).find(|i| bytes[*i] == b'\n').unwrap_or(bytes.len())
}

fn block_end(bytes: &[u8], from: usize) -> usize {
    let mut depth = 0usize;
    let mut at = from;
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => {
                depth += 1;
                at += 2;
            }
            b"*/" => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    bytes.len()
}

/// End of a string whose opening quote is at `from`, escapes honoured.
fn string_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// End of a raw string whose first `#` or quote is at `from`; `None` when it is a raw identifier.
fn raw_string_end(raw: &str, from: usize) -> Option<usize> {
    let hashes = raw[from..].bytes().take_while(|b| *b == b'#').count();
    if raw.as_bytes().get(from + hashes) != Some(&b'"') {
        return None;
    }
    let body = from + hashes + 1;
    let closing = format!("\"{}", "#".repeat(hashes));
    Some(raw[body..].find(&closing).map_or(raw.len(), |at| body + at + closing.len()))
}

/// End of the literal that the word `from..word_end` is a prefix of, as in `b"x"`, `r#"x"#` or `b'x'`.
fn prefixed_literal_end(raw: &str, from: usize, word_end: usize) -> Option<usize> {
    let bytes = raw.as_bytes();
    let next = bytes.get(word_end);
    match (&raw[from..word_end], next) {
        ("r" | "br" | "cr", Some(b'"' | b'#')) => raw_string_end(raw, word_end),
        ("b" | "c", Some(b'"')) => Some(string_end(bytes, word_end)),
        ("b", Some(b'\'')) => char_end(raw, word_end),
        _ => None,
    }
}

/// End of the character literal whose quote is at `from`; `None` when the quote starts a lifetime.
fn char_end(raw: &str, from: usize) -> Option<usize> {
    let mut rest = raw[from + 1..].char_indices();
    let (_, first) = rest.next()?;
    if first == '\\' {
        // The escaped character itself may be a quote, so the search for the closing one starts behind it.
        rest.next()?;
        return rest.find(|(_, c)| *c == '\'').map(|(at, _)| from + 1 + at + 1);
    }
    match rest.next() {
        Some((at, '\'')) => Some(from + 1 + at + 1),
        _ => None,
    }
}
