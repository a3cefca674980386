//! How does a drawing become a graph?

use std::sync::Arc;
use std::time::Duration;

use stepmark::graph::SubGraph;
use stepmark::robust::Attempts;
use stepmark::{App, Command, Cx, Dep, END, Graph, NodeError, NodeRef, Retry, Route, Snap, to};

use crate::drawn::{Does, Drawn, Fails, Inner, Lives, Node, Stage, Stop, Way};
use crate::lab::Lab;
use crate::nodes::{BROKEN_TIMES, Doable, Job, give, handler, limit, plain, sent, take};
use crate::state::Trail;

/// More attempts than a task has failures and crashes.
const TIMES: u32 = 40;

/// Where a sub-graph's last node goes in the graph around.
type Targets = (NodeRef<Trail>, NodeRef<Trail, u32>);

impl Drawn {
    /// The outermost graph.
    pub(crate) fn build(&self) -> App<Trail> {
        let graph = self.graph(None);
        match self.width_max {
            Some(width) => graph.concurrency_max(width),
            None => graph,
        }
    }

    fn graph(&self, tells: Option<Targets>) -> App<Trail> {
        let mut graph = Graph::<Trail>::new(format!("level {}", self.level));
        let first = graph.node("begin", async || ());
        graph.start(first);
        let mut before = first;
        for (number, stage) in self.stages.iter().enumerate() {
            before = stage.add(&mut graph, (self, number), before);
        }
        let turn = graph.node("turn", async |trail: Snap<Trail>| {
            let mut update = trail.update();
            update.turns.add(1);
            update
        });
        graph.edge(before, turn);
        let turns = self.turns;
        let goes_on = move |trail: &Trail| !trail.turns.is_multiple_of(turns);
        match tells {
            None => graph.branch(
                turn,
                to![first, END],
                move |trail: &Trail| {
                    if goes_on(trail) { first.into() } else { Route::END }
                },
            ),
            Some(targets) => {
                let kind = if self.is_stateless() { "stateless telling task" } else { "telling task" };
                let tell = graph.node("tell", move |trail: Snap<Trail>, cx: Cx<Trail>, lab: Dep<Lab>| async move {
                    tell(&trail, (&cx, &lab, kind), targets).await
                });
                graph.branch(turn, to![first, tell], move |trail: &Trail| if goes_on(trail) { first } else { tell });
            }
        }
        graph.build().expect("it can run")
    }
}

