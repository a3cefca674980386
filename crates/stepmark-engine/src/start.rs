//! Where does a run begin, if not at its graph's start?
//!
//! At the nodes that its input goes to, by handle or by name; answers lead there beside what is planned. What is named is
//! looked up before anything is written.

use std::sync::Arc;

use serde::Serialize;
use stepmark_core::error::Subject;
use stepmark_core::wire::Writer;

use crate::answer::AnswerRequest;
use crate::compile::Program;
use crate::encode::{self, EncodeError};
use crate::error::{Error, Result};
use crate::handle::{Destination, IntoRoutes, Route};
use crate::plan::Routed;
use crate::request::Request;
use crate::state::State;

/// Where an input goes; `None`: to the graph's start.
#[derive(Debug, Default)]
pub(crate) struct StartAt(Option<Vec<Target>>);

#[derive(Debug)]
enum Target {
    Route(Route),
    Named(String),
    Sent(String, Result<Arc<[u8]>, EncodeError>),
}

impl<S: State> Request<'_, S> {
    /// Begins the run at this node, or with `node.send(payload)`, in place of the graph's start; called again, at that one
    /// as well. Any node of the graph may be meant: a run that begins there plans as if its steps had led there. Handles are
    /// those that drawing the graph returned.
    ///
    /// Where it goes is a part of the input: a repeated run id that goes elsewhere is `RunIdReused`.
    #[must_use]
    pub fn goto(mut self, routes: impl IntoRoutes) -> Self {
        self.start_at.add(routes);
        self
    }

    /// The same for a caller without handles: by the node's name, or one of its aliases. A name that no node has is
    /// `Missing`.
    #[must_use]
    pub fn goto_named(mut self, node: impl Into<String>) -> Self {
        self.start_at.add_named(node);
        self
    }

    /// Begins the run with a payload for a node, by name: a value that serializes as what the node takes.
    #[must_use]
    pub fn send_named(mut self, node: impl Into<String>, payload: &(impl Serialize + ?Sized)) -> Self {
        self.start_at.add_sent(node, payload);
        self
    }
}

impl<S: State> AnswerRequest<'_, S> {
    /// Runs this node as well, or `node.send(payload)`, in the step that the answers let go on: beside what is planned, once.
    /// With a `goto` the answers are given as with an [`update`](Self::update), in one checkpoint.
    pub fn goto(mut self, routes: impl IntoRoutes) -> Self {
        self.start_at.add(routes);
        self.update(|_| ())
    }

    /// The same for a caller without handles: by the node's name, or one of its aliases. A name that no node has is
    /// `Missing`.
    pub fn goto_named(mut self, node: impl Into<String>) -> Self {
        self.start_at.add_named(node);
        self.update(|_| ())
    }

    /// Runs a node with a payload as well, by name: a value that serializes as what the node takes.
    pub fn send_named(mut self, node: impl Into<String>, payload: &(impl Serialize + ?Sized)) -> Self {
        self.start_at.add_sent(node, payload);
        self.update(|_| ())
    }
}

impl StartAt {
    fn add(&mut self, routes: impl IntoRoutes) {
        let routes = routes.into_routes().into_iter().map(Target::Route);
        self.0.get_or_insert_default().extend(routes);
    }

    fn add_named(&mut self, node: impl Into<String>) {
        self.0.get_or_insert_default().push(Target::Named(node.into()));
    }

    fn add_sent(&mut self, node: impl Into<String>, payload: &(impl Serialize + ?Sized)) {
        let payload = encode::to_bytes(payload).map(Arc::from);
        self.0.get_or_insert_default().push(Target::Sent(node.into(), payload));
    }

    /// Whether the run begins elsewhere than at the graph's start.
    pub(crate) fn is_given(&self) -> bool {
        self.0.is_some()
    }

    /// What is planned; `None`: the graph's start. An error names what this program does not have.
    pub(crate) fn routed(&self, program: &Program) -> Result<Option<Routed>> {
        let Some(targets) = &self.0 else { return Ok(None) };
        let mut routed = Routed::default();
        for target in targets {
            let (node, payload) = match target {
                Target::Named(name) => (known_node(program, name)?, None),
                Target::Sent(name, payload) => (known_node(program, name)?, Some(payload)),
                Target::Route(route) => target_of(program, route)?,
            };
            match payload {
                None => routed.nodes.push(node),
                Some(payload) => routed.sends.push((node, sendable(program, node, payload)?)),
            }
        }
        if routed.nodes.is_empty() && routed.sends.is_empty() {
            return Err(Error::invalid("the input goes to no node"));
        }
        Ok(Some(routed))
    }
}

impl Routed {
    /// Where it goes, for the hash of an input.
    pub(crate) fn write(&self, program: &Program, writer: &mut Writer) {
        let mut nodes = self.nodes.clone();
        nodes.sort_unstable();
        nodes.dedup();
        writer.varint(nodes.len() as u64);
        for node in nodes {
            writer.str(&program.nodes[node as usize].name);
        }
        writer.varint(self.sends.len() as u64);
        for (node, payload) in &self.sends {
            writer.str(&program.nodes[*node as usize].name).bytes(payload);
        }
    }
}

type Payload = Result<Arc<[u8]>, EncodeError>;

fn target_of<'a>(program: &Program, route: &'a Route) -> Result<(u32, Option<&'a Payload>)> {
    if route.graph.is_some_and(|graph| graph != program.id) {
        let message = format!("the input goes to a node of another graph than {:?}: name the node", program.name);
        return Err(Error::invalid(message));
    }
    match &route.to {
        Destination::Node(node) => Ok((*node, None)),
        Destination::Send { node, payload } => Ok((*node, Some(payload))),
        Destination::End => Err(Error::invalid("an input cannot go to END: `update(..).as_node(END)` runs nothing")),
        Destination::Parent(_) => Err(Error::invalid("an input cannot go to a parent graph")),
    }
}

fn sendable(program: &Program, node: u32, payload: &Payload) -> Result<Arc<[u8]>> {
    let name = &program.nodes[node as usize].name;
    payload.clone().map_err(|error| Error::invalid(format!("the payload for node {name:?}: {error}")))
}

/// The node that somebody outside of the graph names.
pub(crate) fn known_node(program: &Program, name: &str) -> Result<u32> {
    let reason = format!("graph {:?} has {}", program.name, node_names(program));
    program.node(name).ok_or_else(|| stepmark_core::error::Error::missing(Subject::Node, name, reason).into())
}

/// The nodes of a program, for messages.
pub(crate) fn node_names(program: &Program) -> String {
    let names: Vec<&str> = program.nodes.iter().map(|node| &*node.name).collect();
    names.join(", ")
}
