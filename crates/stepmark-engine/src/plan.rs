//! Which tasks run next?
//!
//! Pure and deterministic: same program, same finished nodes, same routes, same plan. Nodes that an edge, a join or a
//! goto triggered come first, in the order in which they were added to the graph, each once; then the sends, in the
//! order of the tasks that made them; of one task its gotos, then its branches as they were drawn. Tasks of deferred
//! nodes wait in the same order until nothing else is planned; then all of them are.

use crate::compile::Program;
use crate::handle::Route;
use crate::position::{Position, Task};

/// Where control goes from a finished step, as routed by its tasks in plan order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routed {
    /// Nodes that were gone to.
    pub(crate) nodes: Vec<u32>,
    /// Nodes and payloads that were sent to.
    pub(crate) sends: Vec<(u32, std::sync::Arc<[u8]>)>,
    /// By branch that is routed once the step was applied: its place among the sends.
    pub(crate) late: Vec<usize>,
    /// What one branch said last; empty while none is routed.
    pub(crate) routes: Vec<Route>,
    /// The task that commands a graph around.
    pub(crate) commanding: Option<usize>,
}

/// Plans the step that follows the one whose tasks `position` held.
pub(crate) fn plan_step(program: &Program, position: &mut Position, routed: &mut Routed) {
    let Position { next, joins, .. } = position;
    let triggered = &mut routed.nodes;
    let mut last = None;
    for task in next.drain(..) {
        // The tasks of a fan-out are neighbours; following their edges once is enough.
        if last.replace(task.node) == Some(task.node) {
            continue;
        }
        let node = &program.nodes[task.node as usize];
        triggered.extend(&node.edges);
        for (join, place) in &node.joins {
            joins[*join as usize][*place as usize] = true;
        }
    }
    for (spec, seen) in program.joins.iter().zip(joins) {
        if seen.iter().all(|seen| *seen) {
            seen.fill(false);
            triggered.push(spec.target);
        }
    }
    plan_routed(program, position, routed);
}

/// Plans what was routed to, and nothing else.
pub(crate) fn plan_routed(program: &Program, position: &mut Position, routed: &mut Routed) {
    let next = &mut position.next;
    routed.nodes.sort_unstable();
    routed.nodes.dedup();
    next.extend(routed.nodes.drain(..).map(Task::triggered));
    plan_sends(program, next, routed);
    hold_deferred(program, position);
}

/// Plans what was routed to beside what is planned, whose tasks stay who they are. A node that is planned runs once.
pub(crate) fn plan_beside(program: &Program, position: &mut Position, routed: &mut Routed) {
    let Position { next, deferred, .. } = position;
    let mut sent = vec![0; program.nodes.len()];
    for task in next.iter().chain(&*deferred) {
        sent[task.node as usize] = task.trigger.max(sent[task.node as usize]);
    }
    routed.nodes.sort_unstable();
    routed.nodes.dedup();
    let triggered = routed.nodes.drain(..).map(Task::triggered);
    let sends = routed.sends.drain(..).map(|(node, payload)| {
        sent[node as usize] += 1;
        Task::sent((node, payload), sent[node as usize])
    });
    for task in triggered.chain(sends) {
        let is_task = |planned: &Task| planned.node == task.node && planned.trigger == task.trigger;
        if !next.iter().chain(&*deferred).any(is_task) {
            let place = if program.nodes[task.node as usize].is_deferred { &mut *deferred } else { &mut *next };
            place.push(task);
        }
    }
}

fn plan_sends(program: &Program, next: &mut Vec<Task>, routed: &mut Routed) {
    if routed.sends.is_empty() {
        return;
    }
    let mut sent = vec![0; program.nodes.len()];
    for (node, payload) in routed.sends.drain(..) {
        sent[node as usize] += 1;
        next.push(Task::sent((node, payload), sent[node as usize]));
    }
}

/// Sets the planned tasks of deferred nodes aside. Where nothing else is planned, all that wait are.
pub(crate) fn hold_deferred(program: &Program, position: &mut Position) {
    let Position { next, deferred, .. } = position;
    if program.defers {
        hold(program, next, deferred);
    }
    if next.is_empty() {
        std::mem::swap(next, deferred);
    }
}

fn hold(program: &Program, next: &mut Vec<Task>, deferred: &mut Vec<Task>) {
    let mut sent = vec![0; program.nodes.len()];
    for task in deferred.iter() {
        sent[task.node as usize] = task.trigger;
    }
    for mut task in next.extract_if(.., |task| program.nodes[task.node as usize].is_deferred) {
        if task.trigger == 0 {
            hold_triggered(deferred, task);
        } else {
            // Sends that wait together have come in several steps.
            sent[task.node as usize] += 1;
            task.trigger = sent[task.node as usize];
            deferred.push(task);
        }
    }
}

/// A node that is triggered again while it waits runs once.
fn hold_triggered(deferred: &mut Vec<Task>, task: Task) {
    let triggered = deferred.iter().take_while(|other| other.trigger == 0);
    if triggered.clone().all(|other| other.node != task.node) {
        let place = triggered.take_while(|other| other.node < task.node).count();
        deferred.insert(place, task);
    }
}
