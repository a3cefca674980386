//! `derive(Question)`: what did the user write, and what does it become?

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    Attribute, DeriveInput, Error, Result, Token, Type, ext::IdentExt, punctuated::Punctuated, spanned::Spanned,
};

/// What `#[question(..)]` says.
#[derive(Default)]
struct Options {
    name: Option<String>,
    answer: Option<Type>,
    has_schema: bool,
}

/// As many bytes as a stored name may have.
const NAME_BYTES_MAX: usize = 512;

const FORM: &str = "a question is declared as `#[question(\"name\", answer = Reply)]`; the name may be left out";

/// Makes the type a question.
pub(crate) fn question(input: &DeriveInput) -> Result<TokenStream> {
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(&input.generics, "a question cannot be generic: what is stored has one type"));
    }
    let options = options(&input.attrs)?;
    let Some(answer) = options.answer else {
        return Err(Error::new_spanned(&input.ident, format!("what answers it? {FORM}")));
    };
    let ident = &input.ident;
    let name = options.name.unwrap_or_else(|| ident.unraw().to_string());
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        let message = format!("the name of a question has 1 to {NAME_BYTES_MAX} bytes and no control characters");
        return Err(Error::new_spanned(ident, message));
    }
    let schema = options.has_schema.then(|| {
        quote! {
            fn answer_schema() -> ::core::option::Option<::std::string::String> {
                ::stepmark::__private::json_schema::<#answer>()
            }
        }
    });
    Ok(quote! {
        #[automatically_derived]
        impl ::stepmark::Question for #ident {
            type Answer = #answer;
            const NAME: &'static str = #name;
            #schema
        }
    })
}

fn options(attributes: &[Attribute]) -> Result<Options> {
    let mut options = Options::default();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("question")) {
        for part in attribute.parse_args_with(Punctuated::<Part, Token![,]>::parse_terminated)? {
            add(&mut options, part)?;
        }
    }
    Ok(options)
}

/// One part of the attribute's list.
enum Part {
    Name(syn::LitStr),
    Answer(Box<Type>),
    Schema,
}

impl syn::parse::Parse for Part {
    fn parse(input: syn::parse::ParseStream<'_>) -> Result<Self> {
        if input.peek(syn::LitStr) {
            return input.parse().map(Self::Name);
        }
        let word: syn::Ident = input.parse()?;
        if word == "answer" {
            input.parse::<Token![=]>()?;
            return input.parse().map(|answer| Self::Answer(Box::new(answer)));
        }
        if word == "schema" { Ok(Self::Schema) } else { Err(Error::new_spanned(word, FORM)) }
    }
}

fn add(options: &mut Options, part: Part) -> Result<()> {
    let twice = |span| Err(Error::new(span, "this is said twice"));
    match part {
        Part::Name(name) if options.name.is_some() => twice(name.span()),
        Part::Name(name) => {
            options.name = Some(name.value());
            Ok(())
        }
        Part::Answer(answer) if options.answer.is_some() => twice(answer.span()),
        Part::Answer(answer) => {
            options.answer = Some(*answer);
            Ok(())
        }
        Part::Schema => {
            options.has_schema = true;
            Ok(())
        }
    }
}
