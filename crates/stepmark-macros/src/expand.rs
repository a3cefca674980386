//! What does `#[derive(State)]` write?
//!
//! The update (`expand/update.rs`), the field enum, and the two traits.

mod update;

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{Expr, Ident, ext::IdentExt, spanned::Spanned};

use crate::parse::{Field, Keep, Migration, StateInput};

/// All items of one state.
pub(crate) fn state(state: &StateInput) -> TokenStream {
    let channels: Vec<Channel> = state.fields.iter().enumerate().map(Channel::new).collect();
    let fits = channels.iter().map(|channel| &channel.fits);
    let names = Names {
        fits: &quote!(where #(#fits)*),
        state: &state.name,
        update: &format_ident!("{}Update", state.name.unraw(), span = state.name.span()),
        field: &format_ident!("{}Field", state.name.unraw(), span = state.name.span()),
    };
    let items = [
        update::update_struct(state, &names, &channels),
        field_enum(state, &names, &channels),
        state_impl(state, &names, &channels),
        update::update_impl(&names, &channels),
        update::update_debug(&names, &channels),
        update::node_outputs(&names),
    ];
    items.into_iter().collect()
}

struct Names<'a> {
    state: &'a Ident,
    update: &'a Ident,
    field: &'a Ident,
    /// The conditions of all fields.
    fits: &'a TokenStream,
}

/// A field with the tokens that are made of it.
struct Channel<'a> {
    index: usize,
    name: &'a Ident,
    /// The stored name: without `r#`.
    text: String,
    variant: Ident,
    value_type: String,
    /// `<R as Reducer<T>>`
    reducer: TokenStream,
    /// What must hold of the field's type and reducer. Every item repeats it as its own condition, so that rustc
    /// reports a failure at the field alone and takes it as given inside the items.
    fits: TokenStream,
    keep: TokenStream,
    is_private: bool,
    ty: &'a syn::Type,
    renamed_from: &'a [String],
    default: Option<&'a Expr>,
}

