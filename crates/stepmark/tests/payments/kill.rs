//! Is a payment made twice when processes are really killed, or overtaken, on a file?
//!
//! At every point: before and after each write to the store, where a payment begins, is sent, is made and is answered. The
//! n-th of a kind is struck for n from 0 until a run comes to its end without meeting it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use stepmark::Sqlite;
use stepmark_core::effect::EffectStatus;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::agent::{Mismatch, Order, Policy};
use crate::api::{self, Api, Behaviour};
use crate::child::{ChildOrders, THREAD};
use crate::fate::{Moment, Spring, Trap};
use crate::http::Payment;
use crate::judge::Judge;

/// Where a process is struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    /// It kills itself there.
    Own(Moment),
    /// It is killed when the service has paid and not answered.
    Paid,
    /// A call waits for its answer until another process has come to the end. The process is not stopped by a signal: it
    /// could hold the file's lock, and hold up everybody.
    Overtaken,
}

/// What the files came to.
#[derive(Debug, Default)]
struct Met {
    processes: u32,
    /// Calls that were repeated, because their policy says so.
    repeated: usize,
    /// Payments of which nobody knows whether they were made, and which were not repeated.
    left: usize,
}

#[test]
fn processes_killed_at_every_point_pay_once() {
    let mut met = Met::default();
    for is_async in [false, true] {
        let own = Moment::ALL.map(Point::Own);
        for point in own.into_iter().chain([Point::Paid, Point::Overtaken]) {
            let mut times = 0;
            while PayFile::new(is_async).meets((point, times), &mut met) {
                times += 1;
            }
            eprintln!("{point:?}: struck {times} times{}", if is_async { ", asynchronous" } else { "" });
            assert!(times > 0, "{point:?} was never met");
        }
    }
    eprintln!("{met:?}");
    assert!(met.repeated > 0 && met.left > 0, "{met:?}");
}

/// A file with one thread, and a service.
struct PayFile {
    orders: ChildOrders,
    service: Service,
    _directory: TempDir,
}

impl PayFile {
    fn new(is_async: bool) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let service = Service::start();
        let order = |(invoice, policy): (u32, Policy)| Order {
            payments: vec![Payment { invoice, cents: 100 }],
            is_keyed: invoice % 2 == 0,
            policy,
            mismatch: Mismatch::Fail,
            wait_ms: 0,
            is_tolerant: true,
        };
        let orders = ChildOrders {
            database: directory.path().join("threads.db"),
            service: service.address,
            orders: (0..).zip([Policy::Retry, Policy::Fail, Policy::Ask]).map(order).collect(),
            beside: (3..).zip([Policy::Retry, Policy::Fail, Policy::Ask]).map(order).collect(),
            trap: None,
            is_async,
        };
        Self { orders, service, _directory: directory }
    }

    /// Lets a process run until it is struck, or to its end, and others go on; whether it was struck.
    fn meets(self, (point, nth): (Point, u32), met: &mut Met) -> bool {
        let is_struck = match point {
            Point::Own(moment) => self.is_killed(Some(Trap { moment, nth, spring: Spring::Kill })),
            Point::Paid => {
                self.service.target().call = Some(nth as usize);
                self.is_killed(None)
            }
            Point::Overtaken => self.is_overtaken(nth),
        };
        let status = ended(&mut self.orders.start());
        assert!(status.success(), "{status} after {point:?} {nth} of {:?}", self.orders);
        let judged = self.judge(met);
        assert!(judged.is_ok(), "{judged:?} after {point:?} {nth} of {:?}", self.orders);
        met.processes += 2;
        is_struck
    }

    fn is_killed(&self, trap: Option<Trap>) -> bool {
        let mut child = self.service.strikes(&ChildOrders { trap, ..self.orders.clone() });
        let status = ended(&mut child);
        let is_killed = status.signal() == Some(Signal::KILL.as_raw());
        assert!(is_killed || status.success(), "{status} without a kill of {:?}", self.orders);
        is_killed
    }

    /// While a process waits for an answer another one comes to the end; then the first goes on.
    fn is_overtaken(&self, nth: u32) -> bool {
        let script = (0..nth).map(|_| Behaviour::Answer).chain([Behaviour::HoldAfter]);
        self.service.api.script(script);
        let mut child = self.orders.start();
        let (sender, is_over) = oneshot::channel();
        let wait = move || _ = sender.send(ended(&mut child));
        let waiting = std::thread::Builder::new().spawn(wait).expect("a thread starts");
        let api = self.service.api.clone();
        let is_held = self.service.runtime.block_on(async move {
            tokio::select! {
                () = api.held() => true,
                _ = is_over => false,
            }
        });
        if is_held {
            let status = ended(&mut self.orders.start());
            assert!(status.success(), "{status} while call {nth} of another was held");
        }
        self.service.api.script([]);
        self.service.api.release();
        waiting.join().expect("it only waits");
        is_held
    }

    fn judge(&self, met: &mut Met) -> Result<(), String> {
        let store = Sqlite::open(&self.orders.database).map_err(|error| error.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let judge = runtime.block_on(Judge::of(&self.service.api, (&store, true), &[THREAD.to_owned()]))?;
        judge.judge()?;
        met.left += judge.ledger.iter().filter(|entry| entry.row.status == EffectStatus::Open).count();
        let mut calls: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for call in &judge.arrived {
            calls.entry(&call.request.key).or_default().push(&call.request.caller.policy);
        }
        let retry = format!("{:?}", Policy::Retry);
        for (key, policies) in calls {
            met.repeated += policies.len() - 1;
            if policies.len() > 1 && policies.iter().any(|policy| *policy != retry) {
                return Err(format!("{key} was called under {policies:?}"));
            }
        }
        let mut orders = self.orders.orders.iter().chain(&self.orders.beside);
        let is_paid = |order: &Order| judge.receipts.values().any(|receipt| receipt.payment == order.payments[0]);
        match orders.find(|order| order.policy == Policy::Retry && !is_paid(order)) {
            Some(order) => Err(format!("{order:?} was not paid")),
            None => Ok(()),
        }
    }
}

/// A payment service that strikes processes.
struct Service {
    api: Api,
    address: SocketAddr,
    target: Arc<Mutex<Target>>,
    runtime: Runtime,
}

#[derive(Debug, Default)]
struct Target {
    child: Option<Pid>,
    /// The number of the call that it is killed in.
    call: Option<usize>,
}

impl Service {
    fn start() -> Self {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().expect("a runtime");
        let target = Arc::<Mutex<Target>>::default();
        let struck = Arc::clone(&target);
        let api = Api::watched(Box::new(move |number| strike(&struck, number)));
        let (listener, address) = runtime.block_on(api::open()).expect("a port is free");
        runtime.spawn(api.clone().serve(listener));
        Self { api, address, target, runtime }
    }

    fn target(&self) -> MutexGuard<'_, Target> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a process; none of its calls is paid before it is known whose they are.
    fn strikes(&self, orders: &ChildOrders) -> Child {
        let mut target = self.target();
        let child = orders.start();
        target.child = Some(Pid::from_child(&child));
        child
    }
}

/// Kills the process if this is the call that it is to be killed in.
fn strike(target: &Mutex<Target>, number: usize) {
    let mut target = target.lock().unwrap_or_else(PoisonError::into_inner);
    if target.call != Some(number) {
        return;
    }
    target.call = None;
    if let Some(child) = target.child.take() {
        kill_process(child, Signal::KILL).expect("a child can be killed");
    }
}

fn ended(child: &mut Child) -> ExitStatus {
    child.wait().expect("a child can be waited for")
}
