//! How does a verb that executes begin?
//!
//! Read the branch → nothing to do: return, no claim → claim → only then read stored results → run. If the first write is
//! refused nothing has run: the verb is decided anew on what is there now, a bounded number of times. `request/options.rs` is
//! what a caller may say, `request/earlier.rs` what became of a run that is named again.

mod earlier;
mod options;

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use stepmark_core::capability::AttributeChange;
use stepmark_core::checkpoint::Source;
use stepmark_core::error::{ErrorKind as StoreKind, Subject};
use stepmark_core::id::{RunId, check_name, hash16};
use stepmark_core::rows::{BranchRow, EffectsMode, ThreadRow};
use stepmark_core::store::{Channels, Load, Place, RunWrite};
use stepmark_core::wire::Writer;
use tokio::sync::MutexGuard;

pub(crate) use earlier::Earlier;

use crate::apply::apply_input;
use crate::commit::Draft;
use crate::decide::store_of;
use crate::deps::Deps;
use crate::durability::{self, Durability};
use crate::error::{Error, ErrorKind, Result, RunPlace, snapshot};
use crate::events::{self, emit::Emitter};
use crate::input::check_input;
use crate::load;
use crate::metadata::Metadata;
use crate::outcome::{Ending, Outcome};
use crate::position::{Line, Position};
use crate::resume::begun_run;
use crate::resume_up_to::Resumes;
use crate::run::{self, Run, Settings};
use crate::schema::AnyUpdate;
use crate::start::StartAt;
use crate::state::{State, StateUpdate};
use crate::thread::{BranchPlace, DECISIONS_MAX, Thread, is_contended, is_gone};
use crate::waiting::Stops;

/// The name of a thread's first branch.
pub const MAIN_BRANCH: &str = "main";

/// What to do with unfinished tasks when a new input comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnPending {
    /// Refuse the input: `Unfinished`.
    #[default]
    Refuse,
    /// Leave them behind in the input's own checkpoint.
    Discard,
    /// Resume them, with the options of this request, then take the input. If they do not come to their end, because they
    /// wait for people or are out of steps, the input is not taken: `Unfinished`.
    ResumeFirst,
}

pub(crate) enum Verb<U> {
    Run(U),
    /// At a checkpoint, on a branch of its own.
    RunAt(String, U),
    Resume,
    Replay(String),
}

/// A verb that executes, with its options. `.run().await` and `.await` are the same.
pub struct Request<'a, S: State> {
    pub(crate) thread: &'a Thread<S>,
    pub(crate) verb: Verb<S::Update>,
    pub(crate) run_id: Option<String>,
    pub(crate) on_pending: OnPending,
    pub(crate) steps_max: u64,
    step_timeout: Option<Duration>,
    pub(crate) resumes: Option<Box<Resumes>>,
    stops_before: Vec<String>,
    stops_after: Vec<String>,
    pub(crate) durability: Durability,
    pub(crate) metadata: Metadata,
    pub(crate) attributes: Vec<AttributeChange>,
    pub(crate) start_at: StartAt,
    pub(crate) context: Option<Arc<Deps>>,
    /// Where its events go, if somebody watches.
    pub(crate) events: Option<Arc<Emitter>>,
}

/// A run whose id the caller chose.
struct NamedRun<'a> {
    id: &'a RunId,
    /// Whether the record of a run that was given up has this id.
    is_again: bool,
}

pub(crate) type Resident<'a> = MutexGuard<'a, Option<(Line, Position)>>;

impl<'a, S: State> Request<'a, S> {
    pub(crate) fn new(thread: &'a Thread<S>, verb: Verb<S::Update>) -> Self {
        let Settings { steps_max, durability, step_timeout, .. } = thread.host.settings;
        let (on_pending, metadata) = (OnPending::default(), Metadata::default());
        Self {
            thread,
            verb,
            run_id: None,
            on_pending,
            steps_max,
            step_timeout,
            resumes: None,
            stops_before: Vec::new(),
            stops_after: Vec::new(),
            durability,
            metadata,
            attributes: Vec::new(),
            start_at: StartAt::default(),
            context: thread.host.context.clone(),
            events: None,
        }
    }

