//! How are stored events read back?
//!
//! Along the lineage of one branch, oldest first, a window of rows at a time; values and questions of one checkpoint at a
//! time. What is read can be read again: nothing here writes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::mem::{replace, take};
use std::sync::Arc;

use stepmark_core::checkpoint::{CheckpointRow, Manifest};
use stepmark_core::child::ChildPlace;
use stepmark_core::error::Subject;
use stepmark_core::id::BranchId;
use stepmark_core::load::manifest_of;
use stepmark_core::pending::PendingKind;
use stepmark_core::store::{Channels, HistoryQuery, Line, Load, Loaded, Place as StorePlace};

use super::asked::Asked;
use super::emit::{At, NOTHING, Origin, Told};
use super::stored::{self, Committed, Values, checkpoint_place, items_range};
use super::{Kind, Kinds, NestedPlace, Place, Position};
use crate::decide::store_of;
use crate::dynamic::Value;
use crate::encode;
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::QuestionPlace;
use crate::journal::Journals;
use crate::load::{self, Chains};
use crate::state::State;
use crate::thread::Thread;

/// How many rows are held at a time.
const WINDOW: u64 = 64;

/// Reads the stored events of a branch.
pub(crate) struct Reader<'a, S> {
    thread: &'a Thread<S>,
    name: Arc<str>,
    namespace: Arc<str>,
    kinds: Kinds,
    pub(crate) tip: Loaded,
    /// The last place that was read.
    pub(crate) cursor: Place,
    /// What was read of what lies over the cursor's checkpoint: more may come there, in any order.
    over: HashSet<Over>,
    /// How far a sub-graph's line was read there.
    nested: Option<NestedPlace>,
    rows: VecDeque<CheckpointRow>,
    /// The checkpoints of sub-graphs over the one that was read last, and its questions behind them.
    children: VecDeque<ChildPlace>,
    questions: VecDeque<Told>,
    /// The branch that goes on from it, and its place.
    under: (BranchId, Place),
    /// Whether the branch was looked at since what lies over its tip was read.
    is_fresh: bool,
}

/// What lies over a checkpoint until the next one.
#[derive(PartialEq, Eq, Hash)]
enum Over {
    /// The question with this ordinal.
    Question(u64),
    /// The checkpoint of a sub-graph.
    Child(BranchId, u64),
}

impl<'a, S: State> Reader<'a, S> {
    /// A reader of what comes after a position; of everything without one.
    pub(crate) async fn open(thread: &'a Thread<S>, kinds: Kinds, after: Option<Position>) -> Result<Self> {
        let tip = thread.load_with(Load { pending: true, ..thread.request_of(StorePlace::Head) }).await?;
        load::manifest(&tip)?;
        let (name, namespace) = (thread.name.as_str().into(), "".into());
        let under = (tip.branch.row.id, NOTHING);
        let mut reader = Self {
            thread,
            name,
            namespace,
            kinds,
            tip,
            cursor: NOTHING,
            over: HashSet::new(),
            nested: None,
            rows: VecDeque::new(),
            children: VecDeque::new(),
            questions: VecDeque::new(),
            under,
            is_fresh: true,
        };
        if let Some(after) = after {
            reader.check(after).await?;
            (reader.cursor, reader.nested) = (after.place(), after.nested);
            reader.over.extend(stored::is_question(after.place()).then_some(Over::Question(after.ordinal)));
        }
        reader.skip_unwanted()?;
        Ok(reader)
    }

    /// Whoever wants no stored events is at the tip.
    fn skip_unwanted(&mut self) -> Result<()> {
        if let Some(row) = self.tip.checkpoint.as_ref().filter(|_| !self.kinds.has_any(&Kind::STORED)) {
            self.cursor = self.cursor.max(checkpoint_place(row.height, manifest_of(row)?.tasks.len()));
            self.is_fresh = false;
        }
        Ok(())
    }

    pub(crate) fn branch(&self) -> BranchId {
        self.tip.branch.row.id
    }

    /// Refuses a position of another line.
    async fn check(&self, after: Position) -> Result<()> {
        let own = &self.tip.branch.row;
        let stranger = || {
            let (thread, branch) = (&self.thread.name, own.id);
            let message = format!("position {after} is not on the line of branch {branch} of thread {thread:?}");
            Error::new(ErrorKind::Missing, message)
        };
        let height = own.tip.as_ref().map(|tip| tip.height);
        if after.branch == own.id {
            // The last place of a run that has stored nothing yet is 0.
            return if after.height <= height.unwrap_or(0) { Ok(()) } else { Err(stranger()) };
        }
        let rows = self.page(after.height, 1).await?;
        match rows.first() {
            Some(row) if row.branch == after.branch && row.height == after.height => Ok(()),
            _ => Err(stranger()),
        }
    }

