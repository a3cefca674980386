//! What does `#[derive(State)]` write of a state's update?

use proc_macro2::TokenStream;
use quote::quote;

use super::{Channel, Names, arms};
use crate::parse::StateInput;

pub(super) fn update_struct(state: &StateInput, names: &Names<'_>, channels: &[Channel<'_>]) -> TokenStream {
    let Names { update, fits, .. } = names;
    let visibility = &state.visibility;
    let doc = format!("Writes to a [`{}`].", state.name);
    let fields = channels.iter().map(|Channel { name, text, reducer, .. }| {
        let doc = format!("Writes to `{text}`.");
        quote!(#[doc = #doc] pub #name: #reducer::Slot,)
    });
    let clones = channels.iter().map(|Channel { name, .. }| quote!(#name: ::core::clone::Clone::clone(&self.#name),));
    let defaults = channels.iter().map(|Channel { name, .. }| quote!(#name: ::core::default::Default::default(),));
    quote! {
        #[doc = #doc]
        #[allow(private_bounds, private_interfaces, trivial_bounds, unreachable_pub)]
        #visibility struct #update #fits { #(#fields)* }

        #[automatically_derived]
        #[allow(private_bounds, trivial_bounds)]
        impl ::core::clone::Clone for #update #fits {
            fn clone(&self) -> Self {
                Self { #(#clones)* }
            }
        }

        #[automatically_derived]
        #[allow(private_bounds, trivial_bounds)]
        impl ::core::default::Default for #update #fits {
            fn default() -> Self {
                Self { #(#defaults)* }
            }
        }
    }
}

pub(super) fn update_impl(names: &Names<'_>, channels: &[Channel<'_>]) -> TokenStream {
    let Names { state, update, fits, .. } = names;
    let visits = channels.iter().map(|Channel { index, name, reducer, .. }| {
        quote! {
            if let ::core::option::Option::Some(write) = ::stepmark::__private::Slot::pending(&self.#name) {
                visit(#index, #reducer::is_exclusive(write));
            }
        }
    });
    let encodes = arms(channels, |name, reducer| {
        quote! {
            match ::stepmark::__private::Slot::pending(&self.#name) {
                ::core::option::Option::Some(write) => #reducer::encode_write(write),
                ::core::option::Option::None => ::stepmark::__private::no_write(),
            }
        }
    });
    let decodes = arms(channels, |name, reducer| {
        quote!(#reducer::decode_write(write)
            .map(|write| ::stepmark::__private::Slot::put(&mut self.#name, write)))
    });
    quote! {
        #[automatically_derived]
        #[allow(private_bounds, trivial_bounds)]
        impl ::stepmark::__private::StateUpdate for #update #fits {
            #[allow(unused_variables)]
            fn writes(&self, visit: &mut dyn ::core::ops::FnMut(usize, bool)) {
                #(#visits)*
            }

            fn encode(&self, channel: usize)
                -> ::core::result::Result<::std::vec::Vec<u8>, ::stepmark::__private::EncodeError>
            {
                let encoded = match channel { #encodes _ => ::stepmark::__private::no_channel_to_encode(channel) };
                encoded.map_err(|error| ::stepmark::__private::encode_error_in::<#state>(error, channel))
            }

            fn decode(&mut self, channel: usize, write: &[u8])
                -> ::core::result::Result<(), ::stepmark::__private::DecodeError>
            {
                let decoded = match channel { #decodes _ => ::stepmark::__private::no_channel_to_decode(channel) };
                decoded.map_err(|error| ::stepmark::__private::decode_error_in::<#state>(error, channel))
            }
        }
    }
}

/// `Debug` shows the fields that are written; a value without `Debug` is shown as `..`.
pub(super) fn update_debug(names: &Names<'_>, channels: &[Channel<'_>]) -> TokenStream {
    let Names { update, fits, .. } = names;
    let text = update.to_string();
    let fields = channels.iter().map(|Channel { name, text, .. }| {
        quote! {
            if let ::core::option::Option::Some(write) = ::stepmark::__private::Slot::pending(&self.#name) {
                output.field(#text, (&&::stepmark::__private::Shown(write)).shown());
            }
        }
    });
    quote! {
        #[automatically_derived]
        #[allow(private_bounds, trivial_bounds)]
        impl ::core::fmt::Debug for #update #fits {
            #[allow(unused_mut)]
            fn fmt(&self, formatter: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                #[allow(unused_imports)]
                use ::stepmark::__private::{ShowDots as _, ShowValue as _};
                let mut output = formatter.debug_struct(#text);
                #(#fields)*
                output.finish()
            }
        }
    }
}

pub(super) fn node_outputs(names: &Names<'_>) -> TokenStream {
    let Names { state, update, fits, .. } = names;
    let output = quote! {
        ::core::result::Result<::stepmark::__private::NodeOutput<#state>, ::stepmark::__private::NodeError>
    };
    quote! {
        #[automatically_derived]
        #[allow(private_bounds, trivial_bounds)]
        impl ::stepmark::__private::IntoNodeOutput<#state> for #update #fits {
            fn into_output(self) -> #output {
                ::core::result::Result::Ok(::stepmark::__private::NodeOutput {
                    update: self,
                    goto: ::std::vec::Vec::new(),
                })
            }
        }

        #[automatically_derived]
        #[allow(private_bounds, trivial_bounds)]
        impl ::stepmark::__private::IntoNodeOutput<#state> for (#update, ::stepmark::__private::Goto) #fits {
            fn into_output(self) -> #output {
                ::core::result::Result::Ok(::stepmark::__private::NodeOutput { update: self.0, goto: self.1.0 })
            }
        }
    }
}
