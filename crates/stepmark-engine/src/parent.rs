//! What does a node of a sub-graph want of the graphs around it?
//!
//! A command of theirs. It is carried among the node's own routes, and stored with them, until the run of the sub-graph
//! hands it to the node that runs it. A command to the graph around that one is carried on, one level less far.

use std::fmt;
use std::sync::Arc;

use stepmark_core::checkpoint::Manifest;
use stepmark_core::pending::{GotoEntry, ParentEntry, TaskEnd};

use crate::compile::Program;
use crate::desk::Desk;
use crate::error::{Error, Result};
use crate::events::stored::applied_task;
use crate::evolve::{self, StoredWrite};
use crate::execute::Finished;
use crate::flush::{Also, flush_results, goto_entry};
use crate::handle::{Destination, Route};
use crate::load;
use crate::node::{Command, RawOutput};
use crate::node_error::NodeError;
use crate::run::Run;
use crate::schema::AnyUpdate;
use crate::state::{Keep, State, StateUpdate};

/// A command to a graph around the one whose node gave it.
#[derive(Clone)]
pub(crate) struct ParentCommand {
    /// How many graphs out: 1 for the one that runs the sub-graph.
    level: u32,
    writes: Writes,
    /// Routes of that graph alone.
    goto: Vec<Route>,
}

#[derive(Clone)]
enum Writes {
    Typed(Arc<dyn ParentUpdate>),
    /// By channel of that graph's state.
    Encoded(Vec<(usize, Vec<u8>)>),
}

/// An update whose state only the graph around knows.
trait ParentUpdate: Send + Sync {
    fn to_any(&self) -> AnyUpdate;
}

impl<U: StateUpdate> ParentUpdate for U {
    fn to_any(&self) -> AnyUpdate {
        Box::new(self.clone())
    }
}

impl ParentCommand {
    /// A parent's command as routes of its child's node: one for each graph that it concerns.
    pub(crate) fn routes<P: State>(command: Command<P>) -> Vec<Route> {
        let Command { update, goto } = command;
        let (outer, own) = goto.into_iter().partition(|route| matches!(route.to, Destination::Parent(_)));
        let nearest = Self { level: 1, writes: Writes::Typed(Arc::new(update)), goto: own };
        std::iter::once(nearest.into_route()).chain(outer.into_iter().map(Route::one_further)).collect()
    }

    fn into_route(self) -> Route {
        Route { graph: None, to: Destination::Parent(self) }
    }

    /// The program that it is for.
    fn program<'a>(&self, around: &'a [Arc<Program>]) -> Result<&'a Program> {
        let program = (self.level as usize).checked_sub(1).and_then(|level| around.get(level));
        program.map(|program| &**program).ok_or_else(|| Error::invalid("a command to a parent has no parent"))
    }

    fn update(&self, around: &[Arc<Program>]) -> Result<AnyUpdate> {
        let program = self.program(around)?;
        let mut empty = program.schema.empty_update();
        match &self.writes {
            Writes::Typed(update) => {
                let update = update.to_any();
                if (*update).type_id() == (*empty).type_id() {
                    return Ok(update);
                }
                let (graph, state) = (&program.name, program.schema.name());
                Err(Error::invalid(format!("a command to graph {graph:?} has no writes to its state {state:?}")))
            }
            Writes::Encoded(writes) => {
                for (channel, write) in writes {
                    program.schema.decode_write(&mut empty, *channel, write).map_err(Error::invalid)?;
                }
                Ok(empty)
            }
        }
    }

    /// Becomes a part of what a node of the graph that it is for returned. `programs`: that graph's, then those around it.
    fn land(self, programs: &[Arc<Program>], output: &mut RawOutput) -> Result<(), NodeError> {
        let program = self.program(programs).map_err(NodeError::new)?;
        let (schema, update) = (&*program.schema, self.update(programs).map_err(NodeError::new)?);
        let mut channels = Vec::new();
        schema.writes(&update, &mut |channel, _| channels.push(channel));
        for channel in channels {
            schema.decode_write(&mut output.update, channel, &schema.encode_write(&update, channel)?)?;
        }
        output.goto.extend(self.goto);
        Ok(())
    }

    /// The stored form.
    pub(crate) fn entry(&self, around: &[Arc<Program>]) -> Result<ParentEntry> {
        let (program, update) = (self.program(around)?, self.update(around)?);
        let (schema, mut channels) = (&*program.schema, Vec::new());
        schema.writes(&update, &mut |channel, _| channels.push(channel));
        channels.retain(|channel| schema.channels()[*channel].keep != Keep::Untracked);
        let mut writes = Vec::with_capacity(channels.len());
        for channel in channels {
            let write = schema.encode_write(&update, channel).map_err(Error::invalid)?;
            writes.push((schema.channels()[channel].name.into(), write));
        }
        let is_foreign = |route: &&Route| route.graph.is_some_and(|graph| graph != program.id);
        if self.goto.iter().any(|route| is_foreign(&route)) {
            let graph = &program.name;
            return Err(Error::invalid(format!("a command to graph {graph:?} goes to a node of another graph")));
        }
        let goto = self.goto.iter().map(|route| goto_entry((program, &[]), route)).collect::<Result<_>>()?;
        Ok(ParentEntry { level: self.level, state_version: schema.version(), writes, goto })
    }

    /// Reads the stored form.
    pub(crate) fn of_entry(around: &[Arc<Program>], entry: ParentEntry) -> Result<Route> {
        let ParentEntry { level, state_version, writes, goto } = entry;
        let command = Self { level, writes: Writes::Encoded(Vec::new()), goto: Vec::new() };
        let program = command.program(around)?;
        let stored = writes.into_iter().map(|(name, bytes)| StoredWrite { name, bytes, place: None });
        let taken = evolve::writes(program, state_version, stored.collect()).map_err(Error::invalid)?;
        let writes = Writes::Encoded(taken.into_iter().map(|write| (write.channel, write.bytes)).collect());
        let goto = goto.into_iter().map(|entry| load::route((program, &[]), entry)).collect::<Result<_>>()?;
        Ok(Self { writes, goto, ..command }.into_route())
    }
}