    /// Rows of the lineage from a height on, oldest first.
    async fn page(&self, from: u64, rows: u64) -> Result<Vec<CheckpointRow>> {
        let line = Line::Lineage { branch: self.branch(), below: Some(from + rows) };
        let (thread, limit) = (self.tip.thread.uid, rows as u32);
        let query = HistoryQuery { thread, namespace: self.namespace.to_string(), line, limit };
        let page = store_of(&self.thread.host)?.history(query).await?;
        let rows = page.entries.into_iter().map(|entry| entry.checkpoint).filter(|row| row.height >= from);
        let mut rows: Vec<CheckpointRow> = rows.collect();
        rows.reverse();
        Ok(rows)
    }

    /// Looks at the branch again.
    pub(crate) async fn refresh(&mut self) -> Result<()> {
        let place = StorePlace::Branch(self.branch());
        let load = Load { pending: true, ..self.thread.request_of(place) };
        self.tip = store_of(&self.thread.host)?.load(load).await?;
        self.is_fresh = true;
        self.skip_unwanted()
    }

    /// The events of the next checkpoint that has any; `None` at the tip.
    pub(crate) async fn next(&mut self) -> Result<Option<VecDeque<Told>>> {
        loop {
            let events = match self.children.pop_front() {
                Some(child) => self.nested_events(child).await?,
                None if !self.questions.is_empty() => take(&mut self.questions),
                None => match self.next_row().await? {
                    Some(row) => self.events(row).await?,
                    None => return Ok(None),
                },
            };
            if !events.is_empty() {
                return Ok(Some(events));
            }
        }
    }

    /// The next row; once what lies over the tip was read too, `None`.
    async fn next_row(&mut self) -> Result<Option<CheckpointRow>> {
        let Some(tip) = self.tip.branch.row.tip.clone() else { return Ok(None) };
        if self.rows.len() < 2 && self.rows.front().is_none_or(|row| row.id != tip.id) {
            if self.is_at_tip()? {
                return Ok(None);
            }
            self.rows = match &self.tip.checkpoint {
                Some(row) if row.height == self.cursor.height => [row.clone()].into(),
                // A row that is not the tip is read only with the one behind it.
                _ => self.page(self.cursor.height, WINDOW).await?.into(),
            };
        }
        Ok(self.rows.pop_front())
    }

    /// Whether everything was read that was there when the branch was looked at.
    fn is_at_tip(&mut self) -> Result<bool> {
        let Some(row) = &self.tip.checkpoint else { return Ok(true) };
        if row.height != self.cursor.height {
            return Ok(row.height < self.cursor.height);
        }
        let own = checkpoint_place(row.height, manifest_of(row)?.tasks.len());
        Ok(self.cursor >= own && !replace(&mut self.is_fresh, false))
    }

    /// The events of a checkpoint that were not read yet. What lies over it is put aside.
    async fn events(&mut self, row: CheckpointRow) -> Result<VecDeque<Told>> {
        let manifest = manifest_of(&row)?;
        let own = checkpoint_place(row.height, manifest.tasks.len());
        let is_new = own > self.cursor;
        // What lies over a checkpoint belongs to the branch that goes on from it.
        let lane = self.rows.front().map_or(self.branch(), |next| next.branch);
        let loaded = self.load_over(&row, &manifest, (is_new, lane)).await?;
        let mut events = VecDeque::new();
        if is_new {
            let (origin, chains) = (Arc::new(self.origin(row.branch, &manifest)), Chains::of(&loaded));
            let (namespace, row, manifest) = (&self.namespace, &row, &manifest);
            let committed = Committed { origin: &origin, namespace, row, manifest, under: None };
            events.extend(committed.events(self.kinds, &mut StoredValues::new(manifest, chains))?);
            events.retain(|told: &Told| told.place() > self.cursor);
        }
        if own.height > self.cursor.height {
            self.over.clear();
            self.nested = None;
        }
        self.under = (lane, own);
        self.children = self.unread_children(&loaded)?;
        self.questions = self.unread_questions(&row, &manifest, &loaded)?;
        self.cursor = self.questions.iter().map(Told::place).fold(self.cursor.max(own), Place::max);
        Ok(events)
    }

    /// What must be read besides the row: the values that its updates show, and what lies over it.
    async fn load_over(
        &self,
        row: &CheckpointRow,
        manifest: &Manifest,
        (is_new, lane): (bool, BranchId),
    ) -> Result<Loaded> {
        let wants_values = is_new && self.kinds.has(Kind::Updates);
        let channels = if wants_values { stored::shown_channels(manifest) } else { Vec::new() };
        if channels.is_empty() && self.tip.checkpoint.as_ref().is_some_and(|tip| tip.id == row.id) {
            return Ok(self.tip.clone());
        }
        let channels = if channels.is_empty() { Channels::None } else { Channels::Named(channels) };
        let place = StorePlace::Moment { branch: lane, checkpoint: row.id.clone() };
        let load = Load { channels, pending: true, ..self.thread.request_of(place) };
        Ok(store_of(&self.thread.host)?.load(load).await?)
    }

