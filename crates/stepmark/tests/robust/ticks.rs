//! What runs in the process that is told to end?

use std::time::Duration;

use serde::{Deserialize, Serialize};
use stepmark::{App, Append, Dep, END, Graph, Route, Snap, Sqlite, State, Update, to};

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ticks {
    #[reduce(Append)]
    pub(crate) ticks: Vec<u64>,
}

/// Hears of every tick.
pub(crate) struct Listener(pub(crate) fn(u64));

/// Takes a while, so that a signal finds it at work.
async fn tick(ticks: Snap<Ticks>, listener: Dep<Listener>) -> Update<Ticks> {
    tokio::time::sleep(Duration::from_millis(3)).await;
    let (mut update, number) = (ticks.update(), ticks.ticks.len() as u64);
    (listener.0)(number);
    update.ticks.push(number);
    update
}

/// A chain of at least this many ticks.
pub(crate) fn app(store: Sqlite, ticks: usize, listener: fn(u64)) -> stepmark::Result<App<Ticks>> {
    let mut graph = Graph::<Ticks>::new("ticks");
    let tick = graph.node("tick", tick);
    graph.start(tick);
    graph.branch(tick, to![tick, END], move |state| if state.ticks.len() >= ticks { Route::END } else { tick.into() });
    Ok(graph.build()?.with(store).provide(Listener(listener)).steps_max(u64::MAX))
}
