//! How does a past moment begin another thread?
//!
//! Its values are copied whole, as stored: nothing is decoded, and what this program does not know comes along. The new
//! thread names where it came from and shares nothing with it.

use stepmark_core::checkpoint::{ChannelEntry, CheckpointRow, Manifest, NextTask, Origin, Payload, Source};
use stepmark_core::effect::EffectEntry;
use stepmark_core::error::Subject;
use stepmark_core::id::{RecordHash, RunId, check_name};
use stepmark_core::ledger::{self, NumberedBranch};
use stepmark_core::rows::{BranchRow, EffectsMode, ForkPoint, RunRow, RunStatus, ThreadRow, Tip};
use stepmark_core::store::{Channels, Commit, Expect, Load, Loaded, Place, RunWrite};
use stepmark_core::value::{Structure, ValueAddress, ValueHead, ValueNode, ValueRef, encode_packed};

use crate::commit::Placement;
use crate::decide::commit_decided;
use crate::error::{Error, Result};
use crate::flush::ended_run;
use crate::load::{self, Chains};
use crate::request::MAIN_BRANCH;
use crate::resume::begun_run;
use crate::run::Host;
use crate::state::State;
use crate::thread::{At, BranchPlace, Thread};

impl<S: State> At<'_, S> {
    /// Begins another thread with the state of that moment, and returns a handle to it. Its first checkpoint has the same
    /// values, planned and deferred tasks, waiting joins and activation numbers, and names its origin; `resume` runs the planned tasks.
    /// Executes nothing and changes nothing of this thread; results that unfinished tasks have stored stay here. What is
    /// known of effects comes along, as far as a branch that is forked there would know it. What sub-graphs have stored stays
    /// here too: on the new thread a persistent one begins with a fresh state.
    ///
    /// # Errors
    /// `Exists` if there is a thread of this name; `Missing` as for [`At::state`].
    pub async fn fork_to(&self, thread: &str) -> Result<Thread<S>> {
        check_name(Subject::Thread, thread)?;
        let host = &self.thread.host;
        let place = self.thread.request_of(Place::Head);
        let loaded = self.load_as(Load { channels: Channels::All, effects: true, branches: true, ..place }).await?;
        let mut target = self.thread.same_place().on(BranchPlace::Head);
        thread.clone_into(&mut target.name);
        let born = Birth::new(host, &loaded, &target);
        let (mut commit, blobs) = born.commit(host, &loaded)?;
        commit_decided(host, target.scope(), &mut commit, &blobs).await?;
        Ok(target)
    }
}

/// What the new thread knows of effects: as much as a branch that is forked there.
fn carried(loaded: &Loaded, moment: ForkPoint) -> Result<Vec<EffectEntry>> {
    let numbered = loaded.branch_numbers.iter().zip(&loaded.branches);
    let numbered = numbered.map(|(number, branch)| NumberedBranch { number: *number, row: branch.row.clone() });
    let branches: Vec<NumberedBranch> = numbered.collect();
    Ok(ledger::carried(loaded.thread.uid, loaded.effects.clone(), &branches, moment)?)
}

/// A thread in the making.
struct Birth<'a> {
    thread: ThreadRow,
    branch: BranchRow,
    chains: Chains<'a>,
    placement: Placement,
    next_ordinal: u32,
}

impl<'a> Birth<'a> {
    fn new<S: State>(host: &Host, loaded: &'a Loaded, target: &Thread<S>) -> Self {
        let created_at = host.clock.now();
        let (id, claim) = (host.ids.branch(), host.ids.claim());
        let tip = Tip { height: 0, id: host.ids.checkpoint(created_at) };
        let branch =
            BranchRow { id, fork: None, tip: Some(tip), epoch: 1, claim, effects: EffectsMode::Ledger, root: None };
        let (scope, name) = (target.scope().to_owned(), target.name.clone());
        let thread = ThreadRow { uid: host.ids.thread(), scope, name, head: id, created_at };
        let (chains, placement) = (Chains::of(loaded), Placement::default());
        Self { thread, branch, chains, placement, next_ordinal: 0 }
    }

    /// The unit that makes the thread, and the blobs that must be put before it.
    fn commit(mut self, host: &Host, loaded: &Loaded) -> Result<(Commit, Vec<Vec<u8>>)> {
        let nothing = || Error::invalid("a thread without checkpoints cannot be forked");
        let (manifest, from) = load::manifest(loaded)?.zip(loaded.checkpoint.as_ref()).ok_or_else(nothing)?;
        let (uid, now) = (self.thread.uid, self.thread.created_at);
        let origin = Origin { thread: loaded.thread.uid, checkpoint: from.id.clone() };
        let run = self.ended_run(host, manifest.next.is_empty());
        let root = self.root(manifest, origin, run.id.clone())?;
        let Self { thread, branch, placement, .. } = self;
        let Some(Tip { height, id }) = branch.tip.clone() else { return Err(nothing()) };
        let row = CheckpointRow {
            branch: branch.id,
            height,
            id,
            source: Source::Fork,
            created_at: now,
            manifest: root.encode(now),
            manifest_hash: RecordHash([0; 16]),
            packed: encode_packed(&placement.packed),
            packed_hash: RecordHash([0; 16]),
        };
        let commit = Commit {
            effects: carried(loaded, ForkPoint { branch: from.branch, height: from.height })?,
            new_thread: Some(thread),
            name: Some(MAIN_BRANCH.into()),
            checkpoint: Some(row.sealed(uid, "")),
            values: placement.rows,
            blobs: placement.blobs,
            runs: vec![RunWrite::Begin(run)],
            ..Commit::new(uid, Expect::New, branch)
        };
        Ok((commit, placement.blob_bytes))
    }

    /// The run that a resume goes on with; a state with nothing next has run.
    fn ended_run(&self, host: &Host, is_done: bool) -> RunRow {
        let now = self.thread.created_at;
        let mut row = begun_run(host, self.branch.id, host.ids.run(now), ([0; 16], now));
        let status = if is_done { RunStatus::Done } else { RunStatus::Drained };
        ended_run(Some(&mut row), status, now, self.branch.tip.clone()).unwrap_or(row)
    }

    fn root(&mut self, from: Manifest, origin: Origin, run: RunId) -> Result<Manifest> {
        let mut root = Manifest { origin: Some(origin), ..Manifest::new(run, from.state_version) };
        for ChannelEntry { name, value, version } in from.channels {
            root.channels.push(ChannelEntry { name, value: self.copied(value)?, version });
        }
        for (tasks, copies) in [(from.next, &mut root.next), (from.deferred, &mut root.deferred)] {
            for NextTask { node, trigger, payload } in tasks {
                let payload = match payload {
                    Payload::Value(value) => Payload::Value(self.copied(value)?),
                    Payload::None | Payload::Inline(_) => payload,
                };
                copies.push(NextTask { node, trigger, payload });
            }
        }
        (root.nodes, root.joins, root.seen) = (from.nodes, from.joins, from.seen);
        Ok(root)
    }

    /// A value as one node of the new thread.
    fn copied(&mut self, value: ValueRef) -> Result<ValueRef> {
        let newest = self.chains.newest(value)?;
        let (state_version, list) = (newest.head.state_version, newest.head.list);
        let head = ValueHead { closed: true, list, ..ValueHead::new(Structure::Full, state_version) };
        let body = self.chains.value(value)?.into_owned();
        let address = ValueAddress { branch: self.branch.id, height: 0, ordinal: self.next_ordinal };
        self.next_ordinal += 1;
        Ok(self.placement.place(address, ValueNode { head, body }))
    }
}
