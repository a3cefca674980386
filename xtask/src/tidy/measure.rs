//! How long and how wide the code of a file is: the file, its inline tests, each function and its
//! parameters.
//!
//! Code inside macro calls is not measured, because its syntax is the macro's own.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Block, FnArg, ImplItemFn, ItemFn, ItemImpl, ItemMod, ItemTrait, Meta, Signature, TraitItemFn, Type};

use super::tree::SourceFile;

/// What has a size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// Lines of a file, without its inline tests.
    File,
    /// Lines of the modules below `#[cfg(test)]` inside a file.
    InlineTests,
    /// Lines of a function from its first word to its closing brace.
    Function,
    /// Parameters of a function, `self` not counted.
    Parameters,
}

/// One size found in one place.
#[derive(Debug)]
pub(super) struct Measure {
    pub(super) kind: Kind,
    pub(super) path: String,
    pub(super) line: usize,
    /// `Type::function`, empty for what belongs to the whole file.
    pub(super) name: String,
    pub(super) size: usize,
}

pub(super) fn measure(file: &SourceFile, syntax: &syn::File) -> Vec<Measure> {
    let mut ruler = Ruler { path: &file.path, names: Vec::new(), test_lines: 0, tests_begin: 1, sizes: Vec::new() };
    ruler.visit_file(syntax);
    let source_lines = file.text.lines().count() - ruler.test_lines;
    ruler.push(Kind::File, 1, source_lines);
    ruler.push(Kind::InlineTests, ruler.tests_begin, ruler.test_lines);
    ruler.sizes
}

struct Ruler<'file> {
    path: &'file str,
    /// The types, traits, modules and functions around the current place.
    names: Vec<String>,
    test_lines: usize,
    tests_begin: usize,
    sizes: Vec<Measure>,
}

impl Ruler<'_> {
    fn push(&mut self, kind: Kind, line: usize, size: usize) {
        self.sizes.push(Measure { kind, path: self.path.to_owned(), line, name: self.names.join("::"), size });
    }

    fn function(&mut self, signature: &Signature, body: Option<&Block>) {
        let begin = signature.span().start().line;
        if let Some(body) = body {
            let end = body.brace_token.span.close().end().line;
            self.push(Kind::Function, begin, end - begin + 1);
        }
        let parameters = signature.inputs.iter().filter(|input| matches!(input, FnArg::Typed(_)));
        self.push(Kind::Parameters, begin, parameters.count());
    }

    fn inside(&mut self, name: String, visit: impl FnOnce(&mut Self)) {
        self.names.push(name);
        visit(self);
        self.names.pop();
    }
}

impl<'ast> Visit<'ast> for Ruler<'_> {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if let Some((brace, _)) = module.content.as_ref().filter(|_| is_test_module(module)) {
            let first = module.attrs.first().map_or_else(|| module.span(), Spanned::span);
            self.tests_begin = first.start().line;
            self.test_lines += brace.span.close().end().line - self.tests_begin + 1;
        }
        self.inside(module.ident.to_string(), |ruler| {
            visit::visit_item_mod(ruler, module);
        });
    }

    fn visit_item_impl(&mut self, block: &'ast ItemImpl) {
        self.inside(type_name(&block.self_ty), |ruler| {
            visit::visit_item_impl(ruler, block);
        });
    }

    fn visit_item_trait(&mut self, item: &'ast ItemTrait) {
        self.inside(item.ident.to_string(), |ruler| {
            visit::visit_item_trait(ruler, item);
        });
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.inside(item.sig.ident.to_string(), |ruler| {
            ruler.function(&item.sig, Some(&item.block));
            visit::visit_item_fn(ruler, item);
        });
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.inside(item.sig.ident.to_string(), |ruler| {
            ruler.function(&item.sig, Some(&item.block));
            visit::visit_impl_item_fn(ruler, item);
        });
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        self.inside(item.sig.ident.to_string(), |ruler| {
            ruler.function(&item.sig, item.default.as_ref());
            visit::visit_trait_item_fn(ruler, item);
        });
    }
}

fn is_test_module(module: &ItemMod) -> bool {
    module.attrs.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string();
            condition == "test" || condition.starts_with("all (test")
        }
        _ => false,
    })
}

fn type_name(self_type: &Type) -> String {
    match self_type {
        Type::Path(path) => path.path.segments.last().map_or_else(String::new, |segment| segment.ident.to_string()),
        Type::Reference(reference) => type_name(&reference.elem),
        _ => "impl".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, SourceFile, measure};

    /// The sizes of one kind, with the names of what has them.
    fn sizes(kind: Kind, text: &str) -> Vec<(String, usize)> {
        let syntax = syn::parse_file(text).expect("syntax");
        let sizes = measure(&SourceFile::new("a.rs", text), &syntax);
        sizes.into_iter().filter(|size| size.kind == kind).map(|size| (size.name, size.size)).collect()
    }

    fn named(name: &str, size: usize) -> (String, usize) {
        (name.to_owned(), size)
    }

    #[test]
    fn inline_tests_are_not_lines_of_the_file() {
        let text = "fn run() {}\n\n#[cfg(test)]\nmod tests {\n    fn check() {}\n}\n";
        assert_eq!(sizes(Kind::File, text), [named("", 2)]);
        assert_eq!(sizes(Kind::InlineTests, text), [named("", 4)]);
    }

    #[test]
    fn test_module_in_its_own_file_counts_nothing_here() {
        let text = "fn run() {}\n\n#[cfg(test)]\nmod tests;\n";
        assert_eq!(sizes(Kind::File, text), [named("", 4)]);
        assert_eq!(sizes(Kind::InlineTests, text), [named("", 0)]);
    }

    #[test]
    fn functions_are_measured_wherever_they_stand() {
        let text = "
            /// Docs are not counted.
            #[inline]
            fn free(
            ) {
                fn nested() {}
            }
            impl Store for Memory<u8> { fn load(&self) {
            } }
            trait Store { fn load(&self); fn ready(&self) {} }
            mod inner { async fn late() {} }
        ";
        let expected = [("free", 4), ("free::nested", 1), ("Memory::load", 2), ("Store::ready", 1), ("inner::late", 1)];
        assert_eq!(sizes(Kind::Function, text), expected.map(|(name, size)| named(name, size)));
    }

    #[test]
    fn parameters_are_counted_without_self() {
        let text = "impl A { fn b(&mut self, c: u8, (d, e): (u8, u8)) {} } trait F { fn g(h: u8); }";
        assert_eq!(sizes(Kind::Parameters, text), [named("A::b", 2), named("F::g", 1)]);
    }
}
