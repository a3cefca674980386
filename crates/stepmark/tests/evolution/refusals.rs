//! States that this program cannot read. Nothing is written then.

use serde::{Deserialize, Serialize};
use stepmark::evolution::{RawError, RawState};
use stepmark::{ErrorKind, MemoryStore, State, Update};

use crate::versions::{v1, v2, v3};
use crate::world::{app, stuck};

fn nothing<S: State>(_: &S, _: &mut Update<S>) {}

/// Every verb of `S` on a thread of version `W` fails with this message, and writes nothing.
async fn check<W: State, S: State + std::fmt::Debug>(message: &str) {
    let store = MemoryStore::new();
    let written = app(&store, nothing::<W>);
    written.thread("t").input(|_| ()).steps_max(0).await.expect("stops at once");
    let before = written.thread("t").branches().await.expect("readable");
    let thread = app(&store, nothing::<S>).thread("t");
    let tip = thread.history().await.expect("needs no values")[0].id.clone();
    let errors = [
        thread.state().await.map(drop).expect_err("unreadable"),
        thread.at(&tip).state().await.map(drop).expect_err("unreadable"),
        thread.resume().await.map(drop).expect_err("unreadable"),
        thread.at(&tip).replay().await.map(drop).expect_err("unreadable"),
        thread.discard().await.map(drop).expect_err("unreadable"),
        thread.input(|_| ()).await.map(drop).expect_err("unreadable"),
    ];
    for error in errors {
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Incompatible, message));
    }
    assert_eq!(written.thread("t").branches().await.expect("readable"), before);
    assert!(written.thread("t").resume().await.expect("goes on").is_done());
}

#[tokio::test]
async fn a_newer_version_is_refused() {
    let message = "state \"Order\" was stored by version 3, this program has version 2: run a newer program";
    check::<v3::Order, v2::Order>(message).await;
}

#[tokio::test]
async fn an_older_version_without_a_migration_is_refused() {
    #[derive(State, Clone, Debug, Default)]
    #[state(version = 3, migrate(2 => |order| order.put("total", &1)))]
    struct Order {}
    let message = "state \"Order\" was stored by version 1, this program has version 3 and no `migrate(1 => ..)`";
    check::<v1::Order, Order>(message).await;
}

#[tokio::test]
async fn a_failing_migration_says_why() {
    #[derive(State, Clone, Debug, Default)]
    #[state(version = 3, migrate(1 => |order| order.put("total", &1), 2 => |_| Err("no way")))]
    struct Order {}
    let message = "the migration of state \"Order\" from version 2 to 3 failed: no way";
    check::<v1::Order, Order>(message).await;
}

#[tokio::test]
async fn a_panicking_migration_says_why() {
    fn panics(_: &mut RawState) -> Result<(), RawError> {
        panic!("no money: {}", 7)
    }
    #[derive(State, Clone, Debug, Default)]
    #[state(version = 2, migrate(1 => panics))]
    struct Order {}
    let message = "the migration of state \"Order\" from version 1 to 2 failed: it panicked: no money: 7";
    check::<v1::Order, Order>(message).await;
}

#[tokio::test]
async fn a_migration_to_no_field_is_refused() {
    #[derive(State, Clone, Debug, Default)]
    #[state(version = 2, migrate(1 => |order| order.put("totl", &1)))]
    struct Order {
        total: u32,
    }
    let message = "the migration of state \"Order\" from version 1 to 2 set channel \"totl\", but no field stores it: let \
                   a migration remove it";
    check::<v1::Order, Order>(message).await;
}

#[tokio::test]
async fn a_migration_to_another_type_is_refused() {
    #[derive(State, Clone, Debug, Default, Serialize, Deserialize)]
    #[state(version = 2, migrate(1 => |order| order.put("total", "one")))]
    struct Order {
        total: u32,
    }
    let message = "the migration of state \"Order\" from version 1 to 2: cannot decode channel `total`: wrong \
                   msgpack marker FixStr(3)";
    check::<v1::Order, Order>(message).await;
}

/// What `check_stored` says before a new program runs is what its verbs would say.
#[tokio::test]
async fn a_check_of_the_store_finds_what_cannot_be_read() {
    let store = MemoryStore::new();
    app(&store, v1::write).thread("done").input(|_| ()).await.expect("runs");
    stuck(&store, v1::write).thread("unfinished").input(|_| ()).await.expect_err("is stuck");
    let checked = app(&store, v3::write).check_stored().await.expect("answers");
    assert!(checked.is_ok() && checked.readable == 2, "{checked:?}");

    app(&store, v2::write).thread("newer").input(|_| ()).await.expect("runs");
    let checked = app(&store, v1::write).check_stored().await.expect("answers");
    assert_eq!((checked.readable, checked.problems.len()), (2, 1));
    let problem = &checked.problems[0];
    assert_eq!((problem.thread.as_str(), problem.error.kind()), ("newer", ErrorKind::Incompatible));
}
