//! Does what can be asked of the past answer as the model's past does?

use fastrand::Rng;
use stepmark::run::{Checkpoint, CheckpointId, Filter, History, Source};
use stepmark::{Error, ErrorKind, Thread};

use crate::answers::equal;
use crate::bench::{Bench, Failure};
use crate::board::Board;
use crate::nodes::name;
use crate::process::noted;
use crate::world::{Spot, Tree};

/// Conditions on a history.
#[derive(Clone, Debug, Default)]
struct Conditions {
    below: Option<u64>,
    from_step: Option<u64>,
    source: Option<Source>,
    node: Option<usize>,
    metadata: Option<u64>,
}

impl Bench {
    /// Asks a handle something, and compares.
    pub(crate) async fn read(
        &mut self,
        handle: &Thread<Board>,
        (thread, spot): (usize, Spot),
        mut rng: Rng,
    ) -> Result<(), Failure> {
        let branch = self.world.tree(thread).and_then(|tree| tree.find(&spot));
        let (Some(tree), Some(branch)) = (self.world.tree(thread), branch) else {
            self.coverage.meet("read nothing");
            return missing(handle.state().await).and(missing(handle.history().await));
        };
        let what = match rng.u8(0..8) {
            0 => self.read_state(tree, (thread, branch), handle).await?,
            1 | 2 => self.read_lineage(tree, (thread, branch), handle, &mut rng).await?,
            3 => self.read_everything(tree, thread, handle, &mut rng).await?,
            4 => self.read_past(tree, thread, handle, &mut rng).await?,
            5 => self.read_difference(tree, thread, handle, &mut rng).await?,
            6 => self.read_tags(tree, thread, handle).await?,
            _ => {
                let check = self.observer.app.check_stored().await.map_err(|error| error.to_string())?;
                equal("problems", &0, &check.problems.len())?;
                "read check stored"
            }
        };
        self.coverage.meet(what);
        Ok(())
    }

    async fn read_state(
        &self,
        tree: &Tree,
        (thread, branch): (usize, usize),
        handle: &Thread<Board>,
    ) -> Result<&'static str, Failure> {
        let snapshot = handle.state().await.map_err(|error| error.to_string())?;
        let board = tree.tip(branch).map_or_else(Board::default, |tip| tip.position.board.clone());
        equal("state", &board, snapshot.state())?;
        equal("branch", &self.label(thread, branch), &snapshot.branch)?;
        Ok("read state")
    }

    fn ids(&self, thread: usize, checkpoints: impl IntoIterator<Item = usize>) -> Vec<&CheckpointId> {
        checkpoints.into_iter().map(|at| &self.names.threads[thread].checkpoints[at]).collect()
    }

    async fn read_lineage(
        &self,
        tree: &Tree,
        (thread, branch): (usize, usize),
        handle: &Thread<Board>,
        rng: &mut Rng,
    ) -> Result<&'static str, Failure> {
        let mut conditions = Conditions::random(rng, tree);
        let at = rng.choice(tree.lineage(tree.branches[branch].tip)).filter(|_| rng.bool());
        let is_before = at.is_some() && rng.bool();
        let start = match at {
            None => tree.branches[branch].tip,
            Some(at) if is_before => tree.checkpoints[at].parent,
            Some(at) => Some(at),
        };
        if at.is_none() && tree.branches[branch].tip.is_none() {
            conditions = Conditions::default();
        }
        let expected: Vec<usize> = tree.lineage(start).into_iter().filter(|at| conditions.accept(tree, *at)).collect();
        let id = at.map(|at| self.names.threads[thread].checkpoints[at].clone());
        let history = |before: Option<CheckpointId>| {
            let history = match (before, &id) {
                (Some(before), _) => handle.history().before(before),
                (None, Some(id)) if is_before => handle.history().before(id),
                (None, Some(id)) => handle.at(id).history(),
                (None, None) => handle.history(),
            };
            conditions.ask(history)
        };
        self.compare((thread, expected), rng, history).await?;
        Ok(if conditions.is_any() { "read filtered history" } else { "read history" })
    }

    async fn read_everything(
        &self,
        tree: &Tree,
        thread: usize,
        handle: &Thread<Board>,
        rng: &mut Rng,
    ) -> Result<&'static str, Failure> {
        let conditions = Conditions::random(rng, tree);
        let all = (0..tree.checkpoints.len()).rev();
        let expected: Vec<usize> = all.filter(|at| conditions.accept(tree, *at)).collect();
        let history = |before: Option<CheckpointId>| {
            let history = handle.history().all_branches();
            conditions.ask(match before {
                Some(before) => history.before(before),
                None => history,
            })
        };
        self.compare((thread, expected), rng, history).await?;
        Ok("read all branches")
    }

    /// All at once, or page by page.
    async fn compare<'a>(
        &self,
        (thread, expected): (usize, Vec<usize>),
        rng: &mut Rng,
        history: impl Fn(Option<CheckpointId>) -> History<'a, Board>,
    ) -> Result<(), Failure> {
        let mut found: Vec<Checkpoint<Board>> = Vec::new();
        if rng.bool() {
            found = history(None).await.map_err(|error| error.to_string())?;
        } else {
            let limit = rng.u32(1..5);
            let mut before = None;
            loop {
                let page = history(before).limit(limit).page().await.map_err(|error| error.to_string())?;
                found.extend(page.checkpoints);
                before = page.next;
                if before.is_none() {
                    break;
                }
            }
        }
        let found: Vec<&CheckpointId> = found.iter().map(|checkpoint| &checkpoint.info().id).collect();
        equal("history", &self.ids(thread, expected), &found)
    }

    async fn read_past(
        &self,
        tree: &Tree,
        thread: usize,
        handle: &Thread<Board>,
        rng: &mut Rng,
    ) -> Result<&'static str, Failure> {
        let Some(at) = rng.choice(0..tree.checkpoints.len()) else { return Ok("read nothing") };
        let id = &self.names.threads[thread].checkpoints[at];
        let snapshot = handle.at(id).state().await.map_err(|error| error.to_string())?;
        equal("past state", &tree.checkpoints[at].position.board, snapshot.state())?;
        Ok("read past state")
    }

    async fn read_difference(
        &self,
        tree: &Tree,
        thread: usize,
        handle: &Thread<Board>,
        rng: &mut Rng,
    ) -> Result<&'static str, Failure> {
        let count = tree.checkpoints.len();
        let Some((old, new)) = rng.choice(0..count).zip(rng.choice(0..count)) else { return Ok("read nothing") };
        let [old_id, new_id] = [old, new].map(|at| &self.names.threads[thread].checkpoints[at]);
        let diff = handle.diff(old_id, new_id).await.map_err(|error| error.to_string())?;
        let board = |at: usize| &tree.checkpoints[at].position.board;
        equal("whether states are equal", &(board(old) == board(new)), &diff.is_empty())?;
        Ok("read diff")
    }

    async fn read_tags(&self, tree: &Tree, thread: usize, handle: &Thread<Board>) -> Result<&'static str, Failure> {
        for (name, at) in &tree.tags {
            let tagged = handle.at_tag(name).await.map_err(|error| error.to_string())?;
            let info = tagged.info().await.map_err(|error| error.to_string())?;
            equal("tagged", &self.names.threads[thread].checkpoints[*at], &info.id)?;
        }
        missing(handle.at_tag("nobody").await)?;
        Ok("read tags")
    }
}

