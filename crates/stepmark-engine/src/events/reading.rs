//! How are stored events read back?
//!
//! Along the lineage of one branch, oldest first, a window of rows at a time; values and questions of one checkpoint at a
//! time. What is read can be read again: nothing here writes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use stepmark_core::checkpoint::{CheckpointRow, Manifest};
use stepmark_core::id::BranchId;
use stepmark_core::load::manifest_of;
use stepmark_core::store::{Channels, HistoryQuery, Line, Load, Loaded, Place as StorePlace};

use super::asked::Asked;
use super::emit::{NOTHING, Origin, Told};
use super::stored::{self, Committed, Values, checkpoint_place, items_range};
use super::{Kind, Kinds, Place, Position};
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
    /// The ordinals of the questions of the cursor's checkpoint that were read: more may be asked there, in any order.
    questions: HashSet<u64>,
    rows: VecDeque<CheckpointRow>,
}

impl<'a, S: State> Reader<'a, S> {
    /// A reader of what comes after a position; of everything without one.
    pub(crate) async fn open(thread: &'a Thread<S>, kinds: Kinds, after: Option<Position>) -> Result<Self> {
        let tip = thread.load_with(Load { pending: true, ..thread.request_of(StorePlace::Head) }).await?;
        load::manifest(&tip)?;
        let (name, namespace) = (thread.name.as_str().into(), "".into());
        let mut reader = Self {
            thread,
            name,
            namespace,
            kinds,
            tip,
            cursor: NOTHING,
            questions: HashSet::new(),
            rows: VecDeque::new(),
        };
        if let Some(after) = after {
            reader.check(after).await?;
            reader.cursor = after.place();
            reader.questions.extend(stored::is_question(after.place()).then_some(after.ordinal));
        }
        Ok(reader)
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
        Ok(())
    }

    /// The events of the next checkpoint that has any; `None` at the tip.
    pub(crate) async fn next(&mut self) -> Result<Option<VecDeque<Told>>> {
        let Some(tip) = self.tip.branch.row.tip.clone() else { return Ok(None) };
        loop {
            if self.rows.len() < 2 && self.rows.front().is_none_or(|row| row.id != tip.id) {
                let from = self.next_height()?;
                if from > tip.height {
                    return Ok(None);
                }
                self.rows = self.window(from).await?;
            }
            let Some(row) = self.rows.pop_front() else { return Ok(None) };
            let is_tip = row.id == tip.id;
            let events = self.events(row).await?;
            if !events.is_empty() {
                return Ok(Some(events));
            }
            if is_tip {
                return Ok(None);
            }
        }
    }

    /// Rows from a height on. A row that is not the tip is read only with the one behind it.
    async fn window(&self, from: u64) -> Result<VecDeque<CheckpointRow>> {
        match &self.tip.checkpoint {
            Some(tip) if tip.height == from => Ok([tip.clone()].into()),
            _ => Ok(self.page(from, WINDOW).await?.into()),
        }
    }

    /// The height of the next checkpoint that may have events: the cursor's own, while more can be asked on it.
    fn next_height(&self) -> Result<u64> {
        let Some(row) = self.tip.checkpoint.as_ref() else { return Ok(u64::MAX) };
        if row.height == self.cursor.height && !self.kinds.has(Kind::Interrupts) {
            let own = checkpoint_place(row.height, manifest_of(row)?.tasks.len());
            return Ok(row.height + u64::from(self.cursor >= own));
        }
        Ok(self.cursor.height)
    }