impl Route {
    /// The same from inside of one more sub-graph.
    fn one_further(self) -> Self {
        match self.to {
            Destination::Parent(command) => ParentCommand { level: command.level + 1, ..command }.into_route(),
            Destination::End | Destination::Node(_) | Destination::Send { .. } => self,
        }
    }
}

impl RawOutput {
    /// Takes over what sub-graphs commanded: what is for this graph becomes a part of it, the rest goes further out.
    pub(crate) fn obey(&mut self, commands: Vec<Route>, programs: &[Arc<Program>]) -> Result<(), NodeError> {
        for route in commands {
            match route.to {
                Destination::Parent(command) if command.level == 1 => command.land(programs, self)?,
                Destination::Parent(command) => {
                    self.goto.push(ParentCommand { level: command.level - 1, ..command }.into_route());
                }
                Destination::End | Destination::Node(_) | Destination::Send { .. } => {}
            }
        }
        Ok(())
    }
}

/// Whether a task's routes command a graph around its own.
pub(crate) fn commands(goto: &[Route]) -> bool {
    goto.iter().any(|route| matches!(route.to, Destination::Parent(_)))
}

/// Whether all commands to parents among a task's routes can be given and stored.
pub(crate) fn check(run: &Run, task: usize, goto: &[Route]) -> Result<(), NodeError> {
    let program = &run.host.program;
    let node = &program.nodes[run.position.next[task].node as usize].name;
    for route in goto {
        let Destination::Parent(command) = &route.to else { continue };
        if command.level as usize >= run.programs.len() {
            return Err(misplaced(program, node));
        }
        command.entry(&run.programs[1..]).map_err(|error| NodeError::new(format_args!("node {node:?}: {error}")))?;
    }
    Ok(())
}

/// Stores the results that command parents, before their step is: who comes back to the sub-graph's end finds them.
pub(crate) async fn store(run: &mut Run) -> Result<()> {
    if !run.finished.iter().any(|done| commands(&done.goto)) {
        return Ok(());
    }
    let mut results: Vec<Option<Finished>> = run.finished.drain(..).map(Some).collect();
    flush_results(run, &mut results, Also::default()).await?;
    run.finished.extend(results.into_iter().flatten());
    Ok(())
}

/// Takes a command of a task to a graph around. Two tasks of one step cannot be told apart there.
pub(crate) fn keep(run: &mut Run, task: usize, route: &Route) -> Result<(), NodeError> {
    if let Some(earlier) = run.routed.commanding.replace(task).filter(|earlier| *earlier != task) {
        let name = |task: usize| &run.host.program.nodes[run.position.next[task].node as usize].name;
        let (first, second) = (name(earlier), name(task));
        return Err(NodeError::new(format_args!("nodes {first:?} and {second:?} command a parent graph in one step")));
    }
    run.commands.push(route.clone());
    Ok(())
}