impl Conditions {
    fn random(rng: &mut Rng, tree: &Tree) -> Self {
        let highest = tree.checkpoints.iter().map(|checkpoint| checkpoint.step).max().unwrap_or(0);
        let nodes = tree.checkpoints.first().map_or(0, |first| first.position.activations.len());
        let rarely = |rng: &mut Rng| rng.u8(0..4) == 0;
        Self {
            below: rarely(rng).then(|| rng.u64(0..highest + 2)),
            from_step: rarely(rng).then(|| rng.u64(0..highest + 2)),
            source: rng.choice([Source::Input, Source::Step, Source::Update, Source::Fork]).filter(|_| rarely(rng)),
            node: rng.choice(0..nodes).filter(|_| rarely(rng)),
            metadata: rarely(rng).then(|| rng.u64(0..3)),
        }
    }

    fn is_any(&self) -> bool {
        self.source.is_some() || self.node.is_some() || self.metadata.is_some()
    }

    fn accept(&self, tree: &Tree, at: usize) -> bool {
        let checkpoint = &tree.checkpoints[at];
        self.below.is_none_or(|below| checkpoint.step < below)
            && self.from_step.is_none_or(|step| checkpoint.step <= step)
            && self.source.is_none_or(|source| checkpoint.source == source)
            && self.node.is_none_or(|node| checkpoint.tasks.iter().any(|task| task.0 == node))
            && self.metadata.is_none_or(|number| checkpoint.metadata == Some(number))
    }

    fn ask<'a>(&self, mut history: History<'a, Board>) -> History<'a, Board> {
        if let Some(below) = self.below {
            history = history.below(below);
        }
        if let Some(step) = self.from_step {
            history = history.from_step(step);
        }
        let mut filter = Filter::new();
        if let Some(source) = self.source {
            filter = filter.source(source);
        }
        if let Some(node) = self.node {
            filter = filter.node(name(node));
        }
        if let Some(number) = self.metadata {
            filter = filter.metadata(&noted(number));
        }
        if self.is_any() { history.filter(filter) } else { history }
    }
}

fn missing<T>(answer: Result<T, Error>) -> Result<(), Failure> {
    match answer {
        Err(error) if error.kind() == ErrorKind::Missing => Ok(()),
        Err(error) => Err(format!("what nobody has is {error:?}")),
        Ok(_) => Err("what nobody has was found".to_owned()),
    }
}