    /// The events of a checkpoint that were not read yet.
    async fn events(&mut self, row: CheckpointRow) -> Result<VecDeque<Told>> {
        let manifest = manifest_of(&row)?;
        let is_tip = self.tip.checkpoint.as_ref().is_some_and(|tip| tip.id == row.id);
        let own = checkpoint_place(row.height, manifest.tasks.len());
        let is_new = own > self.cursor;
        // What is asked on a checkpoint belongs to the branch that goes on from it.
        let lane = self.rows.front().map_or(self.branch(), |next| next.branch);
        let wanted = Wanted { values: is_new && self.kinds.has(Kind::Updates), pending: !is_tip, lane };
        let loaded = self.load_values(&row, &manifest, wanted).await?;
        let chains = loaded.as_ref().map(Chains::of);
        let mut values = StoredValues { manifest: &manifest, chains, read: HashMap::new() };
        let origin = Arc::new(self.origin(row.branch, &manifest));
        let committed = Committed { origin: &origin, namespace: &self.namespace, row: &row, manifest: &manifest };
        let mut events = if is_new { committed.events(self.kinds, &mut values)? } else { Vec::new() };
        let cursor = self.cursor;
        events.retain(|told| told.place() > cursor);
        if self.kinds.has(Kind::Interrupts) {
            let asked_on = if is_tip { Some(&self.tip) } else { loaded.as_ref() };
            let questions = asked_on.map(|loaded| self.questions(&row, &manifest, loaded)).transpose()?;
            events.extend(questions.unwrap_or_default());
        }
        if own.height > self.cursor.height {
            self.questions.clear();
        }
        let questions = events.iter().map(Told::place).filter(|place| stored::is_question(*place));
        self.questions.extend(questions.map(|place| place.ordinal));
        self.cursor = events.iter().map(Told::place).fold(self.cursor.max(own), Place::max);
        Ok(events.into())
    }

    /// What must be read besides the row: the values that its updates show, and its questions.
    async fn load_values(&self, row: &CheckpointRow, manifest: &Manifest, wanted: Wanted) -> Result<Option<Loaded>> {
        let channels = if wanted.values { stored::shown_channels(manifest) } else { Vec::new() };
        let pending = self.kinds.has(Kind::Interrupts) && wanted.pending;
        if channels.is_empty() && !pending {
            return Ok(None);
        }
        let channels = if channels.is_empty() { Channels::None } else { Channels::Named(channels) };
        let place = StorePlace::Moment { branch: wanted.lane, checkpoint: row.id.clone() };
        let load = Load { channels, pending, ..self.thread.request_of(place) };
        Ok(Some(store_of(&self.thread.host)?.load(load).await?))
    }

    /// The questions of a checkpoint that were not read yet.
    fn questions(&self, row: &CheckpointRow, manifest: &Manifest, loaded: &Loaded) -> Result<Vec<Told>> {
        let branch = &loaded.branch;
        let label = branch.name.clone().unwrap_or_else(|| branch.row.id.to_string());
        let place = QuestionPlace { thread: &self.thread.name, branch: branch.row.id, label: &label };
        let asked = Asked { namespace: &self.namespace, height: row.height, manifest };
        let mut events = asked.events(&Journals::of_rows(&loaded.pending)?, &place, |_| true)?;
        let is_same = row.height == self.cursor.height;
        events.retain(|(place, _)| !(is_same && self.questions.contains(&place.ordinal)));
        Ok(asked.told(events, (&self.name, branch.row.id)))
    }

    fn origin(&self, branch: BranchId, manifest: &Manifest) -> Origin {
        Origin { thread: Arc::clone(&self.name), branch, run: Some(manifest.run.clone()) }
    }
}

/// What to read of a checkpoint besides its row.
struct Wanted {
    values: bool,
    pending: bool,
    lane: BranchId,
}

/// The values of a checkpoint that was loaded.
struct StoredValues<'a> {
    manifest: &'a Manifest,
    chains: Option<Chains<'a>>,
    /// What was read: several tasks of a step write to one list.
    read: HashMap<String, Value>,
}

impl StoredValues<'_> {
    fn value(&mut self, channel: &str) -> Result<Option<&Value>> {
        let entry = self.manifest.channels.iter().find(|entry| &*entry.name == channel);
        let (Some(entry), Some(chains)) = (entry, &self.chains) else { return Ok(None) };
        if !self.read.contains_key(channel) {
            let unreadable =
                |error| Error::unreadable(stepmark_core::error::Subject::Value, entry.value.address, error);
            let value = encode::from_bytes(&chains.value(entry.value)?).map_err(unreadable)?;
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
