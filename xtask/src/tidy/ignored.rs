//! Rule: a test is ignored only with its reason, `#[ignore = "…"]`.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Meta};

use super::Finding;
use super::tree::SourceFile;

pub(super) fn check(file: &SourceFile, syntax: &syn::File) -> Vec<Finding> {
    let mut attributes = Ignores { lines: Vec::new() };
    attributes.visit_file(syntax);
    attributes.lines.into_iter().map(|line| file.finding(line, "`#[ignore]` must give its reason")).collect()
}

struct Ignores {
    lines: Vec<usize>,
}

impl<'ast> Visit<'ast> for Ignores {
    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if is_bare_ignore(attribute) {
            self.lines.push(attribute.span().start().line);
        }
        visit::visit_attribute(self, attribute);
    }
}

fn is_bare_ignore(attribute: &Attribute) -> bool {
    match &attribute.meta {
        Meta::Path(path) => path.is_ident("ignore"),
        Meta::List(list) if list.path.is_ident("cfg_attr") => list.tokens.to_string().ends_with(", ignore"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{SourceFile, check};

    fn lines(text: &str) -> Vec<Option<usize>> {
        let syntax = syn::parse_file(text).expect("syntax");
        check(&SourceFile::new("a.rs", text), &syntax).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn ignored_test_without_reason_is_refused() {
        assert_eq!(lines("#[test]\n#[ignore]\nfn waits() {}"), [Some(2)]);
        assert_eq!(lines("mod tests {\n#[test]\n#[cfg_attr(windows, ignore)]\nfn waits() {}\n}"), [Some(3)]);
    }

    #[test]
    fn ignored_test_with_reason_passes() {
        assert_eq!(lines("#[test]\n#[ignore = \"needs 64 GB\"]\nfn waits() {}"), []);
    }
}
