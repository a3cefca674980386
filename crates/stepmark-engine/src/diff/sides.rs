//! What differs between two stored states?
//!
//! The rows of both are read first. A channel with the same value address on both sides is equal and is not read; the
//! values of the others are.

use std::collections::BTreeSet;
use std::sync::Arc;

use stepmark_core::checkpoint::{ChannelEntry, Manifest};
use stepmark_core::error::Subject;
use stepmark_core::store::{Channels, Loaded};

use super::list::Ids;
use super::{Diff, compare};
use crate::compile::Program;
use crate::decide::store_of;
use crate::encode::Body;
use crate::error::{Error, Result};
use crate::load::{self, Chains};
use crate::state::{Keep, State};
use crate::thread::At;

impl<S: State> At<'_, S> {
    /// What differs in `other`, which may lie on another branch, in another thread or in another store.
    ///
    /// Compares what is stored, without the state's type: a channel that was never written has its default, and values of
    /// another state version are compared as they are. Only channels whose values may differ are read.
    ///
    /// # Errors
    /// `Missing` names an unknown thread or checkpoint.
    pub async fn diff(&self, other: &At<'_, S>) -> Result<Diff> {
        let program = &self.thread.host.program;
        let (old, new) = (Side::read(self).await?, Side::read(other).await?);
        let same_values = old.loaded.thread.uid == new.loaded.thread.uid
            && Arc::ptr_eq(store_of(&self.thread.host)?, store_of(&other.thread.host)?);
        let mut pairs = pairs(program, &old, &new);
        pairs.retain(|pair| !(same_values && pair.is_same()));
        let old = self.values(pairs.iter().filter_map(|pair| pair.old)).await?;
        let new = other.values(pairs.iter().filter_map(|pair| pair.new)).await?;
        let (old, new) = (old.as_ref().map(Chains::of), new.as_ref().map(Chains::of));
        let mut diff = Diff::default();
        for pair in pairs {
            let change = pair.compare(program, old.as_ref(), new.as_ref())?;
            diff.push(pair.name, change);
        }
        Ok(diff)
    }

    /// Reads these channels; nothing if there are none.
    async fn values<'e>(&self, entries: impl Iterator<Item = &'e ChannelEntry>) -> Result<Option<Loaded>> {
        let names: Vec<String> = entries.map(|entry| entry.name.to_string()).collect();
        if names.is_empty() {
            return Ok(None);
        }
        self.load(Channels::Named(names), false).await.map(Some)
    }
}

/// A checkpoint without its values.
struct Side {
    loaded: Loaded,
    manifest: Manifest,
}

impl Side {
    async fn read<S: State>(at: &At<'_, S>) -> Result<Self> {
        let loaded = at.load(Channels::None, false).await?;
        let manifest = load::manifest(&loaded)?;
        let manifest = manifest.ok_or_else(|| Error::invalid("the thread has no checkpoint yet"))?;
        Ok(Self { loaded, manifest })
    }

    /// The stored value of a channel of the program, under whatever name the program knows it.
    fn entry(&self, program: &Program, channel: usize) -> Option<&ChannelEntry> {
        self.manifest.channels.iter().find(|entry| program.channel(&entry.name) == Some(channel))
    }
}

/// A channel on both sides.
struct Pair<'a> {
    name: &'a str,
    /// Its number in the program, if that knows it.
    channel: Option<usize>,
    old: Option<&'a ChannelEntry>,
    new: Option<&'a ChannelEntry>,
}

/// All channels: those of the program, then those that it does not know.
fn pairs<'a>(program: &'a Program, old: &'a Side, new: &'a Side) -> Vec<Pair<'a>> {
    let specs = program.schema.channels().iter().enumerate().filter(|(_, spec)| spec.keep != Keep::Untracked);
    let known = specs.map(|(channel, spec)| Pair {
        name: spec.name,
        channel: Some(channel),
        old: old.entry(program, channel),
        new: new.entry(program, channel),
    });
    let entries = old.manifest.channels.iter().chain(&new.manifest.channels);
    let unknown: BTreeSet<&str> =
        entries.map(|entry| &*entry.name).filter(|name| program.channel(name).is_none()).collect();
    let stored = |side: &'a Side, name: &str| side.manifest.channels.iter().find(|entry| &*entry.name == name);
    let unknown =
        unknown.into_iter().map(|name| Pair { name, channel: None, old: stored(old, name), new: stored(new, name) });
    known.chain(unknown).collect()
}

impl Pair<'_> {
    /// Whether both sides name the same value; they must be of one thread in one store.
    fn is_same(&self) -> bool {
        self.old.map(|entry| entry.value.address) == self.new.map(|entry| entry.value.address)
    }

    fn compare(
        &self,
        program: &Program,
        old: Option<&Chains<'_>>,
        new: Option<&Chains<'_>>,
    ) -> Result<Option<super::Change>> {
        let read = |entry: Option<&ChannelEntry>, chains: Option<&Chains<'_>>| match (entry, chains) {
            (Some(entry), Some(chains)) => Ok(Some(chains.value(entry.value)?.into_owned())),
            _ => self.default(program),
        };
        let (old, new) = (read(self.old, old)?, read(self.new, new)?);
        let ids = self.channel.map_or(Ids::InIdField, |at| Ids::of_reducer(program.schema.channels()[at].reducer));
        compare::channel(old.as_deref(), new.as_deref(), ids)
            .map_err(|error| Error::unreadable(Subject::Channel, self.name, error))
    }

    /// What a channel holds that was never written.
    fn default(&self, program: &Program) -> Result<Option<Vec<u8>>> {
        let Some(channel) = self.channel else { return Ok(None) };
        let mut body = Body::default();
        program.schema.encode_full(&program.schema.initial(), channel, &mut body).map_err(Error::invalid)?;
        Ok(Some(body.bytes))
    }
}
