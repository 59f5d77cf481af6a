//! One Rust source file, scanned far enough for the checks: code without comments and literals, words,
//! functions, tests.
//!
//! Owns the line and brace scanner. It is syntactic and knows no types; it never expands macros and never
//! fails, because the compiler is what refuses wrong Rust. Invariant: `code` has the same length and the
//! same line breaks as `raw`, so an offset or a line number means the same place in both.

mod mask;
#[cfg(test)]
mod tests;

/// A scanned source file.
#[derive(Debug, Clone)]
pub struct Source {
    /// Path from the workspace root.
    pub path: String,
    /// The file as it is.
    pub raw: String,
    /// The file with comments and literals blanked by spaces.
    pub code: String,
    /// For each line, whether it belongs to a test.
    pub test_lines: Vec<bool>,
    line_starts: Vec<usize>,
}

/// A function with a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its bare name.
    pub name: String,
    /// First line, from `fn`.
    pub first_line: usize,
    /// Lines from `fn` to the closing brace, both included.
    pub lines: usize,
    /// Whether an attribute such as `#[test]` or `#[tokio::test]` stands before it.
    pub is_test: bool,
}

/// A word (identifier, keyword or number) of the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word<'a> {
    /// Byte offset in `code`.
    pub at: usize,
    /// The word itself.
    pub text: &'a str,
}

impl Source {
    /// Scans one file.
    pub fn new(path: String, raw: String) -> Self {
        let code = mask::mask(&raw);
        let line_starts: Vec<usize> = std::iter::once(0)
            .chain(raw.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1))
            .collect();
        let all_test = is_test_path(&path);
        let test_lines = vec![all_test; line_starts.len()];
        let mut source = Self { path, raw, code, test_lines, line_starts };
        source.mark_test_items();
        source
    }

    /// Line number (from 1) of a byte offset.
    pub fn line_of(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// Whether the line (from 1) belongs to a test.
    pub fn is_test_line(&self, line: usize) -> bool {
        self.test_lines.get(line.saturating_sub(1)).copied().unwrap_or(false)
    }

    /// Lines of the file, as an editor counts them.
    pub fn line_count(&self) -> usize {
        self.raw.lines().count()
    }

    /// Every word of the code in order.
    pub fn words(&self) -> Vec<Word<'_>> {
        words(&self.code)
    }

    /// The last character before `offset` that is not white space.
    pub fn before(&self, offset: usize) -> Option<char> {
        self.code[..offset].trim_end().chars().next_back()
    }

    /// What follows `offset`, without leading white space.
    pub fn after(&self, offset: usize) -> &str {
        self.code[offset..].trim_start()
    }

    /// Every function that has a body, inner ones too.
    pub fn functions(&self) -> Vec<Function> {
        let words = self.words();
        let mut found = Vec::new();
        for pair in words.windows(2) {
            let [keyword, name] = pair else { continue };
            // `fn(` is a pointer type and `fn $name` a macro pattern: neither has a name right after the keyword.
            let adjacent =
                self.code[keyword.at + keyword.text.len()..name.at].chars().all(char::is_whitespace);
            if keyword.text != "fn" || !adjacent {
                continue;
            }
            let Some((open, close)) = self.body_after(name.at) else { continue };
            debug_assert!(open < close, "a body is not empty");
            let first_line = self.line_of(keyword.at);
            found.push(Function {
                name: name.text.to_owned(),
                first_line,
                lines: self.line_of(close) - first_line + 1,
                is_test: self.has_test_attribute(keyword.at),
            });
        }
        found
    }

    /// Marks the whole file as test code.
    pub fn mark_all_test(&mut self) {
        self.test_lines.fill(true);
    }

    /// Names of the modules declared as `#[cfg(test)] mod name;`.
    pub fn outline_test_modules(&self) -> Vec<String> {
        let words = self.words();
        let mut names = Vec::new();
        for pair in words.windows(2) {
            let [keyword, name] = pair else { continue };
            let ends = self.after(name.at + name.text.len()).starts_with(';');
            if keyword.text == "mod" && ends && self.is_test_line(self.line_of(keyword.at)) {
                names.push(name.text.to_owned());
            }
        }
        names
    }

    /// Offsets of the braces of the item whose head starts at `from`; `None` when it ends with `;` or never.
    fn body_after(&self, from: usize) -> Option<(usize, usize)> {
        let bytes = self.code.as_bytes();
        let mut depth = 0usize;
        for (at, byte) in bytes.iter().enumerate().skip(from) {
            match byte {
                b'(' | b'[' => depth += 1,
                b')' | b']' => depth = depth.saturating_sub(1),
                b';' if depth == 0 => return None,
                b'{' if depth == 0 => return Some((at, matching_brace(bytes, at))),
                _ => {}
            }
        }
        None
    }

    fn mark_test_items(&mut self) {
        let attributes = self.attributes();
        for (start, end, text) in &attributes {
            if text.starts_with('!') && is_test_attribute(text.trim_start_matches('!')) {
                self.mark_all_test();
                return;
            }
            if !is_test_attribute(text) {
                continue;
            }
            let last = self.item_end(&attributes, *end);
            let (from, to) = (self.line_of(*start) - 1, self.line_of(last));
            if let Some(lines) = self.test_lines.get_mut(from..to) {
                lines.fill(true);
            }
        }
    }

    /// Offset of the last byte of the item that follows an attribute ending at `from`.
    fn item_end(&self, attributes: &[(usize, usize, String)], mut from: usize) -> usize {
        for (start, end, _) in attributes {
            if *start >= from && self.code[from..*start].trim().is_empty() {
                from = *end;
            }
        }
        if let Some((_, close)) = self.body_after(from) {
            return close;
        }
        self.code[from..].find(';').map_or(self.code.len().saturating_sub(1), |at| from + at)
    }

    /// Start, end and inner text (leading `!` kept, white space removed) of every attribute.
    fn attributes(&self) -> Vec<(usize, usize, String)> {
        let bytes = self.code.as_bytes();
        let mut found = Vec::new();
        let mut at = 0;
        while let Some(offset) = self.code[at..].find('#') {
            let start = at + offset;
            at = start + 1;
            let inner = bytes.get(at) == Some(&b'!');
            let open = at + usize::from(inner);
            if bytes.get(open) != Some(&b'[') {
                continue;
            }
            let close = matching(bytes, open, b'[', b']');
            let body: String = self.code[open + 1..close].chars().filter(|c| !c.is_whitespace()).collect();
            found.push((start, close + 1, if inner { format!("!{body}") } else { body }));
            at = close + 1;
        }
        found
    }

    /// Whether the attributes right before the item at `offset` make it a test function.
    fn has_test_attribute(&self, offset: usize) -> bool {
        let head = &self.code[..offset];
        // Only attributes and modifiers (`pub`, `async`, ...) may stand between the end of the previous item and `fn`.
        let start = head.rfind(['{', '}', ';']).map_or(0, |at| at + 1);
        self.attributes().iter().any(|(from, _, text)| {
            *from >= start && *from < offset && !text.starts_with("cfg") && is_test_attribute(text)
        })
    }
}

