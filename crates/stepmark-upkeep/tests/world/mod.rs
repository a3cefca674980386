//! A thread that many writers work on, in ways that a seed decides, and what may be there after it was pruned.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use stepmark_conformance::make::{Draft, Line, appended, blob_node, full, value_of};
use stepmark_core::capability::{Row, RowClass, Rows, RowsQuery};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::child::ChildPlace;
use stepmark_core::clock::{Clock, Sleep, SystemClock};
use stepmark_core::error::ErrorKind;
use stepmark_core::id::{BranchId, CheckpointId};
use stepmark_core::pending::PendingKind;
use stepmark_core::store::{
    BlobCall, Chain, Channels, CheckpointStore, Commit, HistoryQuery, Line as Walk, Load, Loaded, Place,
};
use stepmark_core::value::{ValueAddress, decode_packed};

/// A minute passes with each look.
#[derive(Debug)]
pub(crate) struct Minutes(AtomicI64);

impl Minutes {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_700_000_000_000_000)))
    }
}

impl Clock for Minutes {
    fn now(&self) -> Timestamp {
        self.0.fetch_add(61_000_000, Ordering::Relaxed)
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        SystemClock.sleep(duration)
    }
}

/// Writers of one thread.
pub(crate) struct World {
    store: Arc<dyn CheckpointStore>,
    random: fastrand::Rng,
    pub(crate) lines: Vec<Line>,
    /// Every checkpoint as it was when it was made.
    made: HashMap<(String, CheckpointId), Vec<Chain>>,
    /// A fork that was prepared, and comes later.
    late: Option<(Line, Commit)>,
    count: u64,
}

impl World {
    pub(crate) async fn new(store: &Arc<dyn CheckpointStore>, seed: u64) -> Self {
        let mut line = Line::unborn(store, "", "t");
        line.apply(line.birth().named("main").build()).await;
        let (random, made) = (fastrand::Rng::with_seed(seed), HashMap::new());
        Self { store: Arc::clone(store), random, lines: vec![line], made, late: None, count: 0 }
    }

    /// Whether it is one time in so many.
    pub(crate) fn chance(&mut self, times: u8) -> bool {
        self.random.u8(..times) == 0
    }

    /// One writer does something.
    pub(crate) async fn act(&mut self) {
        self.count += 1;
        let index = self.random.usize(..self.lines.len());
        let mut line = self.lines[index].clone();
        match line.store.load(line.whole()).await {
            Ok(loaded) => self.act_on(&mut line, &loaded).await,
            // An unnamed branch goes with its writer.
            Err(error) if error.kind() == ErrorKind::Missing && index > 0 => drop(self.lines.remove(index)),
            Err(error) => panic!("the writer's branch is gone: {error}"),
        }
        if let Some(place) = self.lines.iter_mut().find(|known| known.branch.id == line.branch.id) {
            *place = line;
        }
    }

    async fn act_on(&mut self, line: &mut Line, loaded: &Loaded) {
        match self.random.u8(..16) {
            0..=5 => self.step(line, loaded).await,
            6 | 7 => self.flush(line, loaded).await,
            8 => self.fork_at_tip(line, loaded).await,
            9 => self.fork_in_the_past(line).await,
            10 => line.apply(line.claim()).await,
            11 => self.tag(line).await,
            12..=14 => self.sub_graph(line).await,
            _ => self.come_late().await,
        }
    }

