//! Is a payment made twice when processes are really killed, or stopped and overtaken, on a file?

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use stepmark::Sqlite;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::agent::{Mismatch, Order, Policy};
use crate::api::{self, Api, Stage};
use crate::child::{ChildOrders, THREAD};
use crate::http::Payment;
use crate::judge::Judge;

/// How many files there are, and how often processes are killed on each.
const FILES: u64 = 16;
const KILLS: u32 = 3;

/// What hits a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// It is killed at a write.
    AtWrite(u32, bool),
    /// A signal meets it when one of its calls has come so far.
    At(Stage, usize, Signal),
}

/// What the processes of a file met.
#[derive(Clone, Copy, Debug, Default)]
struct Met {
    kills_at_writes: u32,
    kills_inside: u32,
    zombies: u32,
}

#[test]
fn killed_processes_pay_once() {
    let seed: u64 = std::env::var("STEPMARK_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    eprintln!("repeat with STEPMARK_SEED={seed} cargo test -p stepmark --test payments -- killed_processes");
    let mut met = Met::default();
    for number in 0..FILES {
        let mut file = PayFile::new(seed.wrapping_mul(1_000).wrapping_add(number));
        for _ in 0..KILLS {
            file.blow(&mut met);
        }
        file.finish();
    }
    eprintln!("{met:?}");
    assert!(met.kills_at_writes > 0 && met.kills_inside > 0 && met.zombies > 0, "{met:?}");
}

/// A file with one thread, and a service.
struct PayFile {
    rng: Rng,
    orders: ChildOrders,
    service: Service,
    _directory: TempDir,
}

impl PayFile {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let directory = tempfile::tempdir().expect("a directory");
        let service = Service::start();
        let policy = [Policy::Retry, Policy::Fail][rng.usize(0..2)];
        let order = |rng: &mut Rng, invoice| Order {
            payments: vec![Payment { invoice, cents: 100 }],
            is_keyed: rng.bool(),
            policy,
            mismatch: Mismatch::Fail,
            wait_ms: 0,
            is_tolerant: true,
        };
        let orders = ChildOrders {
            database: directory.path().join("threads.db"),
            service: service.address,
            orders: (0..4).map(|invoice| order(&mut rng, invoice)).collect(),
            beside: (4..7).map(|invoice| order(&mut rng, invoice)).collect(),
            kill: None,
            is_async: rng.bool(),
        };
        Self { rng, orders, service, _directory: directory }
    }

    /// Lets a process run into something.
    fn blow(&mut self, met: &mut Met) {
        let blow = self.choose();
        self.service.set(blow);
        let kill = if let Blow::AtWrite(write, is_stored) = blow { Some((write, is_stored)) } else { None };
        let mut child = ChildOrders { kill, ..self.orders.clone() }.start();
        self.service.watch(&child);
        if let Blow::At(_, _, Signal::STOP) = blow {
            return self.overtake(&mut child, met);
        }
        if ended(&mut child).signal() == Some(Signal::KILL.as_raw()) {
            *if kill.is_some() { &mut met.kills_at_writes } else { &mut met.kills_inside } += 1;
        }
    }

    /// While a process is stopped another one comes to the end; then it goes on.
    fn overtake(&mut self, child: &mut Child, met: &mut Met) {
        let pid = Pid::from_child(child);
        let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED).expect("it can be waited for").expect("it is ours");
        if !status.stopped() {
            return;
        }
        ended(&mut self.orders.start());
        kill_process(pid, Signal::CONT).expect("it can be continued");
        ended(child);
        met.zombies += 1;
    }

    fn choose(&mut self) -> Blow {
        let stage = [Stage::Arrived, Stage::Paid, Stage::Answered][self.rng.usize(0..3)];
        let call = self.service.api.arrived().len() + self.rng.usize(0..3);
        match self.rng.u8(0..5) {
            0..2 => Blow::AtWrite(self.rng.u32(0..14), self.rng.bool()),
            2 => Blow::At(stage, call, Signal::KILL),
            // One task alone: a process that is stopped while it writes would hold the file.
            _ if call < 4 => Blow::At(Stage::Arrived, call, Signal::STOP),
            _ => Blow::At(stage, call, Signal::KILL),
        }
    }

    /// A process comes to the end, and the books agree.
    fn finish(&mut self) {
        self.service.set(Blow::AtWrite(0, false));
        for _ in 0..2 {
            let status = ended(&mut self.orders.start());
            assert!(status.success(), "{status}");
        }
        let judged = self.judge();
        assert!(judged.is_ok(), "{judged:?} after {:?}", self.orders);
    }

    fn judge(&self) -> Result<(), String> {
        let store = Sqlite::open(&self.orders.database).map_err(|error| error.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let judge = runtime.block_on(Judge::of(&self.service.api, (&store, true), &[THREAD.to_owned()]))?;
        judge.judge()?;
        let all = (self.orders.orders.len() + self.orders.beside.len()) as u64;
        let paid = judge.receipts.len() as u64;
        if self.orders.orders[0].policy == Policy::Retry && paid != all {
            return Err(format!("{paid} of {all} payments were made"));
        }
        Ok(())
    }
}

/// A payment service that strikes processes.
struct Service {
    api: Api,
    address: SocketAddr,
    target: Arc<Mutex<Target>>,
    _runtime: Runtime,
}

#[derive(Debug, Default)]
struct Target {
    child: Option<Pid>,
    blow: Option<(Stage, usize, Signal)>,
}

impl Service {
    fn start() -> Self {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().expect("a runtime");
        let target = Arc::<Mutex<Target>>::default();
        let struck = Arc::clone(&target);
        let api = Api::watched(Box::new(move |stage, number| strike(&struck, (stage, number))));
        let (listener, address) = runtime.block_on(api::open()).expect("a port is free");
        runtime.spawn(api.clone().serve(listener));
        Self { api, address, target, _runtime: runtime }
    }

    fn target(&self) -> MutexGuard<'_, Target> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, blow: Blow) {
        let blow = if let Blow::At(stage, call, signal) = blow { Some((stage, call, signal)) } else { None };
        *self.target() = Target { child: None, blow };
    }

    fn watch(&self, child: &Child) {
        self.target().child = Some(Pid::from_child(child));
    }
}

/// Strikes the process if a call has come as far as it is to be struck at.
fn strike(target: &Mutex<Target>, reached: (Stage, usize)) {
    let mut target = target.lock().unwrap_or_else(PoisonError::into_inner);
    let (Some(child), Some((stage, call, signal))) = (target.child, target.blow) else { return };
    if reached == (stage, call) {
        target.blow = None;
        kill_process(child, signal).expect("a child can be struck");
    }
}

fn ended(child: &mut Child) -> ExitStatus {
    child.wait().expect("a child can be waited for")
}
