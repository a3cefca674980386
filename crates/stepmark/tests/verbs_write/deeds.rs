//! What is one deed of each verb that writes, and what does it leave, whatever the ids?

use stepmark::run::CheckpointId;
use stepmark::store::{Load, Place, ThreadAddress};
use stepmark::{App, END, Error, ErrorKind};
use stepmark_core::rows::RunStatus;

use crate::lab::{Desk, Lab, line};

/// A verb, done to a thread that [`prepare`] made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Update,
    UpdateElsewhere,
    UpdateMany,
    Input,
    ForkTo,
    SetHead,
    Reset,
    ResetSide,
    Tag,
    Untag,
    Discard,
}

impl Deed {
    pub(crate) const ALL: [Self; 11] = [
        Self::Update,
        Self::UpdateElsewhere,
        Self::UpdateMany,
        Self::Input,
        Self::ForkTo,
        Self::SetHead,
        Self::Reset,
        Self::ResetSide,
        Self::Tag,
        Self::Untag,
        Self::Discard,
    ];

    /// Does it. A run is named, so that it can be asked for again.
    pub(crate) async fn run(self, app: &App<Desk>, name: &str, places: &[CheckpointId]) -> Result<(), Error> {
        let thread = app.thread(name);
        match self {
            Self::Update => thread.update(|desk| desk.words.add(100)).as_node("plan").await.map(|_| ()),
            Self::UpdateElsewhere => {
                thread.at(&places[1]).update(|desk| desk.words.add(100)).as_node(END).await.map(|_| ())
            }
            Self::UpdateMany => {
                let update = thread.update(|desk| desk.words.add(100)).as_node("plan");
                update.and(|desk| desk.log.push("by hand".into())).as_node("write").await.map(|_| ())
            }
            Self::Input => thread.at(&places[1]).input(|desk| desk.words.add(100)).run_id("deed").await.map(|_| ()),
            Self::ForkTo => thread.at(&places[2]).fork_to(&format!("{name} other")).await.map(|_| ()),
            Self::SetHead => thread.set_head("side").await,
            Self::Reset => thread.reset(&places[1]).await.map(|_| ()),
            Self::ResetSide => thread.branch("side").reset(&places[3]).await.map(|_| ()),
            Self::Tag => thread.tag("new", &places[2]).await,
            Self::Untag => thread.untag("old").await,
            Self::Discard => thread.discard().await.map(|_| ()),
        }
    }

    /// Brings it to its end after a crash: what is there already is not done again.
    pub(crate) async fn finish(self, app: &App<Desk>, name: &str, places: &[CheckpointId]) -> Result<(), Error> {
        let error = match Box::pin(self.run(app, name, places)).await {
            Err(error) if self == Self::Input => error,
            done => return done,
        };
        assert!(matches!(error.kind(), ErrorKind::RunActive | ErrorKind::Unfinished), "{error}");
        let branches = app.thread(name).branches().await?;
        let unnamed = branches.iter().find(|branch| branch.name.is_none()).expect("its branch is there");
        app.thread(name).branch(unnamed.label()).resume().await?;
        Box::pin(self.run(app, name, places)).await
    }
}

/// A thread with an unfinished tip, a side line and a tag; returns the ids of the head's checkpoints.
pub(crate) async fn prepare(lab: &Lab, name: &str) -> Vec<CheckpointId> {
    let thread = lab.desk().thread(name);
    thread.input(|desk| desk.text.set("x".into())).run().await.expect("runs");
    let places = line(&thread).await;
    thread.at(&places[0]).fork("side").await.expect("forks");
    thread.update(|_| ()).as_node("plan").await.expect("writes");
    thread.tag("old", &places[1]).await.expect("tags");
    lab.orders.called();
    line(&thread).await
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ShownBranch {
    name: Option<String>,
    is_head: bool,
    tip: Option<u64>,
    fork: Option<u64>,
    epoch: u64,
}

/// A thread without what is random in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    branches: Vec<ShownBranch>,
    checkpoints: usize,
    tags: Vec<(String, u64)>,
    words: Vec<u32>,
    status: Option<RunStatus>,
    other: Option<RunStatus>,
}

impl Shown {
    /// The same with the epochs of another: who takes a run over after a crash claims its branch once more.
    pub(crate) fn with_claims_of(mut self, other: &Self) -> Self {
        for (branch, like) in self.branches.iter_mut().zip(&other.branches) {
            branch.epoch = like.epoch;
        }
        self
    }
}

pub(crate) async fn shown(lab: &Lab, name: &str) -> Shown {
    let thread = lab.desk().thread(name);
    let address = ThreadAddress::Name { scope: String::new(), name: name.to_owned() };
    let load = Load { branches: true, place: Place::Head, ..Load::head(address) };
    let loaded = lab.store.load(load).await.expect("loads");
    let head = loaded.thread.head;
    let branches = loaded.branches.into_iter().map(|branch| ShownBranch {
        name: branch.name,
        is_head: branch.row.id == head,
        tip: branch.row.tip.map(|tip| tip.height),
        fork: branch.row.fork.map(|fork| fork.height),
        epoch: branch.row.epoch,
    });
    let mut words = Vec::new();
    for branch in thread.branches().await.expect("readable") {
        words.push(thread.branch(branch.label()).state().await.expect("readable").state().words);
    }
    Shown {
        branches: branches.collect(),
        checkpoints: thread.history().all_branches().await.expect("readable").len(),
        tags: thread.tags().await.expect("readable").into_iter().map(|tag| (tag.name, tag.step)).collect(),
        words,
        status: lab.status(name).await,
        other: lab.status(&format!("{name} other")).await,
    }
}