    /// The questions over a checkpoint that were not read yet.
    fn unread_questions(
        &mut self,
        row: &CheckpointRow,
        manifest: &Manifest,
        loaded: &Loaded,
    ) -> Result<VecDeque<Told>> {
        if !self.kinds.has(Kind::Interrupts) {
            return Ok(VecDeque::new());
        }
        let branch = &loaded.branch;
        let label = branch.name.clone().unwrap_or_else(|| branch.row.id.to_string());
        let place = QuestionPlace { thread: &self.thread.name, branch: branch.row.id, label: &label };
        let asked = Asked { namespace: &self.namespace, height: row.height, manifest };
        let mut events = asked.events(&Journals::of_rows(&loaded.pending)?, &place, |_| true)?;
        events.retain(|(place, _)| self.over.insert(Over::Question(place.ordinal)));
        Ok(asked.told(events, (&self.name, branch.row.id)).into())
    }

    /// The checkpoints of sub-graphs over a checkpoint that were not read yet, line by line.
    fn unread_children(&mut self, loaded: &Loaded) -> Result<VecDeque<ChildPlace>> {
        if !self.kinds.has_any(&[Kind::Checkpoints, Kind::Tasks, Kind::Updates]) {
            return Ok(VecDeque::new());
        }
        let mut children = Vec::new();
        for row in loaded.pending.iter().filter(|row| row.kind == PendingKind::Child) {
            let unreadable = |error| Error::unreadable(Subject::Pending, &row.base, error);
            let child = ChildPlace::decode(&row.body).map_err(unreadable)?;
            let was_read =
                self.nested.is_some_and(|read| read.branch == child.branch && child.height < read.place.height);
            if !was_read && self.over.insert(Over::Child(child.branch, child.height)) {
                children.push(child);
            }
        }
        children.sort_by(|one, other| {
            (&one.namespace, one.height, one.branch).cmp(&(&other.namespace, other.height, other.branch))
        });
        Ok(children.into())
    }

    /// The events of a sub-graph's checkpoint that were not read yet.
    async fn nested_events(&self, child: ChildPlace) -> Result<VecDeque<Told>> {
        let namespace: Arc<str> = child.namespace.as_str().into();
        let (channels, place) = (Channels::None, StorePlace::Checkpoint(child.id));
        let load = Load { namespace: child.namespace, channels, ..self.thread.request_of(place) };
        let mut loaded = store_of(&self.thread.host)?.load(load.clone()).await?;
        let Some(mut row) = loaded.checkpoint.take() else { return Ok(VecDeque::new()) };
        let manifest = manifest_of(&row)?;
        let channels = if self.kinds.has(Kind::Updates) { stored::shown_channels(&manifest) } else { Vec::new() };
        if !channels.is_empty() {
            loaded = store_of(&self.thread.host)?.load(Load { channels: Channels::Named(channels), ..load }).await?;
            row = loaded.checkpoint.take().unwrap_or(row);
        }
        let (origin, chains) = (Arc::new(self.origin(row.branch, &manifest)), Chains::of(&loaded));
        let (namespace, row, manifest) = (&namespace, &row, &manifest);
        let committed = Committed { origin: &origin, namespace, row, manifest, under: Some(self.under) };
        let mut events = committed.events(self.kinds, &mut StoredValues::new(manifest, chains))?;
        events.retain(|told| !self.was_read(told));
        Ok(events.into())
    }

    /// Whether an event of a sub-graph comes before the one after which the reader began.
    fn was_read(&self, told: &Told) -> bool {
        let (At::Nested(_, _, nested), Some(read)) = (told.at, self.nested) else { return false };
        nested.branch == read.branch && nested.place <= read.place
    }

    fn origin(&self, branch: BranchId, manifest: &Manifest) -> Origin {
        Origin { thread: Arc::clone(&self.name), branch, run: Some(manifest.run.clone()) }
    }
}

/// The values of a checkpoint that was loaded.
struct StoredValues<'a> {
    manifest: &'a Manifest,
    chains: Chains<'a>,
    /// What was read: several tasks of a step write to one list.
    read: HashMap<String, Value>,
}

impl<'a> StoredValues<'a> {
    fn new(manifest: &'a Manifest, chains: Chains<'a>) -> Self {
        Self { manifest, chains, read: HashMap::new() }
    }

    fn value(&mut self, channel: &str) -> Result<Option<&Value>> {
        let entry = self.manifest.channels.iter().find(|entry| &*entry.name == channel);
        let Some(entry) = entry else { return Ok(None) };
        if !self.read.contains_key(channel) {
            let unreadable = |error| Error::unreadable(Subject::Value, entry.value.address, error);
            let value = encode::from_bytes(&self.chains.value(entry.value)?).map_err(unreadable)?;
            self.read.insert(channel.to_owned(), value);
        }
        Ok(self.read.get(channel))
    }
}

impl Values for StoredValues<'_> {
    fn whole(&mut self, channel: &str) -> Result<Option<Value>> {
        Ok(self.value(channel)?.cloned())
    }

    fn items(&mut self, channel: &str, first: u64, count: u64) -> Result<Option<Vec<Value>>> {
        Ok(match self.value(channel)? {
            Some(Value::List(list)) => Some(list[items_range(list.len(), first, count)].to_vec()),
            Some(_) | None => None,
        })
    }
}
