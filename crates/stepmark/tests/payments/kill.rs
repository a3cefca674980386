//! Is a payment made twice when processes are really killed, or overtaken, on a file?

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use rustix::process::{Pid, Signal, kill_process};
use stepmark::Sqlite;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::agent::{Mismatch, Order, Policy};
use crate::api::{self, Api, Behaviour, Stage};
use crate::child::{ChildOrders, THREAD};
use crate::http::Payment;
use crate::judge::Judge;

/// How many files there are, and how many processes are hit on each.
const FILES: u64 = 16;
const BLOWS: u32 = 3;

/// What hits a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// It is killed at a write.
    AtWrite(u32, bool),
    /// It is killed when one of its calls has come so far.
    AtCall(Stage, usize),
    /// A call waits for its answer until another process has come to the end. The process is not stopped by a signal: it
    /// could hold the file's lock, and hold up everybody.
    Overtaken(usize),
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
        for _ in 0..BLOWS {
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
        if let Blow::Overtaken(_) = blow {
            return self.overtake(child, met);
        }
        if ended(&mut child).signal() == Some(Signal::KILL.as_raw()) {
            *if kill.is_some() { &mut met.kills_at_writes } else { &mut met.kills_inside } += 1;
        }
    }

    /// While a process waits for an answer another one comes to the end; then the first goes on.
    fn overtake(&mut self, mut child: Child, met: &mut Met) {
        let (sender, is_over) = oneshot::channel();
        let wait = move || _ = sender.send(ended(&mut child));
        let waiting = std::thread::Builder::new().spawn(wait).expect("a thread starts");
        let api = self.service.api.clone();
        let is_stuck = self.service.runtime.block_on(async move {
            tokio::select! {
                () = api.held() => true,
                _ = is_over => false,
            }
        });
        if is_stuck {
            ended(&mut self.orders.start());
            met.zombies += 1;
        }
        self.service.api.script([]);
        self.service.api.release();
        waiting.join().expect("it only waits");
    }

    fn choose(&mut self) -> Blow {
        let stage = [Stage::Arrived, Stage::Paid, Stage::Answered][self.rng.usize(0..3)];
        let call = self.service.api.arrived().len() + self.rng.usize(0..3);
        match self.rng.u8(0..5) {
            0..2 => Blow::AtWrite(self.rng.u32(0..14), self.rng.bool()),
            2..4 => Blow::AtCall(stage, call),
            _ => Blow::Overtaken(self.rng.usize(0..3)),
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
    runtime: Runtime,
}

#[derive(Debug, Default)]
struct Target {
    child: Option<Pid>,
    blow: Option<(Stage, usize)>,
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
        Self { api, address, target, runtime }
    }

    fn target(&self) -> MutexGuard<'_, Target> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, blow: Blow) {
        let mut script = Vec::new();
        let mut target = Target::default();
        match blow {
            Blow::AtWrite(..) => {}
            Blow::AtCall(stage, call) => target.blow = Some((stage, call)),
            Blow::Overtaken(calls) => {
                script = vec![Behaviour::Answer; calls];
                script.push(Behaviour::HoldAfter);
            }
        }
        self.api.script(script);
        *self.target() = target;
    }

    fn watch(&self, child: &Child) {
        self.target().child = Some(Pid::from_child(child));
    }
}

/// Strikes the process if a call has come as far as it is to be struck at.
fn strike(target: &Mutex<Target>, reached: (Stage, usize)) {
    let mut target = target.lock().unwrap_or_else(PoisonError::into_inner);
    let (Some(child), Some(blow)) = (target.child, target.blow) else { return };
    if reached == blow {
        target.blow = None;
        kill_process(child, Signal::KILL).expect("a child can be killed");
    }
}

fn ended(child: &mut Child) -> ExitStatus {
    child.wait().expect("a child can be waited for")
}
