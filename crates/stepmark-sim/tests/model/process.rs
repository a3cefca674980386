//! How does an application carry a command out?

use std::collections::BTreeMap;
use std::sync::Arc;

use stepmark::clock::{IdGen, SystemClock};
use stepmark::interrupt::OpenQuestion;
use stepmark::run::{BranchId, CheckpointId, ManualUpdate, Request};
use stepmark::store::{CheckpointStore, Load, ThreadAddress};
use stepmark::{App, END, Error, Outcome, Snapshot, Thread};
use stepmark_conformance::call::Intercepted;
use stepmark_core::id::ThreadUid;

use crate::board::{Board, fill};
use crate::command::{self, Command, Input, Limits, Moment, Value, Verb, Writer};
use crate::drawn::Drawn;
use crate::nodes::{Journal, build, name};
use crate::world::Spot;
use stepmark_sim::faults::Calls;
use stepmark_sim::ids::Ids;

/// An application with everything that it keeps in memory.
pub(crate) struct Process {
    app: App<Board>,
    store: Arc<dyn CheckpointStore>,
    pub(crate) journal: Journal,
    pub(crate) calls: Calls,
    handles: BTreeMap<(usize, Spot), Arc<Thread<Board>>>,
}

/// What is known of real ids, by the model's numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    /// By thread.
    pub(crate) threads: Vec<ThreadNames>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct ThreadNames {
    pub(crate) branches: Vec<BranchId>,
    pub(crate) checkpoints: Vec<CheckpointId>,
    pub(crate) uid: Option<ThreadUid>,
}

/// What the engine answers.
#[derive(Debug)]
pub(crate) enum Answer {
    Outcome(Outcome<Board>),
    Snapshot(Snapshot<Board>),
    /// The label of a branch.
    Branch(String),
    Flag(bool),
    Nothing,
}

/// A command with its handle: everything that a future of it needs.
pub(crate) struct Order {
    handle: Arc<Thread<Board>>,
    store: Arc<dyn CheckpointStore>,
    names: Names,
    /// The question that is answered.
    question: Option<OpenQuestion>,
    command: Command,
}

/// The name of a thread.
pub(crate) fn thread_name(thread: usize) -> String {
    format!("t{thread}")
}

/// A checkpoint id that nobody has.
const NOWHERE: &str = "00000000-0000-7000-8000-000000000000";

impl Process {
    pub(crate) fn start(drawn: &Arc<Drawn>, store: &Arc<dyn CheckpointStore>, ids: &Arc<Ids>) -> Self {
        let journal = Journal::default();
        let calls = Calls::new(Arc::clone(store));
        let faulty = || Intercepted::around(Arc::clone(store), calls.clone());
        let ids: Arc<dyn IdGen> = Arc::clone(ids) as _;
        let app = build(drawn, &journal).with_sources(Arc::new(SystemClock), ids).with(faulty());
        Self { app, store: Arc::new(faulty()), journal, calls, handles: BTreeMap::new() }
    }

    /// A handle of its own; a resident one keeps what it knows from call to call.
    pub(crate) fn handle(
        &mut self,
        (thread, spot): (usize, &Spot),
        names: &Names,
        is_resident: bool,
    ) -> Arc<Thread<Board>> {
        let fresh = || Arc::new(at_spot(&self.app, (thread, spot), names));
        if !is_resident {
            return fresh();
        }
        let key = (thread, spot.clone());
        if let Some(handle) = self.handles.get(&key) {
            return Arc::clone(handle);
        }
        let handle = fresh();
        self.handles.insert(key, Arc::clone(&handle));
        handle
    }

    pub(crate) fn order(
        &mut self,
        command: &Command,
        (names, question): (&Names, Option<OpenQuestion>),
        is_resident: bool,
    ) -> Order {
        let handle = self.handle((command.thread, &command.spot), names, is_resident);
        Order { handle, store: Arc::clone(&self.store), names: names.clone(), question, command: command.clone() }
    }

    /// Forgets the handles of a thread: branch numbers are the next thread's of its name.
    pub(crate) fn forget(&mut self, thread: usize) {
        self.handles.retain(|(of, spot), _| *of != thread || !matches!(spot, Spot::Id(_)));
    }
}

/// A handle to a branch.
pub(crate) fn at_spot(app: &App<Board>, (thread, spot): (usize, &Spot), names: &Names) -> Thread<Board> {
    let handle = app.thread(thread_name(thread));
    match spot {
        Spot::Head => handle,
        Spot::Named(name) => handle.branch(name),
        Spot::Id(_) => handle.branch(label(names, (thread, spot))),
    }
}

fn label(names: &Names, (thread, spot): (usize, &Spot)) -> String {
    match spot {
        Spot::Head => panic!("the head has no label of its own"),
        Spot::Named(name) => name.clone(),
        Spot::Id(branch) => names.threads[thread]
            .branches
            .get(*branch)
            .map_or_else(|| "ffffffffffffffff".to_owned(), ToString::to_string),
    }
}

