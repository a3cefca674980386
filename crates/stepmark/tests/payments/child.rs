//! What does a process do that is really killed?
//!
//! It is this test's own program, started anew with its orders in a variable.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};
use stepmark::clock::SystemIds;
use stepmark::store::CheckpointStore;
use stepmark::{Durability, ErrorKind, Sqlite};
use stepmark_conformance::call::{Call, Intercept, Intercepted, Reply};
use stepmark_core::error::Result;

use crate::agent::{Manner, Order};
use crate::air::Air;
use crate::book::Book;
use crate::errand::Orders;
use crate::process::Town;

/// The variable with the orders.
const ORDERS: &str = "STEPMARK_PAYMENTS_CHILD";
/// The test that is the process.
const TEST: &str = "child::is_started_by_the_tests_that_kill_it";
/// The thread of all of them.
pub(crate) const THREAD: &str = "t";

/// What a process is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ChildOrders {
    pub(crate) database: PathBuf,
    pub(crate) service: SocketAddr,
    pub(crate) orders: Vec<Order>,
    pub(crate) beside: Vec<Order>,
    /// The write, from 0, that it is killed at, and whether the store has it then.
    pub(crate) kill: Option<(u32, bool)>,
    pub(crate) is_async: bool,
}

impl ChildOrders {
    /// Starts a process with these orders.
    pub(crate) fn start(&self) -> Child {
        let program = std::env::current_exe().expect("a test knows its program");
        let orders = serde_json::to_string(self).expect("orders encode");
        let mut command = Command::new(program);
        command.args([TEST, "--exact", "--nocapture"]).env(ORDERS, orders);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the process starts")
    }

    /// Begins the thread, or goes on with it. What stays unpaid is no failure of the process.
    async fn obey(self) {
        let killer = Killer { at: self.kill, writes: AtomicU32::new(0) };
        let store = Sqlite::open(&self.database).expect("the file opens");
        let durability = if self.is_async { Durability::Async { behind_max: 2 } } else { Durability::Sync };
        let town = Town {
            store: Arc::new(Intercepted::around(Arc::new(store), killer)),
            service: self.service,
            book: Book::new(true),
            air: Air::default(),
            store_air: Air::default(),
            ids: SystemIds::shared(),
            manner: Manner { durability, linger_ms: 0, attempts: 1 },
        };
        let process = town.process(None);
        let thread = process.app.thread(THREAD);
        let resumed = thread.resume().run().await.map(drop);
        if resumed.is_err_and(|error| error.kind() == ErrorKind::Missing) {
            let orders = Orders { orders: self.orders, beside: self.beside };
            drop(thread.input(|desk| orders.write(desk)).run().await);
        }
    }
}

#[test]
fn is_started_by_the_tests_that_kill_it() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let orders: ChildOrders = serde_json::from_str(&orders).expect("orders decode");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(orders.obey());
}

/// Kills its own process at a write.
#[derive(Debug)]
struct Killer {
    at: Option<(u32, bool)>,
    writes: AtomicU32,
}

#[async_trait]
impl Intercept for Killer {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let number = call.kind().writes().then(|| self.writes.fetch_add(1, Ordering::SeqCst));
        let dies = |is_stored| number.is_some_and(|number| self.at == Some((number, is_stored)));
        if dies(false) {
            die();
        }
        let reply = call.run(store).await;
        if dies(true) {
            die();
        }
        reply
    }
}

fn die() -> ! {
    kill_process(getpid(), Signal::KILL).expect("a process can kill itself");
    unreachable!("it is dead")
}
