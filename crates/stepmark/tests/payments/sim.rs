//! What happens in one seed?

use std::sync::Arc;

use stepmark::run::CheckpointId;
use stepmark::store::{CheckpointStore, ThreadQuery};
use stepmark::{Error, ErrorKind, Result};
use tokio::task::{JoinSet, yield_now};

use crate::air::Air;
use crate::api::{self, Api, Behaviour};
use crate::book::Book;
use crate::draw::{self, Chooser, Held, Then, Trouble};
use crate::errand::{Errand, Verb};
use crate::fate::Trap;
use crate::ids::Ids;
use crate::judge::Judge;
use crate::process::{Process, Town};
use crate::totals::Totals;

/// How many errands a seed has.
const ERRANDS: std::ops::Range<usize> = 6..15;
/// Turns of the runtime after which nothing of a dropped run is left.
const TURNS: usize = 4;
/// No seed makes more threads.
const THREADS_MAX: u32 = 64;

/// What is told of a seed while it is played.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Log {
    pub(crate) is_told: bool,
}

impl Log {
    fn note(self, line: impl std::fmt::Display) {
        if self.is_told {
            eprintln!("{line}");
        }
    }
}

pub(crate) struct Sim {
    chooser: Chooser,
    town: Town,
    api: Api,
    /// The process of the last errand, if it lives.
    process: Option<Process>,
    errands: u32,
    log: Log,
}

impl Sim {
    /// Plays a seed on an empty store. `is_far` says whether the store is waited for through the operating system.
    pub(crate) async fn play(
        seed: u64,
        (store, is_far): (Arc<dyn CheckpointStore>, bool),
        log: Log,
    ) -> Result<Totals, String> {
        let mut chooser = Chooser::new(seed);
        let air = Air::of_standing_clock();
        let api = Api::new(air.clone());
        let (listener, service) = api::open().await.map_err(|error| error.to_string())?;
        let mut servers = JoinSet::new();
        servers.spawn(api.clone().serve(listener));
        let town = Town {
            store,
            service,
            book: Book::new(chooser.may_reopen),
            store_air: if is_far { air.clone() } else { Air::default() },
            air: air.clone(),
            ids: Arc::new(Ids::new(seed)),
            manner: draw::manner(&mut chooser.rng),
        };
        log.note(format_args!("{:?}, keys {}reopen", town.manner, if chooser.may_reopen { "may " } else { "never " }));
        let mut sim = Self { chooser, town, api, process: None, errands: 0, log };
        sim.all().await
    }

    async fn all(&mut self) -> Result<Totals, String> {
        for _ in 0..self.chooser.rng.usize(ERRANDS) {
            let errand = self.errand().await.map_err(|error| format!("the thread cannot be read: {error}"))?;
            self.one(errand).await?;
        }
        self.settle().await?;
        let threads = self.threads().await.map_err(|error| error.to_string())?;
        Judge::of(&self.api, (&*self.town.store, self.chooser.may_reopen), &threads).await?.judge()?;
        let mut totals = self.town.book.totals();
        (totals.calls, totals.payments) = (self.api.arrived().len() as u64, self.api.receipts().len() as u64);
        Ok(totals)
    }

    /// The next errand, on a thread and branch that exist.
    async fn errand(&mut self) -> Result<Errand> {
        let reader = self.town.process(None);
        let threads = self.threads().await?;
        let mut errand =
            Errand { thread: "t".to_owned(), branch: None, verb: Verb::Resume, book: self.town.book.clone() };
        let (mut checkpoints, mut is_named) = (Vec::new(), false);
        if !threads.is_empty() {
            // Mostly the first: it has the longest story.
            let chosen = if self.chooser.rng.bool() { 0 } else { self.chooser.rng.usize(0..threads.len()) };
            errand.thread.clone_from(&threads[chosen]);
            let thread = reader.app.thread(&errand.thread);
            let branches = thread.branches().await?;
            let branch = &branches[self.chooser.rng.usize(0..branches.len())];
            is_named = branch.name.is_some();
            let label = branch.name.clone().unwrap_or_else(|| branch.id.to_string());
            checkpoints = tip_first(&thread.branch(&label)).await?;
            errand.branch = Some(label);
        }
        errand.verb = self.chooser.verb(&checkpoints);
        if matches!(errand.verb, Verb::Rewind(_)) && !is_named {
            // Only names and the head move.
            errand.branch = None;
        }
        Ok(errand)
    }

