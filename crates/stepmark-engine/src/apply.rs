//! How do the writes of a step become the new state, and its routes?
//!
//! Pure: no I/O, no clock. Writes are applied in plan order, never in the order in which tasks finished. The state is
//! changed in place unless somebody kept a snapshot of it.

use std::mem::take;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use stepmark_core::checkpoint::{TaskEntry, WriteMark};

use crate::attempt::panic_text;
use crate::change::{Change, Changes};
use crate::compile::{NodeSpec, Program};
use crate::execute::Finished;
use crate::graph::Router;
use crate::handle::{Destination, Route};
use crate::node_error::NodeError;
use crate::parent;
use crate::plan::Routed;
use crate::run::Run;
use crate::schema::{AnyState, AnyUpdate, Schema};
use crate::state::{Keep, Shape};

/// A write of at most this many bytes is kept in the checkpoint where the value after the step does not show it.
const SMALL_WRITE_BYTES_MAX: usize = 256;

/// A task that went where it may not.
pub(crate) struct Fault {
    /// Index among the step's tasks.
    pub(crate) task: usize,
    pub(crate) error: NodeError,
}

/// Applies the results of all tasks of the step and collects where they go, and into `entries` what history shows of them:
/// nothing for a run without a store.
pub(crate) fn apply_writes(run: &mut Run, entries: &mut Vec<TaskEntry>) -> Result<(), Fault> {
    let program = Arc::clone(&run.host.program);
    forget_changes(run);
    let mut finished = take(&mut run.finished);
    if let Err(fault) = route_before(run, &program, &finished) {
        run.finished = finished;
        return Err(fault);
    }
    make_unique(run);
    reset_ephemerals(run, &program);
    let routes_after = routes_after(run, &finished);
    entries.reserve_exact(if run.line.is_some() { finished.len() } else { 0 });
    let mut last = None;
    for (index, done) in finished.drain(..).enumerate() {
        let node = run.position.next[index].node;
        if last.replace(node) != Some(node) && !is_counted(run, index) {
            run.position.activations[node as usize] += 1;
        }
        if run.line.is_some() {
            entries.push(apply_recorded(run, &program, index, done));
        } else {
            program.schema.apply(&mut run.position.state, done.update, &mut run.changes);
        }
    }
    run.finished = finished;
    if routes_after && let Err(fault) = route_after(run, &program) {
        // The step is not taken after all: its task keeps its activation number.
        run.position.activations[run.position.next[0].node as usize] -= 1;
        return Err(fault);
    }
    Ok(())
}

/// Whether an earlier, not neighbouring task of the step belongs to the same node.
fn is_counted(run: &Run, index: usize) -> bool {
    let (earlier, rest) = run.position.next.split_at(index);
    earlier.iter().any(|task| task.node == rest[0].node)
}

/// Applies one input to a state, outside any step.
pub(crate) fn apply_input(run: &mut Run, update: AnyUpdate) {
    let program = Arc::clone(&run.host.program);
    forget_changes(run);
    make_unique(run);
    reset_ephemerals(run, &program);
    program.schema.apply(&mut run.position.state, update, &mut run.changes);
}

/// Applies writes to the state that the planned tasks begin with: what lives one step lives on.
pub(crate) fn apply_beside(run: &mut Run, update: AnyUpdate) {
    forget_changes(run);
    make_unique(run);
    run.host.program.schema.apply(&mut run.position.state, update, &mut run.changes);
}

fn forget_changes(run: &mut Run) {
    run.changes.clear();
    run.named.iter_mut().for_each(|place| *place = None);
}

fn make_unique(run: &mut Run) {
    if Arc::get_mut(&mut run.position.state).is_none() {
        run.position.state = run.host.program.schema.clone_state(&run.position.state);
        run.stats.copies += 1;
    }
}

/// What lived one step goes; the commit forgets such a channel unless this step writes it again.
fn reset_ephemerals(run: &mut Run, program: &Program) {
    for channel in &program.ephemerals {
        program.schema.reset(&mut run.position.state, *channel);
    }
}

/// Applies one task's update and notes what it wrote.
fn apply_recorded(run: &mut Run, program: &Program, index: usize, done: Finished) -> TaskEntry {
    let task = &run.position.next[index];
    let mut entry = TaskEntry {
        node: task.node,
        trigger: task.trigger,
        attempts: done.attempts,
        started_at: done.started_at,
        duration_us: done.duration_us,
        made_by: done.made_by,
        writes: small_writes(&*program.schema, &done.update),
    };
    for (channel, _) in entry.writes.iter().filter(|(_, mark)| *mark == WriteMark::Whole) {
        let channel = *channel as usize;
        run.named[channel] = done.flushed.iter().find(|(flushed, _)| *flushed == channel).map(|(_, place)| *place);
    }
    run.task_changes.clear();
    program.schema.apply(&mut run.position.state, done.update, &mut run.task_changes);
    for (channel, mark) in &mut entry.writes {
        if let Some(Change::Edit { at, insert, .. }) = run.task_changes.get(*channel as usize) {
            *mark = WriteMark::Items { first: *at as u64, count: *insert as u64 };
        }
    }
    merge_changes(&mut run.task_changes, &mut run.changes);
    entry
}

fn merge_changes(from: &mut Changes, into: &mut Changes) {
    for channel in 0..from.len() {
        if let Some(change) = from.take(channel) {
            into.record(channel, change);
        }
    }
}