    /// A resume of a branch with the same options.
    pub(crate) fn resuming<'b>(&self, thread: &'b Thread<S>) -> Request<'b, S> {
        Request {
            steps_max: self.steps_max,
            step_timeout: self.step_timeout,
            stops_before: self.stops_before.clone(),
            stops_after: self.stops_after.clone(),
            durability: self.durability,
            context: self.context.clone(),
            events: self.events.clone(),
            ..Request::new(thread, Verb::Resume)
        }
    }

    /// Executes. When input and super-steps are durable is what [`Durability`] says.
    ///
    /// Dropping the future stops the run at its next await; `resume` goes on from what is durable. Commits that were on
    /// their way may still be written, in order.
    ///
    /// # Errors
    /// `NodeFailed` carries thread, branch, last checkpoint, node, attempt and state; finished siblings keep their
    /// results. `Unfinished`: the branch has planned tasks. `Fenced`: another run took over. `Contended`, `RunActive`,
    /// `RunIdReused`, `Missing` and `Store` as [`ErrorKind`] says. After every error the thread can be read, resumed,
    /// forked and discarded.
    pub async fn run(self) -> Result<Outcome<S>> {
        if (self.run_id.is_some() || self.metadata.is_some()) && matches!(self.verb, Verb::Resume | Verb::Replay(_)) {
            return Err(Error::invalid("`run_id` and `metadata` belong to an input"));
        }
        if self.start_at.is_given() && matches!(self.verb, Verb::Resume | Verb::Replay(_)) {
            return Err(Error::invalid("`goto` belongs to an input"));
        }
        if self.on_pending != OnPending::default() && !matches!(self.verb, Verb::Run(_)) {
            return Err(Error::invalid("`on_pending` belongs to an input on a branch's tip"));
        }
        if !self.attributes.is_empty() {
            if !matches!(self.verb, Verb::Run(_) | Verb::Resume) {
                return Err(Error::invalid("`attributes` belong to an input on a branch's tip, or to a resume"));
            }
            Box::pin(self.check_attributes()).await?;
        }
        self.metadata.stored()?;
        self.check_stops()?;
        let _running = self.thread.host.drain.enter();
        let mut resident = self.thread.resident.lock().await;
        // Boxed: what a caller of a verb holds stays small.
        let outcome = match &self.verb {
            Verb::Run(update) => Box::pin(self.run_input(update, &mut resident)).await,
            Verb::RunAt(checkpoint, update) => Box::pin(self.run_at(checkpoint, update)).await,
            Verb::Resume => Box::pin(self.resume_described(&mut resident)).await,
            Verb::Replay(checkpoint) => Box::pin(self.replay(checkpoint)).await,
        };
        let outcome = match outcome {
            // Boxed: nearly no run is resumed by its own call.
            Err(error) if self.resumes.is_some() => Box::pin(self.resume_failed(error)).await?,
            outcome => outcome?,
        };
        // A hook may use the handle.
        drop(resident);
        self.tell(&outcome);
        Ok(outcome)
    }

    /// Tells the application's hooks how the call ended.
    fn tell(&self, outcome: &Outcome<S>) {
        self.thread.host.hooks.ended(&self.thread.name, outcome);
    }

    async fn run_input(&self, update: &S::Update, resident: &mut Resident<'_>) -> Result<Outcome<S>> {
        check_name(Subject::Thread, &self.thread.name)?;
        let id = self.run_id.as_deref().map(RunId::parse).transpose()?;
        let input_hash = self.hash_input(update)?;
        let mut refused = self.thread.contended();
        for _ in 0..=DECISIONS_MAX {
            let mut is_again = false;
            if let Some(id) = &id {
                match self.earlier_run_described(id, input_hash).await? {
                    Earlier::None => {}
                    Earlier::GivenUp => is_again = true,
                    Earlier::Ended(outcome) => return Ok(outcome),
                }
            }
            let was_resident = resident.is_some();
            let named = id.as_ref().map(|id| NamedRun { id, is_again });
            match self.begin(update, named, input_hash, resident).await {
                Ok(run) if self.attributes.is_empty() => return self.drive(run, resident).await,
                Ok(run) => return self.drive_described(run, resident).await,
                Err(error) if error.kind() == ErrorKind::Unfinished && self.on_pending == OnPending::ResumeFirst => {
                    // Its errors end this call: after its claim, nodes may have run.
                    let resumed = self.resume(resident).await?;
                    if !resumed.is_done() {
                        self.tell(&resumed);
                        return Err(self.still_unfinished(&resumed));
                    }
                    refused = error;
                }
                // Also where another caller began this run between the look and the write.
                Err(error) if is_contended(&error) || (was_resident && is_gone(&error)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(refused)
    }

    /// Says what there is to say of the thread, then drives the run; a thread that its run makes at its end is described then.
    async fn drive_described(&self, run: Run, resident: &mut Resident<'_>) -> Result<Outcome<S>> {
        let is_described = Box::pin(self.describe()).await?;
        let outcome = self.drive(run, resident).await;
        if !is_described {
            Box::pin(self.describe()).await?;
        }
        outcome
    }

    /// Accepts the input: afterwards it is durable, the branch is claimed, and nothing has run.
    async fn begin(
        &self,
        update: &S::Update,
        named: Option<NamedRun<'_>>,
        input_hash: [u8; 16],
        resident: &mut Resident<'_>,
    ) -> Result<Run> {
        let host = &self.thread.host;
        let known = match resident.take() {
            // Its nodes run before its first write: what the handle remembers must be known to be true.
            Some((line, _)) if self.durability == Durability::Exit && !self.is_current(&line).await? => None,
            known => known,
        };
        let (mut run, mut draft) = match known {
            Some((line, position)) => self.on_known_line(line, position),
            None => self.on_loaded_line().await?,
        };
        if !run.position.next.is_empty() {
            match self.on_pending {
                OnPending::Refuse | OnPending::ResumeFirst => return Err(self.unfinished(&run)),
                OnPending::Discard => draft.runs = self.thread.cancelled_run(run.line.as_ref(), run.now()).await?,
            }
        }
        draft.metadata = self.metadata.stored()?;
        let now = run.now();
        let run_id = named.as_ref().map_or_else(|| host.ids.run(now), |named| named.id.clone());
        self.start_run(&mut run, &mut draft, run_id, input_hash);
        if named.as_ref().is_some_and(|named| named.is_again) {
            let row = draft.runs.pop().map(|begun| begun.row().clone());
            draft.runs.extend(row.map(RunWrite::Update));
        }
        run.position.restart_at(&host.program, self.start_at.routed(&host.program)?);
        let update: AnyUpdate = Box::new(update.clone());
        apply_input(&mut run, update);
        durability::accept(&mut run, draft, named.is_some()).await?;
        Ok(run)
    }

    /// 16 bytes over verb, encoded input and where it goes.
    pub(crate) fn hash_input(&self, update: &S::Update) -> Result<[u8; 16]> {
        let (mut writer, program) = (Writer::new(), &self.thread.host.program);
        match self.start_at.routed(program)? {
            None => drop(writer.str("run")),
            Some(routed) => routed.write(program, writer.str("run from")),
        }
        write_input::<S>(update, &mut writer)?;
        Ok(hash16(writer.as_slice()))
    }

    /// Whether nobody has moved or claimed the branch that the handle remembers, and the handle still means it.
    async fn is_current(&self, line: &Line) -> Result<bool> {
        match self.thread.load(Channels::None).await {
            Ok(loaded) => Ok(loaded.branch.row == line.branch),
            Err(error) if error.kind() == ErrorKind::Missing => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn on_known_line(&self, line: Line, position: Position) -> (Run, Draft) {
        let host = &self.thread.host;
        let draft = Draft {
            claim: Some(host.ids.claim()),
            expect_head: (self.thread.at == BranchPlace::Head).then_some(line.branch.id),
            ..Draft::of_tasks(Source::Input, Vec::new())
        };
        (self.new_run(position, line), draft)
    }

    /// A run on a line, as durable as this request says.
    pub(crate) fn new_run(&self, position: Position, line: Line) -> Run {
        let mut host = self.thread.host.clone();
        host.settings.durability = self.durability;
        host.settings.step_timeout = self.step_timeout;
        host.context.clone_from(&self.context);
        host.events.clone_from(&self.events);
        let mut run = Run::new(host, position, Some(line));
        let program = Arc::clone(&run.host.program);
        for (names, stops) in [(&self.stops_before, &mut run.stops.before), (&self.stops_after, &mut run.stops.after)] {
            // That the names are known was checked when the request was run.
            names.iter().filter_map(|name| program.node(name)).for_each(|node| {
                Stops::add(stops, node, program.nodes.len());
            });
        }
        run
    }

    fn check_stops(&self) -> Result<()> {
        let program = &self.thread.host.program;
        match self.stops_before.iter().chain(&self.stops_after).find(|name| program.node(name).is_none()) {
            Some(name) => {
                let reason = format!("graph {:?} has no such node", program.name);
                Err(stepmark_core::error::Error::missing(Subject::Node, name, reason).into())
            }
            None => Ok(()),
        }
    }

    /// The branch as stored; a thread that is not there yet is made by the draft.
    async fn on_loaded_line(&self) -> Result<(Run, Draft)> {
        let program = &self.thread.host.program;
        let loaded = match self.thread.load(Channels::All).await {
            Err(error)
                if self.thread.at == BranchPlace::Head && error.is_store(StoreKind::Missing, Subject::Thread) =>
            {
                let (line, draft) = on_new_thread(self.thread, Source::Input);
                return Ok((self.new_run(Position::new(program), line), draft));
            }
            loaded => loaded?,
        };
        let (line, position) = match load::manifest(&loaded)? {
            Some(manifest) if self.on_pending == OnPending::Discard => {
                load::line_to_discard(program, &loaded, manifest)?
            }
            Some(manifest) => load::line(program, &loaded, manifest)?,
            None => load::empty_line(program, &loaded, self.thread.host.ids.run(0)),
        };
        Ok(self.on_known_line(line, position))
    }

    /// Begins a run record on the run's line.
    pub(crate) fn start_run(&self, run: &mut Run, draft: &mut Draft, id: RunId, input_hash: [u8; 16]) {
        let now = run.now();
        let Some(line) = &mut run.line else { return };
        let row = begun_run(&self.thread.host, line.branch.id, id, (input_hash, now));
        line.manifest.run = row.id.clone();
        draft.runs.push(RunWrite::Begin(row.clone()));
        line.run = Some(row);
    }

    fn unfinished(&self, run: &Run) -> Error {
        let program = &run.host.program;
        let mut nodes: Vec<&str> =
            run.position.next.iter().map(|task| &*program.nodes[task.node as usize].name).collect();
        nodes.dedup();
        let message = format!(
            "thread {:?} has unfinished tasks ({}): resume it, discard them, or say `on_pending`",
            self.thread.name,
            nodes.join(", ")
        );
        Error::new(ErrorKind::Unfinished, message)
    }

    /// Unfinished tasks were resumed before an input, but not to their end: what the caller said holds for one resume.
    fn still_unfinished(&self, resumed: &Outcome<S>) -> Error {
        let (thread, why) = (&self.thread.name, resumed.ending().as_str());
        let message =
            format!("the unfinished tasks of thread {thread:?} were resumed and ended {why}; the input was not taken");
        Error::new(ErrorKind::Unfinished, message)
    }

    /// An error with the place where the run stopped and the state of its last checkpoint. A step that failed after its
    /// writes were applied has changed the state in memory; the stored one is read instead, if the store still answers.
    async fn placed(&self, error: Error, place: Option<RunPlace>) -> Error {
        if error.has_state() {
            return error.at(place);
        }
        let Some(at) = place.as_ref().and_then(|place| place.checkpoint.clone()) else { return error.at(place) };
        let load = Load { channels: Channels::All, ..self.thread.request_of(Place::Checkpoint(at)) };
        let host = &self.thread.host;
        let state = match store_of(host) {
            Ok(store) => store.load(load).await.ok().and_then(|loaded| {
                let manifest = load::manifest(&loaded).ok().flatten()?;
                load::state(&host.program, &manifest, &load::Chains::of(&loaded)).ok()
            }),
            Err(_) => None,
        };
        let error = error.at(place);
        match state {
            Some(state) => error.with_state(state),
            None => error,
        }
    }

    /// Runs to the end; keeps the line where the next input may go on from it. Boxed once per run: what every caller of a
    /// verb holds stays small.
    pub(crate) fn drive<'b>(&'b self, run: Run, resident: &'b mut Resident<'_>) -> BoxFuture<'b, Result<Outcome<S>>> {
        Box::pin(self.drive_here(run, resident))
    }

    async fn drive_here(&self, mut run: Run, resident: &mut Resident<'_>) -> Result<Outcome<S>> {
        let ending = match run::run(&mut run, self.steps_max).await {
            Ok(ending) => ending,
            Err(error) => {
                events::tell_rolled_back(&mut run, &error).await;
                return Err(self.placed(error, run.place()).await);
            }
        };
        let questions = if ending == Ending::Interrupted { run.open_questions()? } else { Vec::new() };
        let Run { position, line, stats, .. } = run;
        let mut outcome = Outcome::new(ending, snapshot(&position.state), stats)?;
        outcome.questions = questions;
        if let Some(line) = line {
            outcome.run = Some(line.manifest.run.clone());
            outcome.branch = Some(line.branch_label());
            outcome.checkpoint = line.manifest_id();
            if ending == Ending::Done {
                **resident = Some((line, position));
            }
        }
        Ok(outcome)
    }
}

/// A thread that is not there yet, which the draft makes.
pub(crate) fn on_new_thread<S: State>(thread: &Thread<S>, source: Source) -> (Line, Draft) {
    let host = &thread.host;
    let now = host.clock.now();
    let fork = None;
    let (id, claim) = (host.ids.branch(), host.ids.claim());
    let branch = BranchRow { id, fork, tip: None, epoch: 1, claim, effects: EffectsMode::Ledger, root: None };
    let row = ThreadRow {
        uid: host.ids.thread(),
        scope: thread.scope().to_owned(),
        name: thread.name.clone(),
        head: id,
        created_at: now,
    };
    let mut line = Line::new(&host.program, row.clone(), branch, host.ids.run(now));
    line.branch_name = Some(MAIN_BRANCH.to_owned());
    let draft =
        Draft { new_thread: Some(row), name: Some(MAIN_BRANCH.to_owned()), ..Draft::of_tasks(source, Vec::new()) };
    (line, draft)
}

/// An update's writes, for a hash.
pub(crate) fn write_input<S: State>(update: &S::Update, writer: &mut Writer) -> Result<()> {
    check_input::<S>(update)?;
    let mut channels = Vec::new();
    update.writes(&mut |channel, _| channels.push(channel));
    for channel in channels {
        writer.str(S::channels()[channel].name).bytes(&update.encode(channel).map_err(Error::invalid)?);
    }
    Ok(())
}

impl<'a, S: State> IntoFuture for Request<'a, S> {
    type Output = Result<Outcome<S>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<S: State> std::fmt::Debug for Request<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("thread", &self.thread).field("run_id", &self.run_id).finish_non_exhaustive()
    }
}
