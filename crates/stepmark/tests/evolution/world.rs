//! A graph over any state, and a look at what is stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rmpv::Value;
use stepmark::graph::NodeOutput;
use stepmark::run::CheckpointId;
use stepmark::store::{Channels, CheckpointStore, Load, Loaded, Place, ThreadAddress};
use stepmark::{App, Dep, Graph, MemoryStore, NodeError, Snap, State, Update};
use stepmark_core::checkpoint::Manifest;
use stepmark_core::load::manifest_of;
use stepmark_core::materialise::materialise;
use stepmark_core::value::ValueNode;

/// Whether the second node of the step fails.
#[derive(Clone, Default)]
pub(crate) struct Stuck(Arc<AtomicBool>);

/// work, which writes, and wait, in one step.
pub(crate) fn app<S: State>(store: &MemoryStore, write: fn(&S, &mut Update<S>)) -> App<S> {
    stuck_app(store, write, &Stuck::default())
}

/// The same, but wait fails.
pub(crate) fn stuck<S: State>(store: &MemoryStore, write: fn(&S, &mut Update<S>)) -> App<S> {
    stuck_app(store, write, &Stuck(Arc::new(AtomicBool::new(true))))
}

fn stuck_app<S: State>(store: &MemoryStore, write: fn(&S, &mut Update<S>), stuck: &Stuck) -> App<S> {
    let work = move |state: Snap<S>| async move {
        let mut update = Update::<S>::default();
        write(&state, &mut update);
        Ok::<_, NodeError>(NodeOutput { update, goto: Vec::new() })
    };
    let wait = |stuck: Dep<Stuck>| async move {
        if stuck.0.load(Ordering::SeqCst) { Err(NodeError::new("stuck")) } else { Ok(()) }
    };
    let mut graph = Graph::<S>::new("order");
    let (work, wait) = (graph.node("work", work), graph.node("wait", wait));
    graph.start(work);
    graph.start(wait);
    graph.build().expect("valid").with(store.clone()).provide(stuck.clone())
}

async fn load(store: &MemoryStore, thread: &str, place: Place) -> Loaded {
    let thread = ThreadAddress::Name { scope: String::new(), name: thread.to_owned() };
    store.load(Load { place, channels: Channels::All, ..Load::head(thread) }).await.expect("readable")
}

/// What a checkpoint of thread `t` is.
pub(crate) async fn manifest(store: &MemoryStore, checkpoint: &CheckpointId) -> Manifest {
    let loaded = load(store, "t", Place::Checkpoint(checkpoint.clone())).await;
    manifest_of(&loaded.checkpoint.expect("present")).expect("readable")
}

/// The newest value node of a channel.
pub(crate) async fn newest_node(store: &MemoryStore, checkpoint: &CheckpointId, channel: &str) -> ValueNode {
    let value = manifest(store, checkpoint).await.channel(channel).expect("has a value");
    let loaded = load(store, "t", Place::Checkpoint(checkpoint.clone())).await;
    let chain = loaded.chains.into_iter().find(|chain| chain.nodes[0].0 == value.address).expect("returned");
    chain.nodes[0].1.clone()
}

/// What the tip of a thread stores under a name, whatever today's program calls it.
pub(crate) async fn value(store: &MemoryStore, thread: &str, channel: &str) -> Option<Value> {
    let loaded = load(store, thread, Place::Head).await;
    let value = manifest_of(loaded.checkpoint.as_ref()?).expect("readable").channel(channel)?;
    let chain = loaded.chains.iter().find(|chain| chain.nodes[0].0 == value.address).expect("returned");
    let nodes: Vec<&ValueNode> = chain.nodes.iter().map(|(_, node)| node).collect();
    let mut raw = &materialise(&nodes).expect("whole")[..];
    Some(rmpv::decode::read_value(&mut raw).expect("messagepack"))
}
