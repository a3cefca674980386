//! How does today's program read what an older one stored?
//!
//! Versions first: the migrations from the stored version to ours run on the stored names. Names then: a channel is read by
//! the field of its name, else by the field that was renamed from it. Nothing here writes; the next commit makes the
//! manifest one of our version, true for every channel in it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use stepmark_core::checkpoint::{ChannelEntry, Manifest};
use stepmark_core::error::Subject;
use stepmark_core::value::ValueRef;

use crate::attempt::panic_text;
use crate::compile::Program;
use crate::encode::DecodeError;
use crate::error::{Error, ErrorKind, Result};
use crate::load::Chains;
use crate::raw::RawState;
use crate::schema::{AnyState, Schema};
use crate::state::{Keep, Migration};

/// A stored state as this program has it.
pub(crate) struct Stored {
    pub(crate) state: AnyState,
    /// Under today's names, the values that stay where they are stored.
    pub(crate) channels: Vec<ChannelEntry>,
    /// By channel: a migration made its value, which is stored nowhere yet.
    pub(crate) stale: Vec<bool>,
}

/// Reads the state of a manifest.
///
/// # Errors
/// `Incompatible` if its version cannot be brought to ours; `Store` if a value cannot be read.
pub(crate) fn state(program: &Program, manifest: &Manifest, chains: &Chains<'_>) -> Result<Stored> {
    let schema = &*program.schema;
    let migrations = chain(schema, manifest.state_version, schema.migrations(), "migrate").map_err(incompatible)?;
    let stale = vec![false; schema.channels().len()];
    let stored = Stored { state: schema.initial(), channels: Vec::with_capacity(manifest.channels.len()), stale };
    if migrations.is_empty() {
        stored.of_ours(program, manifest, chains)
    } else {
        stored.of_older(program, manifest, chains, migrations)
    }
}

/// Who reads a stored name.
enum Reader {
    Channel(usize),
    /// A field whose own name, or an earlier one of its old names, is stored too.
    Shadowed,
    Nobody,
}

fn reader(program: &Program, name: &str, is_stored: impl Fn(&str) -> bool) -> Reader {
    let Some(channel) = program.channel(name) else { return Reader::Nobody };
    let spec = &program.schema.channels()[channel];
    let mut names = std::iter::once(&spec.name).chain(spec.renamed_from);
    match names.find(|known| **known == name || is_stored(known)) {
        Some(first) if *first == name => Reader::Channel(channel),
        _ => Reader::Shadowed,
    }
}

impl Stored {
    fn of_ours(mut self, program: &Program, manifest: &Manifest, chains: &Chains<'_>) -> Result<Self> {
        for entry in &manifest.channels {
            match reader(program, &entry.name, |name| manifest.channel(name).is_some()) {
                Reader::Channel(channel) if is_kept(program, channel) => {
                    let unreadable = |error| {
                        let reason =
                            format!("{error}; was the thread written by another graph, or the field's type changed?");
                        Error::unreadable(Subject::Channel, &entry.name, reason)
                    };
                    self.decode(program, channel, &chains.value(entry.value)?).map_err(unreadable)?;
                    self.keep(today(program, channel), entry);
                }
                Reader::Channel(_) | Reader::Nobody => self.keep(&entry.name, entry),
                Reader::Shadowed => {}
            }
        }
        Ok(self)
    }

    fn of_older(
        mut self,
        program: &Program,
        manifest: &Manifest,
        chains: &Chains<'_>,
        migrations: &[Migration],
    ) -> Result<Self> {
        let value = |entry: &ChannelEntry| Ok((Arc::clone(&entry.name), chains.value(entry.value)?.into_owned()));
        let values = manifest.channels.iter().map(value);
        let mut raw = RawState::of_stored(values.collect::<Result<_>>()?);
        run(&*program.schema, migrations, &mut raw).map_err(incompatible)?;
        let done = migrated(&*program.schema, migrations);
        for (name, bytes, place) in raw.channels() {
            let entry = place.map(|place| &manifest.channels[place]);
            match (reader(program, name, |name| raw.contains(name)), entry) {
                (Reader::Channel(channel), _) if is_kept(program, channel) => {
                    let misfit = |error| incompatible(format!("{done}: {error}"));
                    self.decode(program, channel, bytes).map_err(misfit)?;
                    match entry {
                        Some(entry) => self.keep(today(program, channel), entry),
                        None => self.stale[channel] = program.schema.channels()[channel].keep == Keep::Stored,
                    }
                }
                (Reader::Shadowed, Some(_)) => {}
                (_, Some(entry)) => self.keep(name, entry),
                (_, None) => {
                    let advice = "no field stores it: let a migration remove it";
                    return Err(incompatible(format!("{done} set channel {name:?}, but {advice}")));
                }
            }
        }
        Ok(self)
    }