/// Ends a sub-graph that commanded a graph around: what it had planned is left behind.
pub(crate) fn end(run: &mut Run) {
    if run.routed.commanding.take().is_some() {
        run.position.next.clear();
        run.position.forget_waiting();
    }
}

/// What the last step of a sub-graph commanded, which had ended before.
pub(crate) fn stored(
    namespace: &str,
    manifest: &Manifest,
    programs: &[Arc<Program>],
    desk: &Desk,
) -> Result<Vec<Route>> {
    let mut commands = Vec::new();
    for task in &manifest.tasks {
        let record = desk.known(applied_task(namespace, manifest, task));
        let Some(TaskEnd::Done { goto, .. }) = record.map(|record| record.end) else { continue };
        for entry in goto {
            if let GotoEntry::Parent(entry) = entry {
                commands.push(ParentCommand::of_entry(&programs[1..], entry)?);
            }
        }
    }
    Ok(commands)
}

/// The error of a command to a parent where there is none.
pub(crate) fn misplaced(program: &Program, node: &str) -> NodeError {
    NodeError::new(format_args!(
        "node {node:?} commands a parent graph, but graph {:?} does not run inside one that far out",
        program.name
    ))
}

impl fmt::Debug for ParentCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParentCommand").field("level", &self.level).field("goto", &self.goto).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};
    use stepmark_macros::State;

    use super::*;
    use crate::graph::Graph;
    use crate::handle::NodeRef;
    use crate::reducer::Append;

    #[derive(State, Clone, Default, Serialize, Deserialize)]
    struct Outer {
        #[reduce(Append)]
        log: Vec<String>,
        count: u32,
    }

    #[derive(State, Clone, Default, Serialize, Deserialize)]
    struct Inner {
        word: String,
    }

    fn outer(name: &str) -> (Arc<Program>, NodeRef<Outer>) {
        let mut graph = Graph::<Outer>::new(name);
        let billing = graph.node("billing", async || ());
        graph.start(billing);
        (Arc::clone(&graph.build().expect("a graph").host().program), billing)
    }

    fn said(word: &str) -> Command<Outer> {
        Command::<Outer>::new().write(|outer| outer.log.push(word.into()))
    }

    fn raw(Command { update, goto }: Command<Outer>) -> RawOutput {
        RawOutput { update: Box::new(update), goto }
    }

    /// The same after it was stored.
    fn stored(routes: Vec<Route>, around: &[Arc<Program>]) -> Vec<Route> {
        let stored = routes.into_iter().map(|route| {
            let Destination::Parent(command) = &route.to else { return route };
            ParentCommand::of_entry(around, command.entry(around).expect("a stored form")).expect("readable")
        });
        stored.collect()
    }

    #[test]
    fn a_command_reaches_the_graph_that_it_is_for_also_from_the_store() {
        let ((near, billing), (far, desk)) = (outer("near"), outer("far"));
        let around = [near, far];
        let command = said("near").goto(billing).to_parent(said("far").goto(desk));
        let command = Command::<Inner>::new().to_parent(command);
        for goto in [command.goto.clone(), stored(command.goto, &around)] {
            let mut here = raw(said("lost").write(|outer| outer.count.set(1)));
            here.obey(goto, &around).expect("it is for this state");
            let schema = &around[0].schema;
            let words = |output: &RawOutput| schema.encode_write(&output.update, 0).expect("written");
            assert_eq!(words(&here), words(&raw(said("near"))));
            assert!(schema.encode_write(&here.update, 1).is_ok() && matches!(here.goto[0].to, Destination::Node(0)));
            let mut there = raw(Command::new());
            there.obey(here.goto.split_off(1), &around[1..]).expect("it is for this state");
            assert_eq!(words(&there), words(&raw(said("far"))));
            assert_eq!(there.goto.len(), 1);
        }
    }

    #[test]
    fn a_command_for_another_graph_is_refused() {
        let ((near, _), (_, foreign)) = (outer("near"), outer("far"));
        let around = [near];
        let entry = |command: Command<Inner>| {
            let Destination::Parent(command) = &command.goto[0].to else { return String::new() };
            command.entry(&around).expect_err("it is for another graph").to_string()
        };
        let elsewhere = entry(Command::new().to_parent(said("near").goto(foreign)));
        assert!(elsewhere.contains("goes to a node of another graph"), "{elsewhere}");
        let untyped = entry(Command::new().to_parent(Command::<Inner>::new()));
        assert!(untyped.contains("a command to graph \"near\" has no writes to its state \"Outer\""), "{untyped}");
    }
}
