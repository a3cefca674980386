//! What do the nodes of a drawing do when they run?

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use stepmark::effects::Unknown;
use stepmark::graph::SubGraph;
use stepmark::robust::TaskFailure;
use stepmark::steps::DurableStep;
use stepmark::{Cx, Dep, In, NodeError, NodeResult, Snap, Update};

use crate::drawn::{Fails, Handler};
use crate::lab::Lab;
use crate::payments::Payment;
use crate::state::{HowMany, Trail};

/// Longer than every limit.
const FOREVER: Duration = Duration::from_hours(10_000);

/// The limit of every super-step of the outermost graph.
pub(crate) const STEP_MAX: Duration = Duration::from_hours(1_000);

/// The limit of an attempt that may hang, and of its silence: less than that of a node that calls it.
pub(crate) fn limit(level: u32) -> Duration {
    Duration::from_hours(100) / 60_u32.pow(level)
}

/// How often a durable node that is broken is tried.
pub(crate) const BROKEN_TIMES: u32 = 3;

/// A node's work, ready to be done.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) does: Arc<Doable>,
    pub(crate) fails: Fails,
    pub(crate) fails_late: bool,
    pub(crate) level: u32,
    pub(crate) is_stateless: bool,
}

/// What is done, with its sub-graphs built.
pub(crate) enum Doable {
    Write,
    Steps(u32),
    Race,
    Ask(u32),
    /// Where an earlier attempt at it was lost, a person decides.
    Pay {
        asks: bool,
    },
    Calls(u32, SubGraph<Trail>),
    CallsAtOnce(u32, SubGraph<Trail>),
}

pub(crate) type Given = (Snap<Trail>, Cx<Trail>, Dep<Lab>);

/// A task while it runs.
struct Task<'a> {
    trail: &'a Snap<Trail>,
    cx: &'a Cx<Trail>,
    lab: &'a Lab,
    /// What it says of itself: the same at every run.
    who: String,
}

impl Job {
    /// As a node.
    pub(crate) async fn run(self, (trail, cx, lab): Given, payload: u32) -> NodeResult<Update<Trail>> {
        let who = format!("{} {payload} after {}", cx.node(), trail.log.len());
        let task = Task { trail: &trail, cx: &cx, lab: &lab, who };
        let doing = lab.begin(self.kind(), task.named("task"));
        let place = matches!(self.fails, Fails::Broken { is_durable: true, .. }).then(|| place(cx.node(), &trail));
        place.iter().for_each(|place| lab.attempt(place));
        let made = self.attempt(&task).await;
        if made.is_err() {
            place.iter().for_each(|place| lab.attempt_failed(place));
        }
        let update = made?;
        doing.end();
        Ok(update)
    }

    async fn attempt(&self, task: &Task<'_>) -> NodeResult<Update<Trail>> {
        let mut update = task.trail.update();
        if !self.fails_late {
            self.fail(task).await?;
        }
        self.work(task, &mut update).await?;
        if self.fails_late {
            self.fail(task).await?;
        }
        Ok(update)
    }

