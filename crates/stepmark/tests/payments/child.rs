//! What does a process do that is really killed?
//!
//! It is this test's own program, started anew with its orders in a variable.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};
use stepmark::clock::SystemIds;
use stepmark::effects::ChangedAnswer;
use stepmark::{Durability, ErrorKind, Result, Sqlite};

use crate::agent::{Manner, Order};
use crate::air::Air;
use crate::book::Book;
use crate::errand::{AboutUnknown, Errand, Orders, Reactions, Verb};
use crate::fate::Trap;
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
    /// Where it kills itself.
    pub(crate) trap: Option<Trap>,
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

    /// Begins the thread, or goes on with it, to its end.
    async fn obey(self) -> Result<()> {
        let store = Sqlite::open(&self.database)?;
        let durability = if self.is_async { Durability::Async { behind_max: 2 } } else { Durability::Sync };
        let town = Town {
            store: Arc::new(store),
            service: self.service,
            book: Book::new(true),
            air: Air::default(),
            store_air: Air::default(),
            ids: SystemIds::shared(),
            manner: Manner { durability, linger_ms: 0, attempts: 1 },
        };
        let process = town.process(self.trap);
        let thread = process.app.thread(THREAD);
        let all = self.orders.len() + self.beside.len();
        match thread.resume().run().await {
            Err(error) if error.kind() == ErrorKind::Missing => {
                let orders = Orders { orders: self.orders, beside: self.beside };
                thread.input(|desk| orders.write(desk)).run().await?;
            }
            resumed => _ = resumed?,
        }
        // A person lets nothing be repeated of which nobody knows whether it was done.
        let reactions = Reactions { unknown: AboutUnknown::Fail, changed: ChangedAnswer::Fail };
        let (verb, book) = (Verb::Answer(reactions), town.book.clone());
        let errand = Errand { thread: THREAD.to_owned(), branch: None, verb, book };
        while !thread.questions().await?.is_empty() {
            errand.clone().run(process.clone()).await?;
        }
        let desk = thread.state().await?;
        assert_eq!(desk.state().paid.len() + desk.state().unpaid.len(), all, "each order is settled once");
        Ok(())
    }
}

#[test]
fn is_started_by_the_tests_that_kill_it() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let orders: ChildOrders = serde_json::from_str(&orders).expect("orders decode");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(orders.obey()).expect("it comes to the end");
}

pub(crate) fn kill_self() -> ! {
    kill_process(getpid(), Signal::KILL).expect("a process can kill itself");
    unreachable!("it is dead")
}
