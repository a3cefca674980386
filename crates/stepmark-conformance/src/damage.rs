//! What do tests that damage the bytes of a store look at?
//!
//! They flip what they can reach of a thread that has a row of every kind, and read it in every way: each read must then answer
//! what it did before, or an error that names a record. A damaged row never answers with another state.

use std::sync::Arc;

use stepmark_core::capability::{
    Attribute, AttributeChange, AttributeKind, AttributeValue, Declaration, Row, RowClass, RowsQuery,
};
use stepmark_core::effect::EffectWrite;
use stepmark_core::error::{Error, ErrorKind, Result};
use stepmark_core::id::CheckpointId;
use stepmark_core::rows::{GraphRow, RunRow, RunStatus};
use stepmark_core::store::{BlobCall, CheckpointStore, Load, Loaded, Place, Records, RunWrite, ThreadAddress};

use crate::make::{Line, blob_node, full, intent, run_id};

/// A thread with a row of every kind.
#[derive(Clone, Debug)]
pub struct Furnished {
    /// Its line.
    pub line: Line,
    /// Its checkpoints with their namespaces.
    pub checkpoints: Vec<(String, CheckpointId)>,
}

/// What is read of a thread.
#[derive(Debug)]
pub struct Seen {
    /// Its rows as they are stored.
    pub rows: Vec<Result<Row>>,
    /// Loads of its tip, and of every checkpoint.
    pub loads: Vec<Result<Loaded>>,
    /// What is said of it.
    pub attributes: Result<Vec<Attribute>>,
}

impl Seen {
    /// Every error that was answered.
    pub fn errors(&self) -> impl Iterator<Item = &Error> {
        let rows = self.rows.iter().filter_map(|row| row.as_ref().err());
        let loads = self.loads.iter().filter_map(|loaded| loaded.as_ref().err());
        rows.chain(loads).chain(self.attributes.as_ref().err())
    }

    /// Whether there was none.
    pub fn is_whole(&self) -> bool {
        self.errors().next().is_none()
    }
}

/// Reads a thread in every way.
pub async fn seen(store: &dyn CheckpointStore, Furnished { line, checkpoints }: &Furnished) -> Seen {
    let (row_pages, search) = (store.rows().expect("it has rows"), store.search().expect("it searches"));
    let mut rows = Vec::new();
    for class in RowClass::ALL {
        let query = RowsQuery { thread: line.thread.uid, class, after: None, limit: 1000 };
        match row_pages.page(query).await {
            Ok(page) => rows.extend(page.rows),
            Err(error) => rows.push(Err(error)),
        }
    }
    let whole = Load { tags: true, graph: true, children: true, effects: true, ..line.at(Place::Head) };
    let named = Load { run: Some(run_id("r")), ..line.at(Place::Named("main".into())) };
    let (scope, name) = (line.thread.scope.clone(), line.thread.name.clone());
    let mut loads = vec![store.load(whole).await, store.load(named).await];
    let by_name = Load { thread: ThreadAddress::Name { scope, name }, ..line.at(Place::Head) };
    loads.push(store.load(by_name).await);
    for (namespace, id) in checkpoints {
        let place = Place::Checkpoint(id.clone());
        loads.push(store.load(Load { namespace: namespace.clone(), ..line.at(place) }).await);
    }
    Seen { rows, loads, attributes: search.attributes(line.thread.uid).await }
}

/// What flips reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Rows, but not the keys that they lie under.
    Rows,
    /// Keys too: who asks for a record by a key that was damaged may hear that it is missing, or read what lies beside a state
    /// without it.
    Keys,
}

