//! The scanner on the spellings that fool a scanner: nested comments, raw strings, lifetimes, braces in
//! literals.

use super::*;

fn source(text: &str) -> Source {
    Source::new("a/src/x.rs".to_owned(), text.to_owned())
}

#[test]
fn masking_keeps_length_and_lines() {
    let text = "fn a() { /* } /* ü */ } */ let s = \"}\\\"}\"; // }\n}\n";
    let source = source(text);
    assert_eq!(source.code.len(), text.len());
    assert_eq!(source.code.matches('\n').count(), text.matches('\n').count());
    assert_eq!(source.code.matches('}').count(), 1, "{}", source.code);
    assert!(source.code.contains("let s ="));
}

#[test]
fn raw_strings_characters_and_lifetimes_are_told_apart() {
    let code = source(concat!(
        r##"let a = r#"}"}"#; let b = b"}"; let c = '}'; let d = b'\''; let e = '\u{7d}'; "##,
        r##"fn f<'a>(x: &'a str) -> &'a str { r#type(x) } let g = '"'; let h = br"}";"##
    ))
    .code;
    assert_eq!(code.matches('}').count(), 1, "{code}");
    assert_eq!(code.matches("'a").count(), 3, "{code}");
    assert!(code.contains("r#type(x)"), "{code}");
    assert!(code.contains("let h ="), "{code}");
}

#[test]
fn functions_are_measured_from_keyword_to_brace() {
    let text = "trait T {\n    fn declared(&self);\n    fn given(&self) -> [u8; 2] {\n        [0; 2]\n    }\n}\n\
                type P = fn(u8) -> u8;\npub async fn one() {}\n";
    let found = source(text).functions();
    let seen: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.first_line, f.lines)).collect();
    assert_eq!(seen, [("given", 3, 3), ("one", 8, 1)]);
}

#[test]
fn test_items_are_marked_and_others_are_not() {
    let text = "fn real() {}\n#[cfg(test)]\n#[allow(dead_code)]\nmod tests {\n    fn x() {}\n}\nfn after() {}\n\
                #[tokio::test(flavor = \"multi_thread\")]\nasync fn t() {\n}\n#[cfg(not(test))]\nfn live() {\n}\n";
    let source = source(text);
    let marked: Vec<usize> = (1..=13).filter(|line| source.is_test_line(*line)).collect();
    assert_eq!(marked, [2, 3, 4, 5, 6, 8, 9, 10]);
}

#[test]
fn only_functions_with_a_test_attribute_are_tests() {
    let text = "#[test]\nfn a() {}\n#[cfg(test)]\nfn b() {}\n#[tokio::test]\n#[ignore = \"x\"]\nasync fn c() {}\n\
                fn d() {}\n\
                proptest! {\n    #[test]\n    fn e(x in 0..4u8) { body(x); }\n}\n";
    let found = source(text).functions();
    let tests: Vec<_> = found.iter().filter(|f| f.is_test).map(|f| f.name.as_str()).collect();
    assert_eq!(tests, ["a", "c", "e"]);
}

#[test]
fn test_files_are_known_by_place_and_by_declaration() {
    let file = |path: &str, text: &str| Source::new(path.to_owned(), text.to_owned());
    let mut sources = vec![
        file("a/src/lib.rs", "mod real;\n#[cfg(test)]\nmod fixture;\n"),
        file("a/src/fixture.rs", "fn f() {}\n"),
        file("a/src/fixture/deep.rs", "fn f() {}\n"),
        file("a/src/real.rs", "fn f() {}\n"),
        file("a/tests/all.rs", "fn f() {}\n"),
        file("a/src/real/tests.rs", "fn f() {}\n"),
        file("a/src/attribute.rs", "#![cfg(test)]\nfn f() {}\n"),
    ];
    mark_test_modules(&mut sources);
    let marked: Vec<_> = sources.iter().filter(|s| s.is_test_line(1)).map(|s| s.path.as_str()).collect();
    assert_eq!(
        marked,
        [
            "a/src/fixture.rs",
            "a/src/fixture/deep.rs",
            "a/tests/all.rs",
            "a/src/real/tests.rs",
            "a/src/attribute.rs"
        ]
    );
}