    /// What the world calls a task of this kind.
    fn kind(&self) -> &'static str {
        // An attempt that ended with a question does not count.
        let asks = !matches!(*self.does, Doable::Write | Doable::Steps(_) | Doable::Race)
            || matches!(self.fails, Fails::Broken { handler: Handler::Asks, .. });
        match self.fails {
            _ if self.is_stateless => "stateless task",
            Fails::Broken { is_durable: true, .. } if !asks => "broken task counted durably",
            Fails::Broken { .. } => "broken task",
            Fails::Flaky { is_durable: true, .. } => "flaky task counted durably",
            _ => match &*self.does {
                Doable::Write => "writing task",
                Doable::Steps(_) => "task with steps",
                Doable::Race => "task with a race",
                Doable::Ask(_) => "asking task",
                Doable::Pay { .. } => "paying task",
                Doable::Calls(..) => "calling task",
                Doable::CallsAtOnce(..) => "task that calls at once",
            },
        }
    }

    /// Calls a service, which fails by the drawing.
    async fn fail(&self, task: &Task<'_>) -> NodeResult<()> {
        let call = task.lab.call(task.named("call"));
        let failed = |how: &'static str| {
            task.lab.meet(how);
            Err(NodeError::new(how))
        };
        if call == 1 && matches!(self.fails, Fails::Once | Fails::Stalls) {
            task.lab.again();
            task.lab.meet(if self.fails == Fails::Once { "call failed a run" } else { "call stalled a step" });
        }
        match self.fails {
            Fails::Flaky { times, .. } if call <= times => failed("service was flaky"),
            Fails::Once if call == 1 => failed("service failed the run"),
            Fails::Panics if call == 1 => {
                task.lab.meet("task panicked");
                std::panic::resume_unwind(Box::new("a simulated panic"))
            }
            Fails::Hangs | Fails::Silent | Fails::Stalls if call == 1 => {
                task.lab.meet(format!("attempt met {:?}", self.fails));
                let doing = task.lab.begin("call without an answer", task.named("endless call"));
                task.lab.pause(&task.who, FOREVER).await;
                doing.end();
                failed("service answered after all")
            }
            Fails::Silent => {
                for _ in 0..3 {
                    task.lab.pause(&task.who, limit(self.level) * 2 / 3).await;
                    task.cx.heartbeat();
                }
                task.lab.meet("heartbeats kept an attempt alive");
                Ok(())
            }
            Fails::Broken { .. } => failed("service was broken"),
            Fails::Never | Fails::Once | Fails::Panics | Fails::Flaky { .. } | Fails::Hangs | Fails::Stalls => Ok(()),
        }
    }

    async fn work(&self, task: &Task<'_>, update: &mut Update<Trail>) -> NodeResult<()> {
        match &*self.does {
            Doable::Write => {
                task.pause(&task.who).await;
                update.log.push(task.who.clone());
            }
            Doable::Steps(count) => task.steps(*count, update).await?,
            Doable::Race => task.race(update).await?,
            Doable::Ask(count) => task.ask(*count, update).await?,
            Doable::Pay { asks } => task.pay(*asks, update).await?,
            Doable::Calls(times, graph) => {
                for number in 0..*times {
                    take(&*task.call(graph).await?, update);
                    update.log.push(task.step(&format!("between {number}")).await?);
                }
            }
            Doable::CallsAtOnce(times, graph) => {
                let calls = (0..*times).map(|_| task.call(graph));
                // Each goes on until it has asked, also when another has.
                let ended: NodeResult<Vec<_>> = join_all(calls).await.into_iter().collect();
                ended?.iter().for_each(|inner| take(inner, update));
            }
        }
        Ok(())
    }
}