/// Commands the graph around.
async fn tell(
    trail: &Snap<Trail>,
    (cx, lab, kind): (&Cx<Trail>, &Lab, &'static str),
    (node, sends): Targets,
) -> Command<Trail> {
    let doing = lab.begin(kind, format!("tell {}", cx.task_id()));
    lab.pause("tell", Duration::from_millis(trail.log.len() as u64 % 9)).await;
    let (lines, here) = (trail.log.len(), trail.command().write(|trail| trail.log.push("told".into())));
    let there = Command::<Trail>::new().write(|trail| trail.log.push(format!("told after {lines}")));
    doing.end();
    here.to_parent(there.goto(node).goto(sends.send(1)).goto(sends.send(2)))
}

impl Stage {
    /// Adds the stage and the gate after it, which is returned.
    fn add(&self, graph: &mut Graph<Trail>, (of, number): (&Drawn, usize), before: NodeRef<Trail>) -> NodeRef<Trail> {
        let kind = match of.lives {
            None => "gate",
            Some(Lives::Private) => "gate of a private sub-graph",
            Some(Lives::Persistent) => "gate of a persistent sub-graph",
            Some(Lives::Stateless) => "stateless gate",
        };
        let passed = self.way.passed();
        let gate = graph.node(&format!("gate {number}"), move |cx: Cx<Trail>, lab: Dep<Lab>| async move {
            lab.meet(passed);
            lab.begin(kind, format!("gate {}", cx.task_id())).end();
        });
        match self.stop {
            Some(Stop::Before) => graph.interrupt_before(gate),
            Some(Stop::After) => graph.interrupt_after(gate),
            None => {}
        }
        self.way.add(graph, (of, number), (before, gate));
        gate
    }
}

impl Way {
    /// Adds what leads from gate to gate.
    fn add(
        &self,
        graph: &mut Graph<Trail>,
        (of, number): (&Drawn, usize),
        (before, gate): (NodeRef<Trail>, NodeRef<Trail>),
    ) {
        let name = |place: usize| format!("node {number}.{place}");
        match self {
            Way::Beside(nodes) => {
                let nodes = nodes.iter().enumerate().map(|(place, node)| node.plain(graph, of, &name(place)));
                beside(&nodes.collect::<Vec<_>>(), graph, (before, gate));
            }
            Way::Sent { count, node, is_deferred } => {
                let (node, count) = (node.sent(graph, of, &name(0)), *count);
                if *is_deferred {
                    graph.defer(node);
                }
                graph.branch(before, to![node], move |_: &Trail| {
                    (0..count).map(|number| node.send(number)).collect::<Vec<Route>>()
                });
                graph.edge(node, gate);
            }
            Way::Chosen([one, other, third]) => {
                let (one, other) = (one.plain(graph, of, &name(0)), other.plain(graph, of, &name(1)));
                let third = third.sent(graph, of, &name(2));
                choose(graph, number, (before, gate), (one, other, third));
            }
            Way::Ladder(chains) => {
                for (chain, nodes) in chains.iter().enumerate() {
                    let mut last = before;
                    for (place, node) in nodes.iter().enumerate() {
                        let node = node.plain(graph, of, &format!("node {number}.{chain}.{place}"));
                        graph.edge(last, node);
                        last = node;
                    }
                    graph.edge(last, gate);
                }
                graph.defer(gate);
            }
            Way::Told { inner, is_called, nodes: [node, third] } => {
                let targets = (node.plain(graph, of, &name(0)), third.sent(graph, of, &name(1)));
                let inner = inner.build(Some(targets));
                let desk = if *is_called {
                    let does = Arc::new(Doable::Calls(1, inner));
                    let job = Job {
                        does,
                        fails: Fails::Never,
                        fails_late: false,
                        level: of.level,
                        is_stateless: of.is_stateless(),
                    };
                    graph.node(&format!("desk {number}"), plain(job))
                } else {
                    graph.node(&format!("desk {number}"), inner.mapped(give, take))
                };
                graph.edge(before, desk);
                graph.goto(desk, to![targets.0, targets.1]);
                graph.edge(targets.0, gate);
                graph.edge(targets.1, gate);
            }
        }
    }
}

fn beside(nodes: &[NodeRef<Trail>], graph: &mut Graph<Trail>, (before, gate): (NodeRef<Trail>, NodeRef<Trail>)) {
    for node in nodes {
        graph.edge(before, *node);
    }
    match *nodes {
        [one] => graph.edge(one, gate),
        [one, two] => graph.join(to![one, two], gate),
        [one, two, three, ..] => graph.join(to![one, two, three], gate),
        [] => graph.edge(before, gate),
    }
}

/// A node that goes to one of two, and sends to the third besides.
fn choose(
    graph: &mut Graph<Trail>,
    number: usize,
    (before, gate): (NodeRef<Trail>, NodeRef<Trail>),
    (one, other, third): (NodeRef<Trail>, NodeRef<Trail>, NodeRef<Trail, u32>),
) {
    let chooser = graph.node(&format!("chooser {number}"), move |trail: Snap<Trail>, lab: Dep<Lab>| async move {
        lab.meet("command");
        let lines = trail.log.len();
        let command = trail.command().write(|trail| trail.log.push(format!("chosen after {lines}")));
        let command = command.goto(if lines.is_multiple_of(2) { one } else { other });
        if lines.is_multiple_of(3) { command } else { command.goto(third.send(5)).goto(third.send(6)) }
    });
    graph.edge(before, chooser);
    graph.goto(chooser, to![one, other, third]);
    graph.edge(one, gate);
    graph.edge(other, gate);
    graph.edge(third, gate);
}

impl Node {
    fn plain(&self, graph: &mut Graph<Trail>, of: &Drawn, name: &str) -> NodeRef<Trail> {
        if let Does::Graph(inner) = &self.does {
            return graph.node(name, inner.build(None).mapped(give, take));
        }
        let node = graph.node(name, plain(self.job(of)));
        self.rule(graph, of, node);
        node
    }

    fn sent(&self, graph: &mut Graph<Trail>, of: &Drawn, name: &str) -> NodeRef<Trail, u32> {
        let node = graph.node(name, sent(self.job(of)));
        self.rule(graph, of, node);
        node
    }

    fn job(&self, of: &Drawn) -> Job {
        let does = match &self.does {
            Does::Write => Doable::Write,
            Does::Steps(count) => Doable::Steps(*count),
            Does::Race => Doable::Race,
            Does::Ask(count) => Doable::Ask(*count),
            Does::Pay { asks } => Doable::Pay { asks: *asks },
            Does::Graph(inner) => Doable::Calls(1, inner.build(None)),
            Does::Calls(times, inner) => Doable::Calls(*times, inner.build(None)),
            Does::CallsAtOnce(times, inner) => Doable::CallsAtOnce(*times, inner.build(None)),
        };
        Job {
            does: Arc::new(does),
            fails: self.fails,
            fails_late: self.fails_late,
            level: self.level,
            is_stateless: of.is_stateless(),
        }
    }

    /// Says how the node may fail.
    fn rule<P>(&self, graph: &mut Graph<Trail>, of: &Drawn, node: NodeRef<Trail, P>) {
        let ms = Duration::from_millis;
        let again = Retry::times(TIMES).backoff(ms(3), 2.0, ms(3_000)).jitter(0.5);
        if let Some(slots) = self.slots {
            graph.policy(node).concurrency_max(slots);
        }
        let mut policy = graph.policy(node);
        let counted = |is_durable| if is_durable { Attempts::Durable } else { Attempts::InProcess };
        match self.fails {
            Fails::Never | Fails::Once | Fails::Stalls => {}
            Fails::Flaky { is_durable, .. } => {
                policy.attempts(counted(is_durable)).retry(again);
            }
            Fails::Panics => {
                policy.retry(Retry::times(1).when(NodeError::is_timeout)).retry(again);
            }
            Fails::Hangs => {
                policy.timeout(limit(self.level)).retry(again.when(NodeError::is_timeout));
            }
            Fails::Silent => {
                policy.idle_timeout(limit(self.level)).retry(again.when(NodeError::is_timeout));
            }
            Fails::Broken { is_durable, handler: kind } => {
                let broken = Retry::times(BROKEN_TIMES).backoff(ms(3), 2.0, ms(3_000));
                let of = if of.is_stateless() { "stateless handler" } else { "handler" };
                policy.attempts(counted(is_durable)).retry(broken).on_error(handler((kind, of)));
            }
        }
    }
}

impl Inner {
    fn build(&self, tells: Option<Targets>) -> SubGraph<Trail> {
        let graph = SubGraph::new(&self.graph.graph(tells));
        match self.lives {
            Lives::Private => graph,
            Lives::Persistent => graph.persistent(),
            Lives::Stateless => graph.stateless(),
        }
    }
}