impl Order {
    /// Carries it out.
    pub(crate) async fn perform(&self) -> Result<Answer, Error> {
        let Self { handle, command, .. } = self;
        let thread = &**handle;
        match &command.verb {
            Verb::Input(input) => {
                let request = thread.input(|update| fill(update, &input.writes)).on_pending(input.on_pending);
                outcome(with_input(request, input)).await
            }
            Verb::InputAt { at, input } => {
                let at = thread.at(self.id(*at));
                let request = at.input(|update| fill(update, &input.writes)).on_pending(input.on_pending);
                outcome(with_input(request, input)).await
            }
            Verb::Resume(limits) => outcome(with_limits(thread.resume(), limits)).await,
            Verb::Answer(answer) => self.answer(answer).await,
            Verb::Replay { at, limits } => {
                let at = thread.at(self.id(*at));
                outcome(with_limits(at.replay(), limits)).await
            }
            Verb::Discard => thread.discard().await.map(Answer::Snapshot),
            Verb::Fork { at, name } => thread.at(self.id(*at)).fork(name).await.map(|_| Answer::Branch(name.clone())),
            Verb::Update(update) => self.write(update).await.map(Answer::Snapshot),
            Verb::ForkTo { at, to } => {
                thread.at(self.id(*at)).fork_to(&thread_name(*to)).await.map(|_| Answer::Nothing)
            }
            Verb::SetHead { to } => {
                let label = label(&self.names, (command.thread, to));
                thread.set_head(label).await.map(|()| Answer::Nothing)
            }
            Verb::Reset { at } => thread.reset(self.id(*at)).await.map(|left| Answer::Branch(left.to_string())),
            Verb::Tag { name, at } => thread.tag(name, self.id(*at)).await.map(|()| Answer::Nothing),
            Verb::Untag { name } => thread.untag(name).await.map(|()| Answer::Nothing),
            Verb::Delete => self.delete().await.map(|()| Answer::Nothing),
        }
    }

    async fn write(&self, update: &command::Update) -> Result<Snapshot<Board>, Error> {
        let thread = &*self.handle;
        let mut parts = update.parts.iter();
        let (first, writer) = parts.next().expect("an update has a part");
        let manual = match update.at {
            None => thread.update(|values| fill(values, first)),
            Some(at) => thread.at(self.id(at)).update(|values| fill(values, first)),
        };
        let mut manual = written_by(manual, *writer);
        for (writes, writer) in parts {
            manual = written_by(manual.and(|values| fill(values, writes)), *writer);
        }
        if let Some(author) = &update.author {
            manual = manual.author(author);
        }
        if let Some(metadata) = update.metadata {
            manual = manual.metadata(&noted(metadata));
        }
        manual.write().await
    }

    async fn answer(&self, answer: &command::Answer) -> Result<Answer, Error> {
        let question = self.question.as_ref().expect("a question was listed");
        let request = match (answer.is_by_id, answer.value) {
            (false, Value::Number(number)) => self.handle.answer_open(question, &number),
            (false, Value::Word) => self.handle.answer_open(question, "yes"),
            (true, Value::Number(number)) => self.handle.answer_id(question.id, &number),
            (true, Value::Word) => self.handle.answer_id(question.id, "yes"),
        };
        if answer.runs {
            return request.run().await.map(Answer::Outcome);
        }
        request.store().await.map(Answer::Flag)
    }

    async fn delete(&self) -> Result<(), Error> {
        let name = thread_name(self.command.thread);
        let loaded = self.store.load(Load::head(ThreadAddress::Name { scope: String::new(), name })).await?;
        Ok(self.store.delete_thread(loaded.thread.uid).await?)
    }

    fn id(&self, at: Moment) -> String {
        let known = at.and_then(|at| self.names.threads[self.command.thread].checkpoints.get(at));
        known.map_or_else(|| NOWHERE.to_owned(), ToString::to_string)
    }
}

fn written_by(manual: ManualUpdate<'_, Board>, writer: Writer) -> ManualUpdate<'_, Board> {
    match writer {
        Writer::Inferred => manual,
        Writer::Node(node) => manual.as_node(name(node)),
        Writer::Stranger => manual.as_node("nobody"),
        Writer::Input => manual.as_input(),
        Writer::End => manual.as_node(END),
    }
}

fn with_input<'a>(request: Request<'a, Board>, input: &Input) -> Request<'a, Board> {
    let mut request = with_limits(request, &input.limits);
    if let Some(id) = &input.id {
        request = request.run_id(id);
    }
    if let Some(metadata) = input.metadata {
        request = request.metadata(&noted(metadata));
    }
    request
}

fn with_limits<'a>(request: Request<'a, Board>, limits: &Limits) -> Request<'a, Board> {
    let names = |nodes: &[usize]| -> Vec<String> { nodes.iter().map(|node| name(*node)).collect() };
    let request = request.interrupt_before(names(&limits.stops.before)).interrupt_after(names(&limits.stops.after));
    let request = request.durability(limits.durability);
    match limits.steps_max {
        Some(steps) => request.steps_max(steps),
        None => request,
    }
}

async fn outcome(request: Request<'_, Board>) -> Result<Answer, Error> {
    request.run().await.map(Answer::Outcome)
}

/// Metadata that holds a number.
pub(crate) fn noted(number: u64) -> BTreeMap<String, u64> {
    BTreeMap::from([("number".to_owned(), number)])
}