    /// A checkpoint with a list that grows, a blob now and then, and what was flushed.
    async fn step(&mut self, line: &mut Line, loaded: &Loaded) {
        let mut draft = line.next().from_ordinal(loaded.next_ordinal);
        let row = loaded.checkpoint.as_ref().expect("every line has a tip");
        let before = row.read_manifest().expect("it reads");
        let item = format!("{}-{}", self.count, "x".repeat(self.random.usize(..40)));
        let has =
            |name: &str| before.channel(name).is_some() && loaded.chains.iter().any(|chain| !chain.nodes.is_empty());
        draft = match before.channel("list").filter(|_| has("list")) {
            None => draft.packed("list", full(&[item])),
            Some(base) if self.random.bool() => draft.keep("list", base),
            Some(base) => {
                let node = appended(base, value_of::<Vec<String>>(loaded, "list").len() as u64, &[item]);
                if self.random.bool() { draft.packed("list", node) } else { draft.stored("list", node) }
            }
        };
        draft = match before.channel("blob") {
            Some(value) if self.random.bool() => draft.keep("blob", value),
            None if self.random.u8(..4) == 0 => {
                let (node, bytes) = blob_node(&format!("blob {}", self.random.u8(..4)));
                self.store.blob(BlobCall::Put { scope: String::new(), bytes }).await.expect("it is kept");
                draft.stored("blob", node)
            }
            _ => draft,
        };
        let flushed = loaded.pending.iter().find_map(|row| row.values.first());
        if let Some(value) = flushed.filter(|_| self.random.bool()) {
            draft = draft.keep("flushed", *value);
        }
        self.commit(line, draft.build()).await;
    }

    async fn commit(&mut self, line: &mut Line, commit: Commit) {
        line.apply(commit).await;
        let id = line.branch.tip.as_ref().expect("a tip").id.clone();
        let load = Load { pending: false, branches: false, ..line.at(Place::Checkpoint(id.clone())) };
        let loaded = self.store.load(load).await.expect("it was made");
        self.made.insert((line.namespace.clone(), id), loaded.chains);
    }

    /// A result whose value lies above the tip.
    async fn flush(&mut self, line: &Line, loaded: &Loaded) {
        let draft = line.next().from_ordinal(loaded.next_ordinal + 1).stored("flushed", full(&self.count));
        let value = draft.value("flushed");
        let number = loaded.pending.iter().filter(|row| row.kind == PendingKind::Results).count() as u64;
        let mut flush = line.flush(number, "flushed");
        flush.pending[0].values = vec![value];
        flush.values = draft.build().values;
        self.store.append(flush).await.expect("the owner flushes");
    }

    async fn fork_at_tip(&mut self, line: &Line, loaded: &Loaded) {
        let name = self.random.bool().then(|| format!("f{}", self.count));
        let (fork, mut commit) = line.fork(name.as_deref());
        commit.pending = loaded.pending.iter().map(|row| row.in_lane(fork.branch.id.lane())).collect();
        if self.random.bool() {
            return self.late = Some((fork, commit));
        }
        self.store.commit(commit).await.expect("nothing came between");
        self.lines.push(fork);
    }

    async fn come_late(&mut self) {
        let Some((fork, commit)) = self.late.take() else { return };
        match self.store.commit(commit).await {
            Ok(_) => self.lines.push(fork),
            Err(error) => assert!(matches!(error.kind(), ErrorKind::Missing | ErrorKind::Conflict), "{error}"),
        }
    }

    async fn fork_in_the_past(&mut self, line: &Line) {
        let page = self.store.history(line.lineage(None, 50)).await.expect("the branch is there");
        let entry = self.random.usize(..page.entries.len());
        let row = &page.entries[entry].checkpoint;
        let tip = stepmark_core::rows::Tip { height: row.height, id: row.id.clone() };
        let (fork, commit) = line.fork_at(row.branch, tip, None);
        self.store.commit(commit).await.expect("the checkpoint is there");
        self.lines.push(fork);
    }

    async fn tag(&mut self, line: &Line) {
        let name = format!("tag{}", self.random.u8(..3));
        let _ = self.store.append(line.untag(&name)).await;
        if self.random.bool() {
            self.store.append(line.tag(&name)).await.expect("the tip is there");
        }
    }