impl<'a> Channel<'a> {
    fn new((index, field): (usize, &'a Field)) -> Self {
        let ty = &field.value_type;
        let (reducer, span) = match &field.reducer {
            Some(reducer) => (quote!(#reducer), reducer.span()),
            None => (quote_spanned!(ty.span()=> ::stepmark::__private::Replace), ty.span()),
        };
        let fits = quote_spanned!(span=> #reducer: ::stepmark::__private::Reducer<#ty>,);
        // `Replace` takes every value, so it is the value that does not do.
        let fits = field.reducer.as_ref().map(|_| fits);
        let fits = quote_spanned! {ty.span()=>
            #ty: ::core::clone::Clone
                + ::stepmark::__private::Serialize
                + ::stepmark::__private::DeserializeOwned
                + ::core::marker::Send
                + ::core::marker::Sync
                + 'static,
            #fits
        };
        let reducer = quote_spanned!(span=> <#reducer as ::stepmark::__private::Reducer<#ty>>);
        let keep = match field.keep {
            Keep::Stored => quote!(Stored),
            Keep::Ephemeral => quote!(Ephemeral),
            Keep::Untracked => quote!(Untracked),
        };
        let text = field.name.unraw().to_string();
        let variant = Ident::new(&variant_name(&text), field.name.span());
        let (name, renamed_from, default) = (&field.name, &field.renamed_from[..], field.default.as_ref());
        Self {
            index,
            name,
            variant,
            text,
            value_type: normalised(ty),
            reducer,
            fits,
            keep,
            renamed_from,
            default,
            is_private: field.is_private,
            ty: &field.value_type,
        }
    }
}

fn field_enum(state: &StateInput, names: &Names<'_>, channels: &[Channel<'_>]) -> TokenStream {
    let Names { field, .. } = names;
    let visibility = &state.visibility;
    let doc = format!("A field of [`{}`].", state.name);
    let variants = channels.iter().map(|Channel { text, variant, .. }| {
        let doc = format!("`{text}`");
        quote!(#[doc = #doc] #variant,)
    });
    let all = channels.iter().map(|Channel { variant, .. }| variant);
    let names_of = channels.iter().map(|Channel { variant, text, .. }| quote!(Self::#variant => #text,));
    let indices = channels.iter().map(|Channel { variant, index, .. }| quote!(Self::#variant => #index,));
    quote! {
        #[doc = #doc]
        #[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug, ::core::cmp::PartialEq,
            ::core::cmp::Eq, ::core::hash::Hash)]
        #[allow(dead_code)]
        #visibility enum #field { #(#variants)* }

        #[automatically_derived]
        #[allow(private_bounds, trivial_bounds)]
        #[allow(dead_code, unreachable_pub)]
        impl #field {
            /// Every field, in declaration order.
            pub const ALL: &'static [Self] = &[#(Self::#all),*];

            /// The field's name.
            pub const fn name(self) -> &'static str {
                match self { #(#names_of)* }
            }

            /// The field's channel number.
            pub const fn index(self) -> usize {
                match self { #(#indices)* }
            }
        }
    }
}

fn state_impl(state: &StateInput, names: &Names<'_>, channels: &[Channel<'_>]) -> TokenStream {
    let Names { state: name, update, fits, .. } = names;
    let text = name.unraw().to_string();
    let version = state.version;
    let specs = channels.iter().map(channel_spec);
    let applies = channels.iter().map(|Channel { index, name, reducer, .. }| {
        quote! {
            if let ::core::option::Option::Some(write) = ::stepmark::__private::Slot::take(update.#name) {
                let change = #reducer::apply(&mut self.#name, write);
                changes.record(#index, ::stepmark::__private::fit(change, #reducer::SHAPE));
            }
        }
    });
    let (encode_methods, channel_methods) = (encode_methods(channels), channel_methods(channels));
    let evolution_methods = evolution_methods(state, channels);
    quote! {
        #[automatically_derived]
        #[allow(private_bounds, trivial_bounds)]
        impl ::stepmark::__private::State for #name #fits {
            type Update = #update;
            const NAME: &'static str = #text;
            const VERSION: u32 = #version;

            fn channels() -> &'static [::stepmark::__private::ChannelSpec] {
                const { &[#(#specs),*] }
            }

            #evolution_methods

            #[allow(unused_variables)]
            fn apply(&mut self, update: #update, changes: &mut ::stepmark::__private::Changes) {
                #(#applies)*
            }

            #encode_methods
            #channel_methods
        }
    }
}

/// The methods of `State` that know older programs.
fn evolution_methods(state: &StateInput, channels: &[Channel<'_>]) -> TokenStream {
    let begun = local("begun");
    let defaults = channels.iter().filter_map(|Channel { name, default, .. }| {
        let default = (*default)?;
        Some(quote_spanned!(default.span()=> #begun.#name = #default;))
    });
    let schemas = schema_method(state, channels);
    let (migrations, write_migrations) = (chain(&state.migrations), chain(&state.write_migrations));
    quote! {
        #[allow(unused_mut)]
        fn initial() -> Self {
            let mut #begun = ::stepmark::__private::default_state::<Self>();
            #(#defaults)*
            #begun
        }

        fn migrations() -> &'static [::stepmark::__private::Migration] {
            #migrations
        }

        fn write_migrations() -> &'static [::stepmark::__private::Migration] {
            #write_migrations
        }

        #schemas
    }
}

/// The JSON schemas of the fields, if the state asks for them.
fn schema_method(state: &StateInput, channels: &[Channel<'_>]) -> Option<TokenStream> {
    let schemas = channels.iter().map(
        |Channel { index, ty, .. }| quote_spanned!(ty.span()=> #index => ::stepmark::__private::json_schema::<#ty>(),),
    );
    state.has_schema.then(|| {
        quote! {
            fn channel_schema(channel: usize) -> ::core::option::Option<::std::string::String> {
                match channel {
                    #(#schemas)*
                    _ => ::core::option::Option::None,
                }
            }
        }
    })
}

fn chain(migrations: &[Migration]) -> TokenStream {
    let stored = local("stored");
    let steps = migrations.iter().map(|Migration { from, function, .. }| {
        let run = quote_spanned!(function.span()=> ::stepmark::__private::migrate(#function, #stored));
        quote!(::stepmark::__private::Migration { from: #from, run: |#stored| #run })
    });
    quote!(const { &[#(#steps),*] })
}

/// A local variable that the user's expressions do not see.
fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

fn channel_spec(channel: &Channel<'_>) -> TokenStream {
    let Channel { text, value_type, reducer, keep, is_private, renamed_from, .. } = channel;
    quote! {
        ::stepmark::__private::ChannelSpec {
            name: #text,
            renamed_from: &[#(#renamed_from),*],
            reducer: #reducer::NAME,
            value_type: #value_type,
            shape: #reducer::SHAPE,
            keep: ::stepmark::__private::Keep::#keep,
            is_private: #is_private,
            names_flushed: #reducer::NAMES_FLUSHED,
        }
    }
}

/// The methods of `State` that write a channel as bytes.
fn encode_methods(channels: &[Channel<'_>]) -> TokenStream {
    let full = arms(channels, |name, reducer| quote!(#reducer::encode_full(&self.#name, out)));
    let items = arms(channels, |name, reducer| quote!(#reducer::encode_items(&self.#name, range, out)));
    let entries = arms(channels, |name, reducer| quote!(#reducer::encode_entries(&self.#name, keys, out)));
    quote! {
        fn encode_full(&self, channel: usize, out: &mut ::stepmark::__private::Body)
            -> ::core::result::Result<(), ::stepmark::__private::EncodeError>
        {
            let encoded = match channel { #full _ => ::stepmark::__private::no_channel_to_encode(channel) };
            encoded.map_err(|error| ::stepmark::__private::encode_error_in::<Self>(error, channel))
        }

        fn encode_items(
            &self,
            channel: usize,
            range: ::core::ops::Range<usize>,
            out: &mut ::stepmark::__private::Body,
        ) -> ::core::result::Result<(), ::stepmark::__private::EncodeError> {
            let encoded = match channel { #items _ => ::stepmark::__private::no_channel_to_encode(channel) };
            encoded.map_err(|error| ::stepmark::__private::encode_error_in::<Self>(error, channel))
        }

        fn encode_entries(
            &self,
            channel: usize,
            keys: &::std::collections::BTreeSet<::std::vec::Vec<u8>>,
            out: &mut ::stepmark::__private::Entries,
        ) -> ::core::result::Result<(), ::stepmark::__private::EncodeError> {
            let encoded = match channel { #entries _ => ::stepmark::__private::no_channel_to_encode(channel) };
            encoded.map_err(|error| ::stepmark::__private::encode_error_in::<Self>(error, channel))
        }
    }
}

/// The other methods of `State` that take a channel number.
fn channel_methods(channels: &[Channel<'_>]) -> TokenStream {
    let lens = arms(channels, |name, reducer| quote!(#reducer::list_len(&self.#name)));
    let decodes = arms(channels, |name, reducer| quote!(#reducer::decode(value).map(|value| self.#name = value)));
    let differences = arms(channels, |name, reducer| {
        quote! {
            #reducer::difference(&self.#name, &after.#name)
                .map(|write| ::stepmark::__private::Slot::put(&mut update.#name, write))
        }
    });
    // Swapping leaves the default whole, so that a state with a destructor works too.
    let resets = arms(channels, |name, _| quote!(::core::mem::swap(&mut self.#name, &mut fresh.#name)));
    quote! {
        fn list_len(&self, channel: usize) -> usize {
            match channel { #lens _ => 0 }
        }

        #[allow(unused_variables)]
        fn difference(&self, after: &Self, channel: usize, update: &mut Self::Update)
            -> ::core::result::Result<(), ::stepmark::__private::EncodeError>
        {
            let found = match channel { #differences _ => ::stepmark::__private::no_channel_to_encode(channel) };
            found.map_err(|error| ::stepmark::__private::encode_error_in::<Self>(error, channel))
        }

        fn decode(&mut self, channel: usize, value: &[u8])
            -> ::core::result::Result<(), ::stepmark::__private::DecodeError>
        {
            let decoded = match channel { #decodes _ => ::stepmark::__private::no_channel_to_decode(channel) };
            decoded.map_err(|error| ::stepmark::__private::decode_error_in::<Self>(error, channel))
        }

        #[allow(unused_mut, unused_variables)]
        fn reset(&mut self, channel: usize) {
            let mut fresh = ::stepmark::__private::initial_state::<Self>();
            match channel { #resets _ => {} }
        }
    }
}

/// One match arm per channel.
fn arms(channels: &[Channel<'_>], arm: impl Fn(&Ident, &TokenStream) -> TokenStream) -> TokenStream {
    channels
        .iter()
        .map(|Channel { index, name, reducer, .. }| {
            let body = arm(name, reducer);
            quote!(#index => #body,)
        })
        .collect()
}

/// `build_script` → `BuildScript`; always an identifier.
fn variant_name(field: &str) -> String {
    let mut name = String::new();
    for word in field.split('_') {
        let mut characters = word.chars();
        name.extend(characters.next().into_iter().flat_map(char::to_uppercase));
        name.push_str(characters.as_str());
    }
    if name == "Self" || !name.starts_with(char::is_alphabetic) {
        name.insert(0, '_');
    }
    name
}

/// A type as text that does not depend on how it was spaced: a space stands only between two words.
fn normalised(ty: &syn::Type) -> String {
    let mut text = String::new();
    push_normalised(ty.to_token_stream(), &mut text);
    text
}

fn push_normalised(tokens: TokenStream, text: &mut String) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                text.push_str(open);
                push_normalised(group.stream(), text);
                text.push_str(close);
            }
            TokenTree::Punct(punct) => text.push(punct.as_char()),
            word => {
                if text.ends_with(|last: char| last.is_alphanumeric() || last == '_') {
                    text.push(' ');
                }
                text.push_str(&word.to_string());
            }
        }
    }
}
