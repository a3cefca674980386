//! Did the stored form of a state change without anybody saying so?
//!
//! A file beside the sources lists what every version of every state stores. A test of the user compares it with the
//! program: what old threads cannot be read with needs a new version, and everything else is written down.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::Path;

use crate::state::{ChannelSpec, Migration, State};

mod compare;
mod text;

use compare::{Verdict, compare};
use text::LockFile;

/// The environment variable under which the file is written.
const UPDATE_VARIABLE: &str = "STEPMARK_UPDATE_SCHEMA";

/// What a program says of a state.
pub(crate) struct Form<'a> {
    pub(crate) state: &'static str,
    pub(crate) version: u32,
    pub(crate) migrations: &'a [Migration],
    pub(crate) channels: &'a [ChannelSpec],
}

/// Compares a state with the file that lists what its versions store. Call it in a unit test, with a path from the root
/// of your package, and commit the file.
///
/// | change of a field | |
/// | --- | --- |
/// | added, removed, or renamed with `rename_from` | free; recorded under `STEPMARK_UPDATE_SCHEMA=1` |
/// | other type, reducer, or `ephemeral` or `untracked` set or taken away | needs a new version and a migration |
/// | one removed and one of the same form added | ambiguous: say `rename_from`, or record the one before the other |
///
/// Types are compared as they are spelled in the struct: a change inside a type that is named here is not seen. A version
/// that is recorded stays in the file, so its number cannot mean something else later, and a name that was removed cannot
/// come back with another form. One file may hold several states; they are told apart by the names of their structs.
///
/// # Errors
/// The state changed in a way that needs a new version, whether or not the variable is set; the file is behind and the
/// variable is not set; the file cannot be read or written. The text of the error is the difference and what to do; the
/// file is as before.
pub fn check_schema<S: State>(path: impl AsRef<Path>) -> Result<(), SchemaError> {
    let form = Form { state: S::NAME, version: S::VERSION, migrations: S::migrations(), channels: S::channels() };
    let is_update = std::env::var_os(UPDATE_VARIABLE).is_some_and(|value| value == "1");
    check(&form, path.as_ref(), is_update)
}

/// A state and the file that lists its versions do not agree. Shown as a difference, also by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct SchemaError {
    message: String,
}

impl SchemaError {
    fn new(path: &Path, message: impl fmt::Display) -> Self {
        Self { message: format!("{}: {message}", path.display()) }
    }
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The same text: it is what a test that returns the error prints.
impl fmt::Debug for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SchemaError {}

fn check(form: &Form<'_>, path: &Path, is_update: bool) -> Result<(), SchemaError> {
    let failed = |error: io::Error| SchemaError::new(path, error);
    let mut file = open(path, is_update).map_err(failed)?;
    let text = file.as_mut().map_or(Ok(String::new()), read).map_err(failed)?;
    let locked = LockFile::parse(&text).map_err(|error| SchemaError::new(path, error))?;
    match compare(form, locked) {
        Verdict::Same => Ok(()),
        Verdict::Broken(message) => Err(SchemaError::new(path, message)),
        Verdict::Behind { updated, .. } if is_update => {
            let written = file.as_mut().map_or(Ok(()), |file| write(file, &updated.to_string()));
            written.map_err(failed)
        }
        Verdict::Behind { message, .. } => {
            let advice = format!("run this test once with {UPDATE_VARIABLE}=1 and commit the file");
            Err(SchemaError::new(path, format_args!("{message}\n{advice}")))
        }
    }
}

/// The file, locked while it is open: other tests, also of other processes, may look at it or change it. `None` if there
/// is none and none is wanted.
fn open(path: &Path, is_update: bool) -> io::Result<Option<File>> {
    if is_update {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        file.lock()?;
        return Ok(Some(file));
    }
    match File::open(path) {
        Ok(file) => {
            file.lock_shared()?;
            Ok(Some(file))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read(file: &mut File) -> io::Result<String> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

fn write(file: &mut File, text: &str) -> io::Result<()> {
    file.rewind()?;
    file.set_len(0)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests;