    async fn one(&mut self, errand: Errand) -> Result<(), String> {
        let trouble = self.chooser.trouble();
        let script = self.chooser.script(trouble);
        if self.chooser.rng.bool() {
            self.api.release();
        }
        self.log.note(format_args!("{} {:?} {:?}; {trouble:?} {script:?}", errand.thread, errand.branch, errand.verb));
        self.api.script(script.iter().copied());
        let ended = match trouble {
            Trouble::None => {
                let process = self.living();
                Some(errand.run(process).await)
            }
            Trouble::Dies(trap) => self.dies(errand, trap).await,
            Trouble::Stops(trap) => self.stops(errand, trap).await?,
            Trouble::Held(held) => self.held(errand, (held, script)).await?,
        };
        self.api.script([]);
        match ended {
            Some(Err(error)) => {
                self.log.note(format_args!("    {error}"));
                expected(&error)?;
            }
            Some(Ok(())) => self.log.note("    done"),
            None => self.log.note("    cut off"),
        }
        match self.town.book.violations() {
            violations if violations.is_empty() => Ok(()),
            violations => Err(violations.join("\n")),
        }
    }

    /// The process of the last errand or a new one, which begins the next errand.
    fn living(&mut self) -> Process {
        let is_fresh = self.chooser.rng.bool();
        let process = self.process.take().filter(|_| !is_fresh).unwrap_or_else(|| self.town.process(None));
        self.process = Some(process.clone());
        self.begun(process)
    }

    fn begun(&mut self, process: Process) -> Process {
        self.errands += 1;
        process.deed.begin(self.errands);
        process
    }

    async fn dies(&mut self, errand: Errand, trap: Trap) -> Option<Result<()>> {
        let process = self.begun(self.town.process(Some(trap)));
        let ended = process.fate.until_dead(errand.run(process.clone())).await;
        if ended.is_none() {
            self.killed(&process, trap.moment.is_inside()).await;
        }
        ended
    }

    async fn killed(&mut self, process: &Process, is_inside: bool) {
        process.fate.die();
        self.gone(process).await;
        self.town
            .book
            .count(|totals| *if is_inside { &mut totals.kills_inside } else { &mut totals.kills_at_writes } += 1);
    }

    /// Nothing of a dropped run goes on.
    async fn gone(&self, process: &Process) {
        for _ in 0..TURNS {
            yield_now().await;
        }
        self.town.book.bury(process.deed.number());
    }

    async fn stops(&mut self, errand: Errand, trap: Trap) -> Result<Option<Result<()>>, String> {
        let process = self.begun(self.town.process(Some(trap)));
        let fate = process.fate.clone();
        self.taken_over(errand, process, async move { fate.stopped().await }).await
    }

    async fn held(
        &mut self,
        errand: Errand,
        (held, script): (Held, Vec<Behaviour>),
    ) -> Result<Option<Result<()>>, String> {
        let process = self.begun(self.town.process(None));
        self.api.release();
        self.api.is_free().await;
        self.api.script(script);
        let api = self.api.clone();
        let is_held = async move { api.held().await };
        if held.then == Then::TakenOver {
            return self.taken_over(errand, process, is_held).await;
        }
        tokio::select! {
            ended = errand.run(process.clone()) => return Ok(Some(ended)),
            () = is_held => {}
        }
        if held.then == Then::Dies {
            self.killed(&process, true).await;
        } else {
            self.gone(&process).await;
            self.town.book.count(|totals| totals.given_up += 1);
            self.process = Some(process);
        }
        Ok(None)
    }

