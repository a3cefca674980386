//! What does `#[node]` check?
//!
//! The function stays as it is; beside it stand checks that rustc evaluates, one per argument and one for the result,
//! each at the tokens it is about, and one that the future can be sent to another thread.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::{Error, FnArg, GenericArgument, ItemFn, PathArguments, Result, ReturnType, Type, parse2, spanned::Spanned};

/// As many arguments as a node can have, besides the payload.
const ARGUMENTS_MAX: usize = 8;

/// The function and its checks, or the function and what is wrong with it.
pub(crate) fn node(arguments: TokenStream, item: &TokenStream) -> TokenStream {
    let checks = checks(arguments, item.clone()).unwrap_or_else(Error::into_compile_error);
    quote!(#item #checks)
}

fn checks(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let function: ItemFn = parse2(item)?;
    check_form(&function)?;
    let types = argument_types(&function)?;
    let output = match &function.sig.output {
        ReturnType::Default => parse2(quote!(()))?,
        ReturnType::Type(_, output) => Type::clone(output),
    };
    let state = if arguments.is_empty() { state_of(&types, &output, &function)? } else { parse2(arguments)? };
    let (payload, extractors) = match types.split_last() {
        Some((last, extractors)) if generic_of(last, "In").is_some() => (generic_of(last, "In"), extractors),
        _ => (None, types.as_slice()),
    };
    if let Some(extra) = extractors.get(ARGUMENTS_MAX) {
        let message = format!("a node has at most {ARGUMENTS_MAX} arguments, and a payload after them");
        return Err(Error::new_spanned(extra, message));
    }
    let extractors = extractors.iter().map(|ty| check_extractor(ty, &state)).collect::<Result<Vec<_>>>()?;
    let payload = payload.map(|ty| quote_spanned!(ty.span()=> ::stepmark::__private::check_payload::<#ty>();));
    let output = quote_spanned!(output.span()=> ::stepmark::__private::check_output::<#state, #output>(););
    let send = check_send(&function, &types);
    Ok(quote! {
        const _: () = {
            #[allow(dead_code, unused)]
            fn check_signature() {
                #(#extractors)*
                #payload
                #output
            }
            #send
        };
    })
}

/// What no type check can see.
fn check_form(function: &ItemFn) -> Result<()> {
    let signature = &function.sig;
    if signature.asyncness.is_none() {
        return Err(Error::new_spanned(signature.fn_token, "a node is an `async fn`"));
    }
    if !signature.generics.params.is_empty() {
        return Err(Error::new_spanned(&signature.generics, "a node that `#[node]` checks cannot be generic"));
    }
    Ok(())
}

fn argument_types(function: &ItemFn) -> Result<Vec<Type>> {
    let argument = |argument: &FnArg| match argument {
        FnArg::Typed(argument) => Ok(Type::clone(&argument.ty)),
        FnArg::Receiver(receiver) => Err(Error::new_spanned(receiver, "a node is a function, not a method")),
    };
    function.sig.inputs.iter().map(argument).collect()
}

/// The state whose graph this is a node of, read from the signature.
fn state_of(types: &[Type], output: &Type, function: &ItemFn) -> Result<Type> {
    let from_argument = types.iter().find_map(|ty| generic_of(ty, "Snap").or_else(|| generic_of(ty, "Cx")));
    from_argument.or_else(|| state_in_output(output)).cloned().ok_or_else(|| {
        let message = "cannot see which state this is a node for: write `#[node(MyState)]`";
        Error::new_spanned(&function.sig.ident, message)
    })
}

/// The `S` of an `Update<S>` anywhere in the result.
fn state_in_output(output: &Type) -> Option<&Type> {
    generic_of(output, "Update").or_else(|| match output {
        Type::Tuple(tuple) => tuple.elems.iter().find_map(state_in_output),
        Type::Paren(inner) => state_in_output(&inner.elem),
        Type::Group(inner) => state_in_output(&inner.elem),
        other => generics(other, None).find_map(state_in_output),
    })
}

/// The `T` of a `name<T>`, by the last segment of its path.
fn generic_of<'a>(ty: &'a Type, name: &str) -> Option<&'a Type> {
    generics(ty, Some(name)).next()
}

fn generics<'a>(ty: &'a Type, name: Option<&str>) -> impl Iterator<Item = &'a Type> {
    let segment = match ty {
        Type::Path(path) => path.path.segments.last(),
        _ => None,
    };
    let segment = segment.filter(|segment| name.is_none_or(|name| segment.ident == name));
    let arguments = segment.and_then(|segment| match &segment.arguments {
        PathArguments::AngleBracketed(arguments) => Some(arguments.args.iter()),
        _ => None,
    });
    arguments.into_iter().flatten().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

fn check_extractor(ty: &Type, state: &Type) -> Result<TokenStream> {
    if generic_of(ty, "In").is_some() {
        return Err(Error::new_spanned(ty, "`In` is the last argument of a node, and there is one"));
    }
    Ok(quote_spanned!(ty.span()=> ::stepmark::__private::check_argument::<#state, #ty>();))
}

/// A function that sends the node's future: rustc explains at length what inside it cannot be sent.
fn check_send(function: &ItemFn, types: &[Type]) -> TokenStream {
    let name = &function.sig.ident;
    let arguments: Vec<_> = (0..types.len()).map(|index| format_ident!("argument_{index}")).collect();
    let call = quote_spanned!(name.span()=> #name(#(#arguments),*));
    let check = quote_spanned!(name.span()=> ::stepmark::__private::check_send(#call));
    quote! {
        #[allow(dead_code, unused)]
        fn check_future(#(#arguments: #types),*) {
            #check
        }
    }
}