impl Task<'_> {
    fn named(&self, what: &str) -> String {
        format!("{what} of {} {}", self.cx.node(), self.cx.task_id())
    }

    /// Some work takes longer than a result waits before it is stored.
    async fn pause(&self, what: &str) {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        self.lab.pause(what, Duration::from_millis(hasher.finish() % 12)).await;
    }

    fn step(&self, name: &str) -> DurableStep<'_, String> {
        let (lab, unit, name) = (self.lab, self.named(&format!("step {name}")), name.to_owned());
        self.cx.step(&name.clone(), move || {
            let (unit, name) = (unit.clone(), name.clone());
            async move {
                let doing = lab.begin("step", unit.clone());
                lab.pause(&unit, Duration::from_millis(unit.len() as u64 % 10)).await;
                doing.end();
                NodeResult::Ok(name)
            }
        })
    }

    async fn steps(&self, count: u32, update: &mut Update<Trail>) -> NodeResult<()> {
        for number in 0..count {
            let looked = self.step(&format!("look {number}")).await?;
            update.log.push(format!("{} {looked}", self.who));
        }
        let (left, right) = tokio::try_join!(self.step("left"), self.step("right"))?;
        update.log.push(format!("{} {left} {right}", self.who));
        Ok(())
    }

    /// The slow arm is dropped when the quick one has won.
    async fn race(&self, update: &mut Update<Trail>) -> NodeResult<()> {
        let unit = self.named("race");
        let (quick, slow) = (format!("quick {unit}"), format!("slow {unit}"));
        let won = self
            .cx
            .race("race")
            .arm("quick", || async {
                let doing = self.lab.begin("race", quick.clone());
                self.lab.pause(&quick, Duration::from_millis(7)).await;
                doing.end();
                NodeResult::Ok(7)
            })
            .arm("slow", || async {
                self.lab.pause(&slow, Duration::from_millis(70)).await;
                self.lab.wrong(format!("{slow} went on when the race was over"));
                NodeResult::Ok(70)
            })
            .await?;
        update.log.push(format!("{} {} {}", self.who, won.arm, won.value));
        Ok(())
    }

    async fn ask(&self, count: u32, update: &mut Update<Trail>) -> NodeResult<()> {
        for place in 0..count {
            self.pause(&self.who).await;
            let many = self.cx.interrupt(HowMany { whom: format!("{}, {place}", self.who) }).await?;
            update.log.push(format!("{} {many}", self.who));
        }
        Ok(())
    }

    async fn pay(&self, asks: bool, update: &mut Update<Trail>) -> NodeResult<()> {
        let (unknown, amount) = (if asks { Unknown::Ask } else { Unknown::Retry }, self.trail.log.len());
        let payment = Payment { unit: self.named("payment"), asks, amount };
        let paid = self.cx.effect("pay", unknown, amount, async |key| self.lab.pay(key, &payment).await).await?;
        self.lab.settle(&payment);
        update.log.push(format!("{} {paid}", self.who));
        Ok(())
    }

    async fn call(&self, graph: &SubGraph<Trail>) -> NodeResult<Snap<Trail>> {
        self.cx.call("inner", graph, |inner| give(self.trail, inner)).await
    }
}

/// What a sub-graph begins with.
pub(crate) fn give(outer: &Trail, inner: &mut Update<Trail>) {
    inner.log.push(format!("begun after {}", outer.log.len()));
    inner.inputs.add(1);
}

/// What its end means for the graph around.
pub(crate) fn take(inner: &Trail, outer: &mut Update<Trail>) {
    let mut digest = DefaultHasher::new();
    (&inner.log, inner.turns).hash(&mut digest);
    outer.log.push(format!("{} lines of {}, {:x}", inner.log.len(), inner.inputs, digest.finish()));
}

type Work = BoxFuture<'static, NodeResult<Update<Trail>>>;

/// A node that nobody sends to.
pub(crate) fn plain(job: Job) -> impl Fn(Snap<Trail>, Cx<Trail>, Dep<Lab>) -> Work + Clone {
    move |trail, cx, lab| Box::pin(job.clone().run((trail, cx, lab), 0))
}

/// A node that is sent numbers.
pub(crate) fn sent(job: Job) -> impl Fn(Snap<Trail>, Cx<Trail>, Dep<Lab>, In<u32>) -> Work + Clone {
    move |trail, cx, lab, In(number)| Box::pin(job.clone().run((trail, cx, lab), number))
}

/// Where a task stands: the same for its node and for the handler of that.
fn place(node: &str, trail: &Trail) -> String {
    format!("{node} after {}", trail.log.len())
}

/// Makes good what failed.
pub(crate) fn handler(
    (handler, kind): (Handler, &'static str),
) -> impl Fn(TaskFailure, Snap<Trail>, Cx<Trail>, Dep<Lab>) -> Work + Clone {
    move |failure, trail, cx, lab| {
        Box::pin(async move {
            let who = format!("handler of {} after {}", failure.node, trail.log.len());
            let task = Task { trail: &trail, cx: &cx, lab: &lab, who };
            let doing = lab.begin(kind, task.named("handler"));
            lab.give_up(&place(&failure.node, &trail));
            let mut update = trail.update();
            match handler {
                Handler::Writes => update.log.push(task.who.clone()),
                Handler::Asks => task.ask(1, &mut update).await?,
                Handler::Steps => task.steps(1, &mut update).await?,
            }
            doing.end();
            Ok(update)
        })
    }
}