    /// Lets others take the branch over when an errand is stuck, and lets it go on then.
    async fn taken_over(
        &mut self,
        errand: Errand,
        process: Process,
        is_stuck: impl Future<Output = ()>,
    ) -> Result<Option<Result<()>>, String> {
        let mut runs = JoinSet::new();
        let (thread, branch) = (errand.thread.clone(), errand.branch.clone());
        runs.spawn(errand.run(process.clone()));
        tokio::select! {
            biased;
            ended = runs.join_next() => return Ok(ended.map(|ended| ended.expect("an errand does not panic"))),
            () = is_stuck => {}
        }
        let tried = self.town.book.branch_of(process.deed.number()).map(|branch| branch.to_string());
        let book = self.town.book.clone();
        let other = Errand { thread, branch: tried.or(branch), verb: Verb::Resume, book };
        let living = self.begun(self.town.process(None));
        self.log.note(format_args!("    while it is stuck: resume {:?}", other.branch));
        if let Err(error) = other.run(living).await {
            self.log.note(format_args!("    {error}"));
            expected(&error)?;
        }
        process.fate.go_on();
        self.api.script([]);
        self.api.release();
        let ended = runs.join_next().await.expect("it was stuck").expect("an errand does not panic");
        self.town.book.bury(process.deed.number());
        if ended.as_ref().is_err_and(|error| error.kind() == ErrorKind::Fenced) {
            self.town.book.count(|totals| totals.zombies += 1);
        }
        Ok(Some(ended))
    }

    /// Everybody comes to rest: every branch is resumed twice, and then nothing is in progress any more.
    async fn settle(&mut self) -> Result<(), String> {
        self.api.release();
        for round in 0..2 {
            let busy = self.town.book.totals().busy;
            for thread in self.threads().await.map_err(|error| error.to_string())? {
                self.settle_thread(&thread).await?;
            }
            if round > 0 && self.town.book.totals().busy > busy {
                return Err("nothing runs, and an effect is in progress".to_owned());
            }
        }
        Ok(())
    }

    async fn threads(&self) -> Result<Vec<String>> {
        let query = ThreadQuery { scope: String::new(), after: None, limit: THREADS_MAX, waiting: false };
        let page = self.town.store.threads(query).await?;
        Ok(page.threads.into_iter().map(|entry| entry.thread.name).collect())
    }

    async fn settle_thread(&mut self, thread: &str) -> Result<(), String> {
        let process = self.begun(self.town.process(None));
        let handle = process.app.thread(thread);
        let branches = handle.branches().await.map_err(|error| error.to_string())?;
        for branch in branches {
            let label = branch.id.to_string();
            let book = self.town.book.clone();
            let errand = Errand { thread: thread.to_owned(), branch: Some(label), verb: Verb::Resume, book };
            self.log.note(format_args!("at last {thread} {:?}", errand.branch));
            if let Err(error) = errand.run(process.clone()).await {
                self.log.note(format_args!("    {error}"));
                expected(&error)?;
            }
        }
        match self.town.book.violations() {
            violations if violations.is_empty() => Ok(()),
            violations => Err(violations.join("\n")),
        }
    }
}

/// The checkpoints of a branch's line, newest first.
async fn tip_first(thread: &stepmark::Thread<crate::agent::Desk>) -> Result<Vec<CheckpointId>> {
    let history = thread.history().await?;
    Ok(history.iter().map(|checkpoint| checkpoint.id.clone()).collect())
}

/// What an errand may end with.
fn expected(error: &Error) -> Result<(), String> {
    let known = ["effect \"pay\"", "nobody knows whether effect \"pay\"", "the service", "end of file"];
    let is_known = match error.kind() {
        ErrorKind::NodeFailed => known.iter().any(|known| error.to_string().contains(known)),
        ErrorKind::Fenced | ErrorKind::Unfinished | ErrorKind::Contended | ErrorKind::Missing => true,
        _ => false,
    };
    if is_known { Ok(()) } else { Err(format!("an errand ended with {:?}: {error}", error.kind())) }
}