    /// A sub-graph goes on from where it stands, or begins; sometimes the root's step commits what it moved.
    async fn sub_graph(&mut self, line: &mut Line) {
        let namespace = format!("sub/{}", self.random.u8(..2));
        let mut child = match line.child(&namespace).await {
            Err(_) => line.sub_graph(&namespace),
            Ok(stands) => {
                let row = stands.checkpoint.as_ref().expect("it stands somewhere");
                let tip = stepmark_core::rows::Tip { height: row.height, id: row.id.clone() };
                let on_tip = stands.branch.row.tip.as_ref() == Some(&tip);
                let mut there =
                    Line { namespace, segment: row.branch, branch: stands.branch.row.clone(), ..line.clone() };
                let ours = there.branch.root == Some(line.branch.id) && on_tip;
                there.branch.tip = Some(tip);
                if ours { there } else { line.sub_graph_at(&there) }
            }
        };
        let is_new = child.store.load(Load { pending: false, ..child.whole() }).await.is_err();
        let draft: Draft = if is_new { child.first() } else { child.next() };
        let commit = draft.under(line, self.count);
        self.commit(&mut child, commit).await;
        if self.random.bool() {
            let mut draft = line.next().from_ordinal(100 + self.count as u32).build();
            draft.children = vec![child.child_row()];
            self.commit(line, draft).await;
        }
    }

    /// Every checkpoint that is there reads as it did when it was made; so does every writer's branch.
    pub(crate) async fn assert_kept_is_whole(&self) {
        let root = &self.lines[0];
        for namespace in self.namespaces().await {
            let walk = Walk::All { before: None };
            let query =
                HistoryQuery { thread: root.thread.uid, namespace: namespace.clone(), line: walk, limit: 10_000 };
            for entry in self.store.history(query).await.expect("the thread is there").entries {
                let id = entry.checkpoint.id;
                let place = Place::Checkpoint(id.clone());
                let load =
                    Load { namespace: namespace.clone(), channels: Channels::All, pending: false, ..root.at(place) };
                let loaded = self.store.load(load).await.expect("what is there reads");
                if let Some(made) = self.made.get(&(namespace.clone(), id)) {
                    assert_eq!(loaded.chains, *made);
                }
            }
        }
        for line in &self.lines {
            match self.store.load(Load { children: true, ..line.whole() }).await {
                Ok(loaded) => assert_eq!(loaded.branch.row, line.branch),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Missing, "{error}"),
            }
            if let Ok(page) = self.store.history(line.lineage(None, 3)).await {
                assert_eq!(
                    page.entries.first().map(|entry| entry.checkpoint.height),
                    line.branch.tip.as_ref().map(|tip| tip.height)
                );
            }
        }
    }

    async fn namespaces(&self) -> BTreeSet<String> {
        let rows = rows(&*self.store, self.lines[0].thread.uid).await;
        let of = |row: &Row| match row {
            Row::Checkpoint { namespace, .. } => Some(namespace.clone()),
            _ => None,
        };
        rows.iter().filter_map(of).collect()
    }

    /// Asks the seam alone what is reached, and looks for rows beyond that.
    pub(crate) async fn assert_nothing_else_is_there(&self) {
        let rows = rows(&*self.store, self.lines[0].thread.uid).await;
        let root = &self.lines[0];
        let mut values: HashSet<(String, ValueAddress)> = HashSet::new();
        let mut pending = HashSet::new();
        let mut tips: BTreeMap<(String, BranchId), Option<u64>> = BTreeMap::new();
        for row in &rows {
            let (namespace, load) = match row {
                Row::Checkpoint { namespace, row } if row.is_linked() => {
                    (namespace, root.at(Place::Checkpoint(row.id.clone())))
                }
                Row::Branch { namespace, row, .. } => {
                    tips.insert((namespace.clone(), row.id), row.tip.as_ref().map(|tip| tip.height));
                    (namespace, root.at(Place::Branch(row.id)))
                }
                _ => continue,
            };
            let is_branch = matches!(row, Row::Branch { .. });
            let load = Load { namespace: namespace.clone(), pending: is_branch, branches: false, ..load };
            let loaded = self.store.load(load).await.expect("it reads");
            let nodes = loaded.chains.iter().flat_map(|chain| &chain.nodes);
            values.extend(nodes.map(|(address, _)| (namespace.clone(), *address)));
            pending.extend(
                loaded
                    .pending
                    .iter()
                    .map(|row| format!("{:?}", (namespace, &row.base, row.lane, row.kind, row.ordinal))),
            );
        }
        let seen = Seen { values, pending, tips };
        for row in &rows {
            seen.assert_reached(row, &rows);
        }
    }
}