    fn decode(&mut self, program: &Program, channel: usize, value: &[u8]) -> Result<(), DecodeError> {
        program.schema.decode(&mut self.state, channel, value)
    }

    fn keep(&mut self, name: &str, entry: &ChannelEntry) {
        let name = if *entry.name == *name { Arc::clone(&entry.name) } else { name.into() };
        self.channels.push(ChannelEntry { name, ..entry.clone() });
    }
}

fn is_kept(program: &Program, channel: usize) -> bool {
    program.schema.channels()[channel].keep != Keep::Untracked
}

fn today(program: &Program, channel: usize) -> &'static str {
    program.schema.channels()[channel].name
}

/// A task's stored write to a channel.
pub(crate) struct StoredWrite {
    pub(crate) name: Arc<str>,
    pub(crate) bytes: Vec<u8>,
    /// The value row in which it lies.
    pub(crate) place: Option<ValueRef>,
}

/// A task's write as this program takes it.
pub(crate) struct TakenWrite {
    pub(crate) channel: usize,
    pub(crate) bytes: Vec<u8>,
    /// The value row in which exactly these bytes lie.
    pub(crate) place: Option<ValueRef>,
}

/// The stored writes of a task, or why this program cannot take them.
pub(crate) fn writes(program: &Program, version: u32, stored: Vec<StoredWrite>) -> Result<Vec<TakenWrite>, String> {
    let schema = &*program.schema;
    // A task that wrote nothing is the same in every version before ours.
    if stored.is_empty() && version < schema.version() {
        return Ok(Vec::new());
    }
    let migrations = chain(schema, version, schema.write_migrations(), "migrate_writes")?;
    let places: Vec<_> = stored.iter().map(|write| write.place).collect();
    let mut raw = RawState::of_stored(stored.into_iter().map(|write| (write.name, write.bytes)).collect());
    run(schema, migrations, &mut raw)?;
    let taken = raw.channels().map(|(name, bytes, place)| match reader(program, name, |name| raw.contains(name)) {
        Reader::Channel(channel) => {
            Ok(TakenWrite { channel, bytes: bytes.to_vec(), place: place.and_then(|place| places[place]) })
        }
        Reader::Shadowed | Reader::Nobody => Err(format!("it writes channel {name:?}, which no field reads")),
    });
    taken.collect()
}

/// The migrations from a stored version to ours; none if it is ours.
fn chain(
    schema: &dyn Schema,
    stored: u32,
    migrations: &'static [Migration],
    option: &str,
) -> Result<&'static [Migration], String> {
    let (name, ours) = (schema.name(), schema.version());
    if stored == ours {
        return Ok(&[]);
    }
    let found = format!("state {name:?} was stored by version {stored}, this program has version {ours}");
    if stored > ours {
        return Err(format!("{found}: run a newer program"));
    }
    match migrations.iter().position(|migration| migration.from == stored) {
        Some(first) => Ok(&migrations[first..]),
        None => Err(format!("{found} and no `{option}({stored} => ..)`")),
    }
}

fn run(schema: &dyn Schema, migrations: &[Migration], raw: &mut RawState) -> Result<(), String> {
    for step in migrations {
        let reason = match catch_unwind(AssertUnwindSafe(|| (step.run)(raw))) {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => error.to_string(),
            Err(panic) => format!("it panicked: {}", panic_text(panic)),
        };
        return Err(format!("{} failed: {reason}", migrated(schema, std::slice::from_ref(step))));
    }
    Ok(())
}

fn migrated(schema: &dyn Schema, migrations: &[Migration]) -> String {
    let from = migrations.first().map_or(0, |first| first.from);
    let to = migrations.last().map_or(0, |last| last.from + 1);
    format!("the migration of state {:?} from version {from} to {to}", schema.name())
}

fn incompatible(message: String) -> Error {
    Error::new(ErrorKind::Incompatible, message)
}