/// Marks the files of modules that are declared `#[cfg(test)] mod name;` in another file.
pub fn mark_test_modules(sources: &mut [Source]) {
    let mut prefixes = Vec::new();
    for source in sources.iter() {
        let Some((folder, file)) = source.path.rsplit_once('/') else { continue };
        let own = match file {
            "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
            _ => source.path.trim_end_matches(".rs").to_owned(),
        };
        prefixes.extend(source.outline_test_modules().into_iter().map(|name| format!("{own}/{name}")));
    }
    for source in sources {
        let stem = source.path.trim_end_matches(".rs");
        if prefixes
            .iter()
            .any(|p| stem == p || stem.strip_prefix(p.as_str()).is_some_and(|r| r.starts_with('/')))
        {
            source.mark_all_test();
        }
    }
}

/// Words of a text that has no comments and no literals.
pub fn words(code: &str) -> Vec<Word<'_>> {
    let mut found = Vec::new();
    let mut start = None;
    for (at, character) in code.char_indices().chain(std::iter::once((code.len(), ' '))) {
        let inside = character.is_alphanumeric() || character == '_';
        match (inside, start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                found.push(Word { at: from, text: &code[from..at] });
                start = None;
            }
            _ => {}
        }
    }
    found
}

fn is_test_path(path: &str) -> bool {
    let mut parts = path.split('/').rev();
    parts.next() == Some("tests.rs") || parts.any(|part| part == "tests")
}

fn is_test_attribute(text: &str) -> bool {
    let head = text.split('(').next().unwrap_or(text);
    text == "cfg(test)" || text.starts_with("cfg(all(test,") || head == "test" || head.ends_with("::test")
}

fn matching_brace(bytes: &[u8], open: usize) -> usize {
    matching(bytes, open, b'{', b'}')
}

/// Offset of the bracket that closes the one at `open`, or the last byte of a text that never closes it.
fn matching(bytes: &[u8], open: usize, left: u8, right: u8) -> usize {
    let mut depth = 0usize;
    for (at, byte) in bytes.iter().enumerate().skip(open) {
        if *byte == left {
            depth += 1;
        } else if *byte == right {
            depth -= 1;
            if depth == 0 {
                return at;
            }
        }
    }
    bytes.len().saturating_sub(1)
}
