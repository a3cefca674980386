//! What does a thread look like that an engine works on?

use std::sync::Arc;

use stepmark_conformance::make::{Draft, Line, START, blob_node, full, intent, outcome, run_id};
use stepmark_core::checkpoint::{MadeBy, NextTask, Payload, TaskEntry};
use stepmark_core::effect::{EffectEnd, EffectIntent};
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::rows::{GraphRow, RunRow, RunStatus};
use stepmark_core::store::{BlobCall, CheckpointStore, RunWrite};

/// A thread of a run that planned tasks and applied them, called a sub-graph, forked, did and repeated effects, and waits at
/// its tip with two results, an answered question and an open one.
pub(crate) async fn lively(store: &Arc<dyn CheckpointStore>, name: &str) -> Line {
    let mut line = Line::unborn(store, "", name);
    let graph = GraphRow::new(format!("graph of {name}"), b"a record".to_vec());
    let run = RunRow { graph: graph.name.clone(), graph_signature: Some(graph.signature), ..of_run(&line) };
    let birth = planned(line.birth().named("main")).with_run(RunWrite::Begin(run.clone())).with_graph(graph);
    line.apply(birth.build()).await;
    let child = line.called("work").await;
    let (node, bytes) = blob_node(&format!("in a blob of {name}"));
    store.blob(BlobCall::Put { scope: String::new(), bytes }).await.expect("the blob is kept");
    let step = applied(planned(line.next())).stored("row", full(&"in a row")).stored("blob", node);
    let mut commit = step.build();
    commit.children = vec![child.child_row()];
    line.apply(commit).await;
    line.forked(None).await.step().await;
    line.forked(None).await;
    line.forked(Some("side")).await.step().await;
    store.append(line.tag("good")).await.expect("the tip is there");
    effects(&line).await;
    wait(&line, run).await;
    line
}

fn of_run(line: &Line) -> RunRow {
    line.run("r", RunStatus::Open)
}

fn planned(mut draft: Draft) -> Draft {
    draft.manifest.run = run_id("r");
    draft.manifest.next.push(NextTask { node: 0, trigger: 0, payload: Payload::None });
    draft
}

fn applied(mut draft: Draft) -> Draft {
    let (attempts, started_at, duration_us) = (1, START, 1);
    let task =
        TaskEntry { node: 0, trigger: 0, attempts, started_at, duration_us, made_by: MadeBy::Node, writes: Vec::new() };
    draft.manifest.tasks.push(task);
    draft
}

/// One key that came to mean another action, which failed; one that nobody knows the end of, tried twice.
async fn effects(line: &Line) {
    line.does(&intent("pay", "ten"), "receipt").await;
    let again = EffectIntent { again: true, ..intent("pay", "twenty") };
    let row = line.granted(&again).await;
    line.settles(&again, &row, EffectEnd::NotDone).await;
    let letter = intent("send", "letter");
    let row = line.granted(&letter).await;
    line.answer_to(line.tells(&outcome(&letter, row.generation, EffectEnd::Lost))).await.expect("it is noted");
    line.granted(&EffectIntent { repeats_unknown: true, ..intent("send", "letter") }).await;
}

async fn wait(line: &Line, run: RunRow) {
    for number in 0..2 {
        line.store.append(line.flush(number, "result")).await.expect("the owner flushes");
    }
    let question = line.ask(0, "really?").await;
    line.store.append(line.answer(&question, "yes")).await.expect("anybody answers");
    let memo = PendingRow { kind: PendingKind::Memo, ordinal: 1, body: b"a step".to_vec(), ..question };
    line.store.append(line.append(vec![memo])).await.expect("the owner notes it");
    let mut end = line.append(vec![line.question(1, "and this?")]);
    let last = line.branch.tip.clone();
    end.run = Some(RunRow { status: RunStatus::Interrupted, ended_at: Some(START + 2), last, ..run });
    line.store.append(end).await.expect("the owner ends its run");
}
