//! Does a run stop, with all that runs in it, when somebody else gives up what it works on?

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use stepmark::graph::SubGraph;
use stepmark::{Dep, END, ErrorKind, Graph, MemoryStore, Route, Update, to};
use tokio::sync::Notify;

use crate::calls::{Work, logged};

#[derive(Default)]
struct Room {
    ticked: Notify,
    inside: AtomicU32,
}

/// Somebody in the room, who leaves it when he is let go.
struct Guest(Arc<Room>);

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn tick(room: Dep<Arc<Room>>) -> Update<Work> {
    room.inside.fetch_add(1, Ordering::SeqCst);
    let _guest = Guest(Arc::clone(&room));
    tokio::task::yield_now().await;
    room.ticked.notify_one();
    logged("tick")
}

/// Ticks for ever.
fn ticking() -> Graph<Work> {
    let mut graph = Graph::<Work>::new("ticking");
    let tick = graph.node("tick", tick);
    graph.start(tick);
    graph.branch(tick, to![tick, END], move |_| -> Route { tick.into() });
    graph
}

#[tokio::test]
async fn a_discard_from_elsewhere_stops_a_run_and_its_sub_graphs() {
    let (store, room) = (MemoryStore::new(), Arc::new(Room::default()));
    let app = || {
        let inner = SubGraph::new(&ticking().build().expect("a sound graph"));
        let inner = inner.mapped(|_: &Work, _: &mut Update<Work>| (), |_: &Work, _: &mut Update<Work>| ());
        let mut graph = Graph::<Work>::new("outer");
        let (beside, inner) = (graph.node("beside", tick), graph.node("inner", inner));
        graph.start(beside);
        graph.start(inner);
        let app = graph.build().expect("a sound graph").with(store.clone()).provide(Arc::clone(&room));
        app.steps_max(u64::MAX)
    };
    let (running, elsewhere) = (app().thread("t"), app().thread("t"));
    let give_up = async {
        for _ in 0..9 {
            room.ticked.notified().await;
        }
        elsewhere.discard().await.expect("it is given up");
    };
    let (run, ()) = tokio::join!(running.input(|work| work.log.push("input".into())).run(), give_up);
    assert_eq!(run.expect_err("it is fenced").kind(), ErrorKind::Fenced);
    tokio::task::yield_now().await;
    assert_eq!(room.inside.load(Ordering::SeqCst), 0, "nobody runs on");
    let outcome = running.resume().await.expect("nothing is to do");
    assert_eq!((outcome.stats().executed, &*outcome.state().log), (0, &["input".to_owned()][..]));
}
