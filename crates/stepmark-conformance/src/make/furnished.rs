//! How does a case get a thread with everything in it in one word?

use std::sync::Arc;

use stepmark_core::effect::{EffectEnd, EffectIntent};
use stepmark_core::rows::{GraphRow, RunRow, RunStatus};
use stepmark_core::store::{BlobCall, CheckpointStore, RunWrite};

use super::{Line, appended, blob_node, full, intent, outcome};

/// A thread with rows of every class, in two namespaces and on several branches. `name` is not `other`.
pub async fn furnished(store: &Arc<dyn CheckpointStore>, name: &str) -> Line {
    let mut line = Line::unborn(store, "", name);
    line.apply(line.birth().named("main").build()).await;
    let (node, bytes) = blob_node(&format!("in a blob of {name}"));
    store.blob(BlobCall::Put { scope: String::new(), bytes }).await.expect("the blob is kept");
    let graph = GraphRow::new("kit".into(), b"a record".to_vec());
    let run = RunRow { graph_signature: Some(graph.signature), ..line.run("first", RunStatus::Done) };
    let draft = line.next().stored("row", full(&"in a row")).stored("blob", node).with_run(RunWrite::Begin(run));
    line.apply(draft.with_graph(graph).build()).await;
    line.does(&intent("pay", "ten"), "receipt").await;
    let list = line.next().packed("list", full(&["a", "b"]));
    let base = list.value("list");
    line.apply(list.with_run(RunWrite::Begin(line.run("second", RunStatus::Open))).build()).await;
    // A fork grows while the line does, so that no order by branch is the order of arrival.
    let mut side = line.forked(Some("side")).await;
    for _ in 0..2 {
        side.step().await;
        line.step().await;
    }
    line.apply(line.next().stored("list", appended(base, 2, &["c"])).build()).await;
    let mut child = line.called("research/0").await;
    child.step_under(&line, 1).await;
    line.step_with(&[&child]).await;
    line.called("writing/0").await;
    store.append(line.flush(0, "pending")).await.expect("the owner flushes");
    let question = line.ask(0, "really?").await;
    store.append(line.answer(&question, "yes")).await.expect("anybody answers");
    store.append(line.tag("good")).await.expect("the tip is there");
    store.append(side.tag("aside")).await.expect("the tip is there");
    let letter = intent("send", "letter");
    let row = line.granted(&letter).await;
    let told = outcome(&letter, row.generation, EffectEnd::Lost);
    line.answer_to(line.tells(&told)).await.expect("it is noted");
    line.granted(&EffectIntent { repeats_unknown: true, ..intent("send", "letter") }).await;
    line
}