/// Whether what was damaged is either unseen or named; answers whether it was named.
pub fn check(whole: &Seen, (damaged, reach): (&Seen, Reach), what: &str) -> bool {
    for row in damaged.rows.iter().flatten() {
        let is_known = |known: &Row| known == row || (reach == Reach::Keys && lacks_attempts(known, row));
        assert!(whole.rows.iter().flatten().any(is_known), "{what}: a row that never was");
    }
    for (loaded, known) in damaged.loads.iter().zip(&whole.loads) {
        if let Ok(loaded) = loaded {
            let known = known.as_ref().unwrap_or_else(|error| panic!("{what}: the whole thread was not read: {error}"));
            let is_same = (&known.checkpoint, &known.chains) == (&loaded.checkpoint, &loaded.chains);
            assert!(is_same && (known == loaded || reach == Reach::Keys), "{what}: another state");
        }
    }
    if let Ok(said) = &damaged.attributes {
        assert!(whole.attributes.as_ref().is_ok_and(|known| known == said), "{what}: something else is said");
    }
    let mut is_named = false;
    for error in damaged.errors() {
        let told = [ErrorKind::Corrupt, ErrorKind::Unsupported].contains(&error.kind());
        let is_hidden = reach == Reach::Keys && error.kind() == ErrorKind::Missing;
        assert!((told || is_hidden) && !error.id().is_empty(), "{what}: {error}");
        is_named |= told;
    }
    is_named
}

/// Whether an entry is what it was but for attempts, whose keys are damaged: loads tell of them.
fn lacks_attempts(known: &Row, row: &Row) -> bool {
    let (Row::Effect(known), Row::Effect(entry)) = (known, row) else { return false };
    known.row == entry.row && entry.attempts.iter().all(|attempt| known.attempts.contains(attempt))
}

/// Makes such a thread.
pub async fn furnished(store: &Arc<dyn CheckpointStore>) -> Furnished {
    let mut line = Line::unborn(store, "", "t");
    line.apply(line.birth().named("main").build()).await;
    let mut checkpoints = vec![of_tip(&line)];
    let (node, bytes) = blob_node(&"in a blob");
    store.blob(BlobCall::Put { scope: String::new(), bytes }).await.expect("the blob is kept");
    let graph = GraphRow::new("kit".into(), b"a record".to_vec());
    let run = RunRow { graph_signature: Some(graph.signature), ..line.run("r", RunStatus::Open) };
    let draft = line.next().stored("row", full(&"in a row")).stored("blob", node).packed("packed", full(&"x"));
    line.apply(draft.with_graph(graph).with_run(RunWrite::Begin(run)).build()).await;
    checkpoints.push(of_tip(&line));
    line.forked(Some("side")).await;
    let ask = Records { effect: Some(EffectWrite::Intent(intent("pay", "ten"))), ..line.append(Vec::new()) };
    store.append(ask).await.expect("it is granted");
    store.append(line.flush(0, "pending")).await.expect("the owner flushes");
    let question = line.ask(0, "really?").await;
    store.append(line.answer(&question, "yes")).await.expect("anybody answers");
    let child = line.called("research").await;
    line.step_with(&[&child]).await;
    checkpoints.extend([of_tip(&child), of_tip(&line)]);
    store.append(line.flush(0, "over the tip")).await.expect("the owner flushes");
    store.append(line.tag("good")).await.expect("the tip is there");
    describe(&line).await;
    Furnished { line, checkpoints }
}

fn of_tip(line: &Line) -> (String, CheckpointId) {
    (line.namespace.clone(), line.branch.tip.clone().expect("a tip").id)
}

/// Says something of the thread, and when it may go.
async fn describe(line: &Line) {
    let (search, retention) = (line.store.search().expect("it searches"), line.store.retention().expect("it lets go"));
    let declaration = Declaration { name: "who".into(), kind: AttributeKind::Text };
    search.declare("", vec![declaration]).await.expect("nothing is declared otherwise");
    let change = AttributeChange { name: "who".into(), value: Some(AttributeValue::Text("zoe".into())) };
    search.set_attributes(line.thread.uid, vec![change]).await.expect("it is declared");
    retention.set_expiry(line.thread.uid, Some(i64::MAX / 2)).await.expect("the thread is there");
}
