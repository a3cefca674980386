//! What did the user write on a state?
//!
//! Everything that can be wrong about it is found here and reported at the user's own tokens, all mistakes at once.

use quote::ToTokens;
use syn::{
    Attribute, Data, DeriveInput, Error, Expr, Fields, Ident, LitInt, Meta, Path, Result, Token, Type, Visibility,
    ext::IdentExt, meta::ParseNestedMeta, punctuated::Punctuated, spanned::Spanned,
};

mod evolution;

pub(crate) use evolution::Migration;

/// A state as its user wrote it.
pub(crate) struct StateInput {
    pub(crate) name: Ident,
    pub(crate) visibility: Visibility,
    pub(crate) version: u32,
    pub(crate) migrations: Vec<Migration>,
    pub(crate) write_migrations: Vec<Migration>,
    /// Whether the JSON schemas of its fields are stored.
    pub(crate) has_schema: bool,
    pub(crate) fields: Vec<Field>,
}

/// A field of a state.
pub(crate) struct Field {
    pub(crate) name: Ident,
    pub(crate) value_type: Type,
    /// `None` is `Replace`.
    pub(crate) reducer: Option<Type>,
    pub(crate) keep: Keep,
    /// Whether run input may not write it.
    pub(crate) is_private: bool,
    /// Names under which older programs stored it.
    pub(crate) renamed_from: Vec<String>,
    /// How it begins; `None` is as in the struct's `Default`.
    pub(crate) default: Option<Expr>,
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
    let options = errors.unwrap_or(state_options(&input.attrs), StateOptions::default());
    let fields = errors.unwrap_or(named_fields(input), Vec::new());
    let fields: Vec<Field> = fields.iter().filter_map(|field| errors.ok(field_of(field))).collect();
    evolution::check_names(&fields, &mut errors);
    errors.finish()?;
    let StateOptions { version, migrations, write_migrations, has_schema } = options;
    let (name, visibility, version) = (input.ident.clone(), input.vis.clone(), version.unwrap_or(1));
    Ok(StateInput { name, visibility, version, migrations, write_migrations, has_schema, fields })
}

/// The options of `#[state(...)]` on a struct.
#[derive(Default)]
struct StateOptions {
    version: Option<u32>,
    migrations: Vec<Migration>,
    write_migrations: Vec<Migration>,
    has_schema: bool,
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

fn state_options(attributes: &[Attribute]) -> Result<StateOptions> {
    let mut options = StateOptions::default();
    for attribute in attributes {
        if attribute.path().is_ident("reduce") {
            return Err(Error::new_spanned(attribute, "`#[reduce(...)]` belongs on a field of the state"));
        }
        each_option(attribute, |option| {
            if option.path.is_ident("version") {
                return read_version(option, &mut options.version);
            }
            if option.path.is_ident("schema") {
                options.has_schema = true;
                return Ok(());
            }
            let migrations = if option.path.is_ident("migrate") {
                &mut options.migrations
            } else if option.path.is_ident("migrate_writes") {
                &mut options.write_migrations
            } else {
                return Err(unknown(
                    &option.path,
                    "on a state there are `version`, `migrate`, `migrate_writes` and `schema`",
                ));
            };
            migrations.extend(evolution::read_migrations(option)?);
            Ok(())
        })?;
    }
    let version = options.version.unwrap_or(1);
    evolution::order_chain("migrate", &mut options.migrations, version)?;
    evolution::order_chain("migrate_writes", &mut options.write_migrations, version)?;
    Ok(options)
}

fn read_version(option: &ParseNestedMeta<'_>, version: &mut Option<u32>) -> Result<()> {
    let number: LitInt = option.value()?.parse()?;
    if version.replace(number.base10_parse()?).is_some() {
        return Err(Error::new_spanned(&option.path, "`version` is given twice"));
    }
    if *version == Some(0) {
        return Err(Error::new_spanned(number, "versions count from 1"));
    }
    Ok(())
}

fn field_of(field: &syn::Field) -> Result<Field> {
    let name = field.ident.clone().ok_or_else(|| Error::new(field.span(), "a field of a state needs a name"))?;
    let mut errors = Errors::default();
    let reducer = errors.unwrap_or(field_reducer(&field.attrs), None);
    let options = errors.unwrap_or(field_options(&field.attrs), FieldOptions::default());
    errors.finish()?;
    let FieldOptions { keep, is_private, renamed_from, default } = options;
    let keep = keep.unwrap_or(Keep::Stored);
    Ok(Field { name, value_type: field.ty.clone(), reducer, keep, is_private, renamed_from, default })
}

/// The options of `#[state(...)]` on a field.
#[derive(Default)]
struct FieldOptions {
    keep: Option<Keep>,
    is_private: bool,
    renamed_from: Vec<String>,
    default: Option<Expr>,
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

fn field_options(attributes: &[Attribute]) -> Result<FieldOptions> {
    let mut options = FieldOptions::default();
    for attribute in attributes {
        each_option(attribute, |option| {
            let keep = if option.path.is_ident("rename_from") {
                return evolution::read_old_name(option, &mut options.renamed_from);
            } else if option.path.is_ident("default") {
                return evolution::read_default(option, &mut options.default);
            } else if option.path.is_ident("private") {
                options.is_private = true;
                return Ok(());
            } else if option.path.is_ident("ephemeral") {
                Keep::Ephemeral
            } else if option.path.is_ident("untracked") {
                Keep::Untracked
            } else {
                let known = "on a field there are `default`, `ephemeral`, `private`, `rename_from` and `untracked`";
                return Err(unknown(&option.path, known));
            };
            if options.keep.replace(keep).is_some() {
                return Err(Error::new_spanned(&option.path, "a field is `ephemeral` or `untracked`, once"));
            }
            Ok(())
        })?;
    }
    Ok(options)
}

/// Calls `read` for each option in `#[state(...)]`; other attributes are not ours.
fn each_option(attribute: &Attribute, mut read: impl FnMut(&ParseNestedMeta<'_>) -> Result<()>) -> Result<()> {
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
