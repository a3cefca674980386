//! What is one super-step?
//!
//! The table of contents of the engine: stop? → execute → apply → plan the next → commit. The checkpoint that a step commits
//! contains the tasks planned for the next one.

use std::sync::Arc;

use crate::effect;
use crate::error::Result;
use crate::plan::plan_step;
use crate::run::Run;
use crate::{apply, durability, events, execute, parent, waiting};

/// How a super-step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepEnd {
    /// It was committed.
    Committed,
    /// It waits for people; the run has ended.
    Interrupted,
}

/// Takes one super-step. After an error the step has no checkpoint; results of its finished tasks are in the store.
pub(crate) async fn super_step(run: &mut Run) -> Result<StepEnd> {
    durability::catch_up(run).await?;
    if let Some(events) = &run.host.events {
        events.begin_step(run.line.as_ref());
    }
    if run.has_stops() && waiting::stops(run).await? {
        return Ok(StepEnd::Interrupted);
    }
    let ran = execute::run_tasks(run).await;
    note_did(run).await;
    if !ran? {
        return Ok(StepEnd::Interrupted);
    }
    if run.is_inside() {
        parent::store(run).await?;
    }
    note_applied(run);
    if let Some(events) = &run.host.events {
        events.let_state_go();
    }
    let mut entries = Vec::new();
    if let Err(fault) = apply::apply_writes(run, &mut entries) {
        return Err(execute::refuse(run, fault).await);
    }
    let has_store = run.line.is_some();
    let only = (has_store && entries.len() == 1).then(|| execute::Done::of(&run.position.next[0], &entries[0]));
    let program = &run.host.program;
    plan_step(program, &mut run.position, &mut run.routed);
    if let Some(desk) = &run.desk {
        desk.end_step(run.inside.as_ref().map(|inside| &*inside.namespace));
    }
    parent::end(run);
    run.earlier.clear();
    run.journals.clear();
    run.stats.steps += 1;
    if !has_store {
        return Ok(StepEnd::Committed);
    }
    match (durability::keep_step(run, entries).await, only) {
        (Err(error), Some(only)) if error.is_unencodable() => Err(execute::refuse_unencodable(run, only, &error).await),
        (committed, _) => {
            committed?;
            if run.host.events.is_some() {
                events::tell_values(run).await;
            }
            Ok(StepEnd::Committed)
        }
    }
}

/// Takes over what the tasks did past the run.
async fn note_did(run: &mut Run) {
    if let Some(desk) = run.desk.as_ref().filter(|_| run.inside.is_none()) {
        run.stats.add(&desk.take_did());
        let (desk, thread) = (Arc::clone(desk), run.thread_uid());
        // Boxed, as in nearly every step there is nothing to tell.
        if desk.has_ended() {
            Box::pin(effect::tell_ended(&desk, thread)).await;
        }
    }
}

/// Remembers the tasks that are applied now, if the graph stops after some.
fn note_applied(run: &mut Run) {
    if !run.stops.after.is_empty() {
        let tasks = 0..run.position.next.len();
        run.applied = tasks.map(|task| (run.task_hash(task), run.position.next[task].node)).collect();
    }
}
