//! What does the payment service do?
//!
//! It pays once per key and answers a repeated key with the first receipt. What it does with the next calls is told by those
//! who test: it may drop a connection before or after it paid, refuse, be slow, or hold a call until it is let go.

use std::collections::{BTreeMap, VecDeque};
use std::io::Result;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stepmark::clock::{Clock, SystemClock};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinSet, yield_now};

use crate::air::Air;
use crate::http::{self, Receipt, Reply, Request};

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Answer,
    /// The connection is closed, and nothing is paid.
    DropBefore,
    /// It is paid, and the connection is closed.
    DropAfter,
    /// Nothing is paid, and the caller is told so.
    Refuse,
    /// It is paid at once and answered later.
    Slow(Duration),
    /// It waits until it is let go, and is paid then, whatever became of its caller.
    HoldBefore,
    /// It is paid and waits with the answer.
    HoldAfter,
}

/// A call that has arrived.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) request: Request,
    /// Whether the service itself said that it did nothing.
    pub(crate) is_refused: bool,
}

/// The service; clones share everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Api(Arc<Inner>);

#[derive(Default)]
struct Inner {
    books: Mutex<Books>,
    held: Notify,
    released: Notify,
    air: Air,
    on_paid: Option<OnPaid>,
}

/// Told the number of each call when it was paid, before it is answered.
pub(crate) type OnPaid = Box<dyn Fn(usize) + Send + Sync>;

#[derive(Debug, Default)]
struct Books {
    arrived: Vec<Arrived>,
    receipts: BTreeMap<String, Receipt>,
    /// What becomes of the next calls; they are answered when it is used up.
    script: VecDeque<Behaviour>,
    held: u32,
    /// Grows with every release: what is held waits for the next one.
    releases: u64,
    /// Keys that came with two payments.
    mixed: Vec<String>,
}

impl Api {
    pub(crate) fn new(air: Air) -> Self {
        Self(Arc::new(Inner { air, ..Inner::default() }))
    }

    /// A service that tells what it paid.
    pub(crate) fn watched(on_paid: OnPaid) -> Self {
        Self(Arc::new(Inner { on_paid: Some(on_paid), ..Inner::default() }))
    }

    /// Serves until it is dropped.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let mut calls = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let api = self.clone();
            // What fails is a caller that has gone.
            calls.spawn(async move { api.take(stream).await.unwrap_or_default() });
            while calls.try_join_next().is_some() {}
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn take(self, mut stream: TcpStream) -> Result<()> {
        let request = http::request(&mut stream).await?;
        let flight = request.caller.flight;
        let (number, behaviour) = self.arrive(&request);
        let refused = match behaviour {
            Behaviour::DropBefore => return Ok(()),
            Behaviour::Refuse => true,
            Behaviour::HoldBefore => {
                self.hold(flight).await;
                false
            }
            _ => false,
        };
        let reply = if refused { Reply::Refused } else { self.pay(&request) };
        if let Some(on_paid) = &self.0.on_paid {
            on_paid(number);
        }
        match behaviour {
            Behaviour::DropAfter => return Ok(()),
            Behaviour::HoldAfter => self.hold(flight).await,
            Behaviour::Slow(pause) => self.0.air.aground(flight, SystemClock.sleep(pause)).await,
            _ => {}
        }
        http::answer(&mut stream, &reply).await
    }

    /// Notes the call; its number, and what becomes of it.
    fn arrive(&self, request: &Request) -> (usize, Behaviour) {
        let mut books = self.books();
        let behaviour = books.script.pop_front().unwrap_or(Behaviour::Answer);
        let is_refused = behaviour == Behaviour::Refuse;
        books.arrived.push(Arrived { request: request.clone(), is_refused });
        (books.arrived.len() - 1, behaviour)
    }

    fn pay(&self, Request { key, payment, .. }: &Request) -> Reply {
        let books = &mut *self.books();
        let number = books.receipts.len() as u64;
        let new = || Receipt { number, payment: payment.clone(), key: key.clone() };
        let receipt = books.receipts.entry(key.clone()).or_insert_with(new);
        if receipt.payment == *payment {
            return Reply::Paid(receipt.clone());
        }
        books.mixed.push(key.clone());
        Reply::Mixed
    }

    async fn hold(&self, flight: u64) {
        let releases = {
            let mut books = self.books();
            books.held += 1;
            books.releases
        };
        self.0.held.notify_one();
        let is_released = async {
            loop {
                let next = self.0.released.notified();
                if self.books().releases > releases {
                    return;
                }
                next.await;
            }
        };
        self.0.air.aground(flight, is_released).await;
        self.books().held -= 1;
    }

    /// What becomes of the next calls.
    pub(crate) fn script(&self, script: impl IntoIterator<Item = Behaviour>) {
        self.books().script = script.into_iter().collect();
    }

    /// Waits until a call is held.
    pub(crate) async fn held(&self) {
        while self.books().held == 0 {
            self.0.held.notified().await;
        }
    }

    /// Waits until no call is held.
    pub(crate) async fn is_free(&self) {
        while self.books().held > 0 {
            yield_now().await;
        }
    }

    /// Lets all held calls go.
    pub(crate) fn release(&self) {
        self.books().releases += 1;
        self.0.released.notify_waiters();
    }

    pub(crate) fn arrived(&self) -> Vec<Arrived> {
        self.books().arrived.clone()
    }

    pub(crate) fn receipts(&self) -> BTreeMap<String, Receipt> {
        self.books().receipts.clone()
    }

    /// Keys that came with two payments.
    pub(crate) fn mixed(&self) -> Vec<String> {
        self.books().mixed.clone()
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("books", &self.books).finish_non_exhaustive()
    }
}

/// Opens a port of its own.
pub(crate) async fn open() -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
