//! What did the user say about older forms of a state?
//!
//! Old names, how a new field begins, and the way from an older version to this one.

use syn::{
    Error, Expr, LitInt, LitStr, Result, Token,
    ext::IdentExt,
    meta::ParseNestedMeta,
    parenthesized,
    parse::{Parse, ParseStream},
    punctuated::Punctuated,
};

use super::{Errors, Field, Keep};

/// `1 => v1_to_v2`.
pub(crate) struct Migration {
    pub(crate) from: u32,
    pub(crate) function: Expr,
    number: LitInt,
}

impl Parse for Migration {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let number: LitInt = input.parse()?;
        input.parse::<Token![=>]>()?;
        Ok(Self { from: number.base10_parse()?, function: input.parse()?, number })
    }
}

/// The list in `migrate(...)`.
pub(super) fn read_migrations(option: &ParseNestedMeta<'_>) -> Result<Vec<Migration>> {
    let list;
    parenthesized!(list in option.input);
    let migrations = Punctuated::<Migration, Token![,]>::parse_terminated(&list)?;
    if migrations.is_empty() {
        return Err(Error::new_spanned(&option.path, "name an older version and a function: `1 => v1_to_v2`"));
    }
    Ok(migrations.into_iter().collect())
}

/// Sorts a chain of migrations, or says why it does not lead to `version`.
pub(super) fn order_chain(option: &str, migrations: &mut [Migration], version: u32) -> Result<()> {
    migrations.sort_by_key(|migration| migration.from);
    for (index, migration) in migrations.iter().enumerate() {
        let from = migration.from;
        let next = migrations.get(index + 1).map_or(version, |next| next.from);
        let message = if from == 0 {
            "versions count from 1".to_owned()
        } else if from >= version {
            format!("version {from} is not older than the state's version {version}")
        } else if next == from {
            format!("`{option}` names version {from} twice")
        } else if next > from + 1 {
            let missing = from + 1;
            format!("this leads to version {missing}; add `{missing} => ...` to get on to version {version}")
        } else {
            continue;
        };
        return Err(Error::new_spanned(&migration.number, message));
    }
    Ok(())
}

/// `rename_from = "old"`.
pub(super) fn read_old_name(option: &ParseNestedMeta<'_>, names: &mut Vec<String>) -> Result<()> {
    let name: LitStr = option.value()?.parse()?;
    if name.value().is_empty() {
        return Err(Error::new_spanned(name, "a stored name is never empty"));
    }
    names.push(name.value());
    Ok(())
}

/// `default = expression`.
pub(super) fn read_default(option: &ParseNestedMeta<'_>, default: &mut Option<Expr>) -> Result<()> {
    if default.replace(option.value()?.parse()?).is_some() {
        return Err(Error::new_spanned(&option.path, "`default` is given twice"));
    }
    Ok(())
}

/// Every stored name has one reader.
pub(super) fn check_names(fields: &[Field], errors: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for field in fields {
        if field.keep == Keep::Untracked && !field.renamed_from.is_empty() {
            errors.add(Error::new_spanned(&field.name, "an `untracked` field is never stored, so it has no old name"));
        }
        for old in &field.renamed_from {
            let message = if fields.iter().any(|other| other.name.unraw() == old) {
                format!(
                    "`rename_from = {old:?}`: the state has a field of that name, which reads what is stored under it"
                )
            } else if seen.contains(&&**old) {
                format!("`rename_from = {old:?}` is given twice: what is stored under a name has one reader")
            } else {
                seen.push(old);
                continue;
            };
            errors.add(Error::new_spanned(&field.name, message));
        }
    }
}
