//! How much Rust a source file holds, by the tokens of the compiler's own lexer: a word in a string or in a
//! comment is not code.

use ra_ap_rustc_lexer::{FrontmatterAllowed, TokenKind, strip_shebang, tokenize};

/// What one source file adds to the package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    pub code_lines: u64,
    pub unsafe_count: u64,
}

/// Measures one file. Text that is no Rust is measured as far as it has tokens; nothing is refused.
pub fn measure(source: &str) -> Measure {
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    let mut rest = &source[strip_shebang(source).unwrap_or(0)..];
    let mut measure = Measure { code_lines: 0, unsafe_count: 0 };
    let (mut line, mut first_uncounted) = (0, 0);
    for token in tokenize(rest, FrontmatterAllowed::Yes) {
        let (text, tail) = rest.split_at(token.len as usize);
        rest = tail;
        let last_line = line + text.bytes().filter(|&byte| byte == b'\n').count() as u64;
        if is_code(token.kind) {
            // A line with several tokens counts once, and a literal over several lines counts each of them.
            measure.code_lines += (last_line + 1).saturating_sub(first_uncounted.max(line));
            first_uncounted = last_line + 1;
            measure.unsafe_count += u64::from(token.kind == TokenKind::Ident && text == "unsafe");
        }
        line = last_line;
    }
    measure
}

fn is_code(kind: TokenKind) -> bool {
    use TokenKind::{BlockComment, Frontmatter, LineComment, Whitespace};
    !matches!(kind, Whitespace | LineComment { .. } | BlockComment { .. } | Frontmatter { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, code_lines: u64, unsafe_count: u64) {
        assert_eq!(measure(source), Measure { code_lines, unsafe_count }, "{source}");
    }

    #[test]
    fn the_keyword_is_counted_where_it_is_code() {
        check("unsafe fn f() { unsafe { g() } }", 1, 2);
        check("unsafe impl Send for X {}\nextern \"C\" { unsafe fn h(); }\n", 2, 2);
        check("macro_rules! m { () => { unsafe { f() } } }", 1, 1);
    }

    #[test]
    fn comments_are_not_code() {
        check("// unsafe\n/// unsafe\n//! unsafe\n/* unsafe /* unsafe */ unsafe */\n", 0, 0);
        check("f(); // unsafe\n", 1, 0);
        check("/* unsafe */ unsafe {}", 1, 1);
    }

    #[test]
    fn literals_are_not_the_keyword() {
        check(r##"let a = "unsafe \" unsafe"; let b = r#"unsafe " unsafe"#; let c = b"unsafe";"##, 1, 0);
        check(r#"let a = c"unsafe"; let quote = '"'; unsafe {}"#, 1, 1);
        check("fn f<'a>(x: &'a str) { let q = '\\''; unsafe {} }", 1, 1);
    }

    #[test]
    fn other_words_are_not_the_keyword() {
        check("#![forbid(unsafe_code)]\nlet r#unsafe = not_unsafe;", 2, 0);
    }

    #[test]
    fn blank_and_comment_lines_are_not_code_lines() {
        check("\n\nfn f() {\n    // why\n\n    g();\n}\n", 3, 0);
        check("let text = \"one\n\nthree\";\nlet x = 1;", 4, 0);
    }

    #[test]
    fn odd_files_are_measured_too() {
        check("", 0, 0);
        check("#!/usr/bin/env cargo\nfn main() {}", 1, 0);
        check("\u{feff}unsafe {}", 1, 1);
        check("let a = \"never closed unsafe", 1, 0);
        check("/* never closed unsafe", 0, 0);
        check("\u{fffd}\u{fffd} unsafe", 1, 1);
    }
}
