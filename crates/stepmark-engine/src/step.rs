//! What is one super-step?
//!
//! The table of contents of the engine: execute → apply → plan the next → commit. The checkpoint that a step commits
//! contains the tasks planned for the next one.

use crate::error::Result;
use crate::plan::plan_step;
use crate::run::Run;
use crate::{apply, durability, execute};

/// Takes one super-step. After an error the step has no checkpoint; results of its finished tasks are in the store.
pub(crate) async fn super_step(run: &mut Run) -> Result<()> {
    durability::catch_up(run).await?;
    let finished = execute::run_tasks(run).await?;
    let entries = match apply::apply_writes(run, finished) {
        Ok(entries) => entries,
        Err((fault, finished)) => return Err(execute::refuse(run, fault, finished).await),
    };
    let only = (entries.len() == 1).then(|| execute::Done::of(&run.position.next[0], &entries[0]));
    let program = &run.host.program;
    plan_step(program, &mut run.position.next, &mut run.routed, &mut run.position.joins);
    run.failures.clear();
    run.stats.steps += 1;
    if run.line.is_none() {
        return Ok(());
    }
    match (durability::keep_step(run, entries).await, only) {
        (Err(error), Some(only)) if error.is_unencodable() => Err(execute::refuse_unencodable(run, only, &error).await),
        (committed, _) => committed,
    }
}
