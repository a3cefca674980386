//! What did the user write on a state?
//!
//! Everything that can be wrong about it is found here and reported at the user's own tokens, all mistakes at once.

use quote::ToTokens;
use syn::{
    Attribute, Data, DeriveInput, Error, Fields, Ident, LitInt, Meta, Path, Result, Token, Type, Visibility,
    ext::IdentExt, meta::ParseNestedMeta, punctuated::Punctuated, spanned::Spanned,
};

/// A state as its user wrote it.
pub(crate) struct StateInput {
    pub(crate) name: Ident,
    pub(crate) visibility: Visibility,
    pub(crate) version: u32,
    pub(crate) fields: Vec<Field>,
}

/// A field of a state.
pub(crate) struct Field {
    pub(crate) name: Ident,
    pub(crate) value_type: Type,
    /// `None` is `Replace`.
    pub(crate) reducer: Option<Type>,
    pub(crate) keep: Keep,
}

/// How long a field's value lives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Stored,
    Ephemeral,
    Untracked,
}

/// Reads a state, or says all that is wrong with it.
pub(crate) fn state(input: &DeriveInput) -> Result<StateInput> {
    let mut errors = Errors::default();
    if !input.generics.params.is_empty() {
        errors.add(Error::new_spanned(&input.generics, "a state cannot be generic: what is stored has one type"));
    }
    let version = errors.unwrap_or(state_version(&input.attrs), 1);
    let fields = errors.unwrap_or(named_fields(input), Vec::new());
    let fields = fields.iter().filter_map(|field| errors.ok(field_of(field))).collect();
    errors.finish()?;
    Ok(StateInput { name: input.ident.clone(), visibility: input.vis.clone(), version, fields })
}

fn named_fields(input: &DeriveInput) -> Result<Vec<syn::Field>> {
    let kind = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => return Ok(fields.named.iter().cloned().collect()),
            Fields::Unnamed(_) => "a tuple struct",
            Fields::Unit => "a unit struct",
        },
        Data::Enum(_) => "an enum",
        Data::Union(_) => "a union",
    };
    let message = format!("a state is a struct with named fields, not {kind}: values are stored by field name");
    Err(Error::new_spanned(&input.ident, message))
}

fn state_version(attributes: &[Attribute]) -> Result<u32> {
    let mut version = None;
    for attribute in attributes {
        if attribute.path().is_ident("reduce") {
            return Err(Error::new_spanned(attribute, "`#[reduce(...)]` belongs on a field of the state"));
        }
        each_option(attribute, |option| {
            if !option.path.is_ident("version") {
                return Err(unknown(&option.path, "on a state there is `version = N`"));
            }
            let number: LitInt = option.value()?.parse()?;
            if version.replace(number.base10_parse()?).is_some() {
                return Err(Error::new_spanned(&option.path, "`version` is given twice"));
            }
            if version == Some(0) {
                return Err(Error::new_spanned(number, "versions count from 1"));
            }
            Ok(())
        })?;
    }
    Ok(version.unwrap_or(1))
}

fn field_of(field: &syn::Field) -> Result<Field> {
    let name = field.ident.clone().ok_or_else(|| Error::new(field.span(), "a field of a state needs a name"))?;
    let mut errors = Errors::default();
    let reducer = errors.unwrap_or(field_reducer(&field.attrs), None);
    let keep = errors.unwrap_or(field_keep(&field.attrs), Keep::Stored);
    errors.finish()?;
    Ok(Field { name, value_type: field.ty.clone(), reducer, keep })
}

fn field_reducer(attributes: &[Attribute]) -> Result<Option<Type>> {
    let mut reducer = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("reduce")) {
        let Meta::List(list) = &attribute.meta else {
            return Err(Error::new_spanned(attribute, "name a reducer: `#[reduce(Append)]`"));
        };
        let named = list.parse_args_with(Punctuated::<Type, Token![,]>::parse_terminated)?;
        let mut named = named.into_iter();
        let Some(first) = named.next() else {
            return Err(Error::new_spanned(attribute, "name a reducer: `#[reduce(Append)]`"));
        };
        if let Some(second) = named.next() {
            return Err(Error::new_spanned(second, "a field has one reducer"));
        }
        if reducer.replace(first).is_some() {
            return Err(Error::new_spanned(attribute, "a field has one reducer"));
        }
    }
    Ok(reducer)
}

fn field_keep(attributes: &[Attribute]) -> Result<Keep> {
    let mut keep = Keep::Stored;
    for attribute in attributes {
        each_option(attribute, |option| {
            let named = if option.path.is_ident("ephemeral") {
                Keep::Ephemeral
            } else if option.path.is_ident("untracked") {
                Keep::Untracked
            } else {
                return Err(unknown(&option.path, "on a field there are `ephemeral` and `untracked`"));
            };
            if std::mem::replace(&mut keep, named) != Keep::Stored {
                return Err(Error::new_spanned(&option.path, "a field is `ephemeral` or `untracked`, once"));
            }
            Ok(())
        })?;
    }
    Ok(keep)
}

/// Calls `read` for each option in `#[state(...)]`; other attributes are not ours.
fn each_option(attribute: &Attribute, mut read: impl FnMut(&ParseNestedMeta) -> Result<()>) -> Result<()> {
    if attribute.path().is_ident("state") {
        attribute.parse_nested_meta(|option| read(&option))?;
    }
    Ok(())
}

fn unknown(path: &Path, known: &str) -> Error {
    let name = path.get_ident().map_or_else(|| path.to_token_stream().to_string(), |ident| ident.unraw().to_string());
    Error::new_spanned(path, format!("unknown option `{name}`: {known}"))
}

/// Mistakes found so far, so that all of them are reported together.
#[derive(Default)]
struct Errors(Option<Error>);

impl Errors {
    fn add(&mut self, error: Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    fn ok<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    fn unwrap_or<T>(&mut self, result: Result<T>, default: T) -> T {
        self.ok(result).unwrap_or(default)
    }

    fn finish(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}
