//! Which tasks run next?
//!
//! Pure and deterministic: same program, same finished nodes, same routes, same plan. Nodes that an edge, a join or a
//! goto triggered come first, in the order in which they were added to the graph, each once; then the sends, in the
//! order of the tasks that made them; of one task its gotos, then its branches as they were drawn.

use crate::compile::Program;
use crate::position::Task;

/// Where control goes from a finished step, as routed by its tasks in plan order.
#[derive(Debug, Default)]
pub(crate) struct Routed {
    /// Nodes that were gone to.
    pub(crate) nodes: Vec<u32>,
    /// Nodes and payloads that were sent to.
    pub(crate) sends: Vec<(u32, std::sync::Arc<[u8]>)>,
    /// By branch that is routed once the step was applied: its place among the sends.
    pub(crate) late: Vec<usize>,
}

/// Plans into `next`, which held the finished tasks.
pub(crate) fn plan_step(program: &Program, next: &mut Vec<Task>, routed: &mut Routed, joins: &mut [Vec<bool>]) {
    let mut triggered = std::mem::take(&mut routed.nodes);
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
    triggered.sort_unstable();
    triggered.dedup();
    next.extend(triggered.drain(..).map(|node| Task { node, trigger: 0, payload: None }));
    routed.nodes = triggered;
    plan_sends(program, next, routed);
}

fn plan_sends(program: &Program, next: &mut Vec<Task>, routed: &mut Routed) {
    if routed.sends.is_empty() {
        return;
    }
    let mut sent = vec![0; program.nodes.len()];
    for (node, payload) in routed.sends.drain(..) {
        sent[node as usize] += 1;
        next.push(Task { node, trigger: sent[node as usize], payload: Some(payload) });
    }
}