/// What history shows of an update before it is applied: per stored channel the write, where it is small and the new value
/// does not show it.
fn small_writes(schema: &dyn Schema, update: &AnyUpdate) -> Vec<(u32, WriteMark)> {
    let mut writes = Vec::new();
    schema.writes(update, &mut |channel, _| {
        let spec = &schema.channels()[channel];
        let mark = match (spec.keep, spec.shape) {
            (Keep::Untracked, _) => return,
            _ if spec.names_flushed => WriteMark::Whole,
            (_, Shape::List) => WriteMark::Opaque,
            _ => match schema.encode_write(update, channel) {
                Ok(write) if write.len() <= SMALL_WRITE_BYTES_MAX => WriteMark::Small(write),
                _ => WriteMark::Opaque,
            },
        };
        writes.push((channel as u32, mark));
    });
    writes
}

/// Whether branches are evaluated on the new state, without a copy. A fault there leaves the state changed, so the one before
/// must be stored.
fn routes_after(run: &Run, finished: &[Finished]) -> bool {
    finished.len() == 1 && !run.commits.are_deferred()
}

/// Routes what is routed before anything is applied: gotos, `branch_on`, and in a step of several tasks every branch, each
/// on its own copy of the state with its own task's writes applied.
fn route_before(run: &mut Run, program: &Program, finished: &[Finished]) -> Result<(), Fault> {
    let (routes_after, mut routes) = (routes_after(run, finished), Vec::new());
    for (task, done) in finished.iter().enumerate() {
        let node = &program.nodes[run.position.next[task].node as usize];
        for route in &done.goto {
            if let Destination::Parent(_) = route.to {
                parent::keep(run, task, route).map_err(|error| Fault { task, error })?;
                continue;
            }
            follow(program, node, &node.gotos, route.clone(), &mut run.routed)
                .map_err(|error| Fault { task, error })?;
        }
        let mut view = None;
        for branch in &node.branches {
            let said = match &branch.router {
                Router::Update(route) => {
                    routes_of(node, &mut routes, |routes| route((&run.position.state, &done.update), routes))
                }
                Router::State(_) if routes_after => {
                    run.routed.late.push(run.routed.sends.len());
                    continue;
                }
                Router::State(route) => {
                    run.stats.copies += u64::from(view.is_none());
                    let view = view.get_or_insert_with(|| own_view(program, &run.position.state, done));
                    routes_of(node, &mut routes, |routes| route(view, routes))
                }
            };
            said.map_err(|error| Fault { task, error })?;
            for route in routes.drain(..) {
                follow(program, node, &branch.targets, route, &mut run.routed)
                    .map_err(|error| Fault { task, error })?;
            }
        }
    }
    Ok(())
}

/// Calls a branch's function; its panic is a failure of its node.
fn routes_of(node: &NodeSpec, routes: &mut Vec<Route>, route: impl FnOnce(&mut Vec<Route>)) -> Result<(), NodeError> {
    catch_unwind(AssertUnwindSafe(|| route(routes)))
        .map_err(|panic| NodeError::new(format!("a branch of node {:?} panicked: {}", node.name, panic_text(panic))))
}

/// The state as a task's own branches see it: without what lived one step, and with the task's writes alone.
fn own_view(program: &Program, state: &AnyState, done: &Finished) -> AnyState {
    let schema = &*program.schema;
    let mut view = schema.clone_state(state);
    program.ephemerals.iter().for_each(|channel| schema.reset(&mut view, *channel));
    let mut changes = Changes::new(schema.channels().len());
    schema.apply(&mut view, schema.clone_update(&done.update), &mut changes);
    view
}

/// Routes the branches of a step's only task on the new state: no copy. Their sends take the places that they have among
/// those of the node's other branches, so that the plan is the same whenever they are routed.
fn route_after(run: &mut Run, program: &Program) -> Result<(), Fault> {
    let node = &program.nodes[run.position.next[0].node as usize];
    let fault = |error| Fault { task: 0, error };
    let (mut late, mut inserted) = (0, 0);
    let mut routes = take(&mut run.routed.routes);
    for branch in &node.branches {
        let Router::State(route) = &branch.router else { continue };
        let (place, end) = (run.routed.late[late] + inserted, run.routed.sends.len());
        routes_of(node, &mut routes, |routes| route(&run.position.state, routes)).map_err(fault)?;
        for route in routes.drain(..) {
            follow(program, node, &branch.targets, route, &mut run.routed).map_err(fault)?;
        }
        let sent = run.routed.sends.len() - end;
        run.routed.sends[place..].rotate_right(sent);
        (late, inserted) = (late + 1, inserted + sent);
    }
    run.routed.late.clear();
    run.routed.routes = routes;
    Ok(())
}

fn follow(
    program: &Program,
    node: &NodeSpec,
    allowed: &[Option<u32>],
    route: Route,
    routed: &mut Routed,
) -> Result<(), NodeError> {
    if route.graph.is_some_and(|graph| graph != program.id) {
        let (node, graph) = (&node.name, &program.name);
        return Err(NodeError::new(format_args!("node {node:?} of graph {graph:?} went to a node of another graph")));
    }
    let target = match &route.to {
        Destination::End => None,
        Destination::Node(to) | Destination::Send { node: to, .. } => Some(*to),
        Destination::Parent(_) => return Err(parent::misplaced(program, &node.name)),
    };
    if !allowed.contains(&target) {
        let target = target.map_or("END", |to| &program.nodes[to as usize].name);
        let message = format!("node {:?} went to {target:?}, which is not among its declared targets", node.name);
        return Err(NodeError::new(message));
    }
    match route.to {
        Destination::End | Destination::Parent(_) => {}
        Destination::Node(to) => routed.nodes.push(to),
        Destination::Send { node: to, payload } => routed.sends.push((to, payload?)),
    }
    Ok(())
}