struct Seen {
    values: HashSet<(String, ValueAddress)>,
    pending: HashSet<String>,
    tips: BTreeMap<(String, BranchId), Option<u64>>,
}

impl Seen {
    fn assert_reached(&self, row: &Row, rows: &[Row]) {
        let has_value = |namespace: &String, address| self.values.contains(&(namespace.clone(), address));
        match row {
            Row::Value { namespace, row } => {
                let tip = self.tips.get(&(namespace.clone(), row.address.branch)).copied();
                let in_flight = tip.is_some_and(|tip| tip.is_none_or(|tip| row.address.height > tip));
                assert!(in_flight || has_value(namespace, row.address), "nothing reaches value {}", row.address);
            }
            Row::Pending { namespace, row } => {
                let key = format!("{:?}", (namespace, &row.base, row.lane, row.kind, row.ordinal));
                let lane = BranchId::new(row.lane.0).expect("every lane is a branch here");
                let based = row.kind == PendingKind::Child && is_linked(rows, &row.base);
                let lives =
                    self.pending.contains(&key) || (based && self.tips.contains_key(&(namespace.clone(), lane)));
                assert!(lives, "nothing reaches pending row {key}");
            }
            Row::Checkpoint { namespace, row } if !row.is_linked() => {
                let packed = decode_packed(&row.packed).expect("it reads");
                let address = |ordinal| ValueAddress { branch: row.branch, height: row.height, ordinal };
                let reached = packed.iter().all(|value| has_value(namespace, address(value.ordinal)));
                assert!(reached && !packed.is_empty(), "nothing reaches what is left of {}", row.id);
            }
            Row::Checkpoint { namespace, row } if !namespace.is_empty() => {
                let named = rows.iter().any(|other| names(other, namespace, (row.branch, row.height), &row.id));
                assert!(named, "nothing reaches checkpoint {} of {namespace}", row.id);
            }
            _ => {}
        }
    }
}

fn is_linked(rows: &[Row], id: &CheckpointId) -> bool {
    rows.iter().any(|row| matches!(row, Row::Checkpoint { row, .. } if row.id == *id && row.is_linked()))
}

/// Whether a row leads to the checkpoint of a sub-graph.
fn names(row: &Row, namespace: &str, place: (BranchId, u64), id: &CheckpointId) -> bool {
    match row {
        Row::Branch { namespace: of, row, .. } => of == namespace && row.tip.as_ref().is_some_and(|tip| tip.id == *id),
        Row::Child { row, .. } => row.namespace == namespace && (row.branch, row.height) == place,
        Row::Pending { row, .. } if row.kind == PendingKind::Child => {
            let child = ChildPlace::decode(&row.body).expect("it reads");
            child.namespace == namespace && (child.branch, child.height) == place
        }
        Row::Tag { namespace: of, row } => of == namespace && (row.branch, row.height) == place,
        _ => false,
    }
}

/// All rows of a thread.
pub(crate) async fn rows(store: &dyn CheckpointStore, thread: stepmark_core::id::ThreadUid) -> Vec<Row> {
    let offered: &dyn Rows = store.rows().expect("every handle has them");
    let mut all = Vec::new();
    for class in RowClass::ALL {
        let mut query = RowsQuery { thread, class, after: None, limit: 1000 };
        loop {
            let page = offered.page(query.clone()).await.expect("the thread is there");
            all.extend(page.rows.into_iter().map(|row| row.expect("it is undamaged")));
            match page.next {
                Some(after) => query.after = Some(after),
                None => break,
            }
        }
    }
    all
}
