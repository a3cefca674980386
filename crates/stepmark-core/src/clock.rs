//! Where do time, randomness and ids come from?
//!
//! Only from here: library code calls [`Clock`] and [`IdGen`], never the system, so that a simulation can replace both.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::checkpoint::Timestamp;
use crate::effect::Nonce;
use crate::id::{BranchId, CheckpointId, ClaimToken, RunId, ThreadUid};

/// A future that ends after a while.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Time.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Microseconds since the Unix epoch.
    fn now(&self) -> Timestamp;
    /// Ends after `duration`.
    fn sleep(&self, duration: Duration) -> Sleep;
}

/// The machine's clock and tokio's timer.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        since_epoch.map_or(0, |elapsed| elapsed.as_micros() as Timestamp)
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        #[expect(clippy::disallowed_methods, reason = "the one place that sleeps")]
        let sleep = tokio::time::sleep(duration);
        Box::pin(sleep)
    }
}

/// Random ids.
pub trait IdGen: fmt::Debug + Send + Sync {
    /// Fills `bytes` with randomness that no other process repeats.
    fn fill(&self, bytes: &mut [u8]);

    /// Fills `bytes` with randomness that nothing else in this process repeats: enough for what is only ever written
    /// under a claim, which another process does not hold.
    fn fill_claimed(&self, bytes: &mut [u8]) {
        self.fill(bytes);
    }
}

/// Typed ids from any [`IdGen`].
impl dyn IdGen {
    /// 16 random bytes.
    fn bytes16(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        bytes
    }

    /// A new thread's identity.
    pub fn thread(&self) -> ThreadUid {
        ThreadUid(self.bytes16())
    }

    /// A new claim.
    pub fn claim(&self) -> ClaimToken {
        ClaimToken(self.bytes16())
    }

    /// A new attempt at an effect.
    pub fn nonce(&self) -> Nonce {
        Nonce(self.bytes16())
    }

    /// A new branch.
    pub fn branch(&self) -> BranchId {
        loop {
            let mut bits = [0; 8];
            self.fill(&mut bits);
            if let Some(branch) = BranchId::new(u64::from_le_bytes(bits)) {
                return branch;
            }
        }
    }

    /// A new checkpoint's id: a UUIDv7 of `now`.
    pub fn checkpoint(&self, now: Timestamp) -> CheckpointId {
        let mut random = [0; 10];
        self.fill_claimed(&mut random);
        CheckpointId::from_uuid(uuid_v7(now, random))
    }

    /// A new run's id: a UUIDv7 of `now`.
    pub fn run(&self, now: Timestamp) -> RunId {
        let mut random = [0; 10];
        self.fill(&mut random);
        RunId::from_uuid(uuid_v7(now, random))
    }
}

fn uuid_v7(now: Timestamp, random: [u8; 10]) -> [u8; 16] {
    let now_ms = u64::try_from(now / 1000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(now_ms, &random).into_uuid().into_bytes()
}

/// Bytes fetched from the system at a time; one system call serves some thirty ids.
const POOL_BYTES: usize = 512;

/// The system's randomness, fetched in portions.
pub struct SystemIds {
    // A std mutex: held for a copy of a few bytes, never across an await.
    pool: Mutex<Pool>,
}

struct Pool {
    used: usize,
    /// The process that drew these bytes. A forked child has a copy of them; two equal claim tokens would let both
    /// processes own a branch, so the child draws its own.
    process: u32,
    random: [u8; POOL_BYTES],
}

impl SystemIds {
    /// A shared generator.
    pub fn shared() -> Arc<Self> {
        let pool = Pool { used: POOL_BYTES, process: 0, random: [0; POOL_BYTES] };
        Arc::new(Self { pool: Mutex::new(pool) })
    }
}

impl fmt::Debug for SystemIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemIds")
    }
}

impl SystemIds {
    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    fn draw(&mut self, bytes: &mut [u8]) {
        let mut wanted = bytes;
        while !wanted.is_empty() {
            if self.used == POOL_BYTES {
                #[expect(clippy::disallowed_methods, reason = "the one place that draws randomness")]
                getrandom::fill(&mut self.random).expect("the operating system has randomness");
                (self.used, self.process) = (0, std::process::id());
            }
            let left = &mut self.random[self.used..];
            let (now, later) = wanted.split_at_mut(wanted.len().min(left.len()));
            let drawn = &mut left[..now.len()];
            now.copy_from_slice(drawn);
            drawn.fill(0);
            self.used += now.len();
            wanted = later;
        }
    }
}

impl IdGen for SystemIds {
    fn fill(&self, bytes: &mut [u8]) {
        let mut pool = self.lock();
        if pool.process != std::process::id() {
            pool.used = POOL_BYTES;
        }
        pool.draw(bytes);
    }

    /// Does without the system call that asks for the process: once per super-step, it would be a twentieth of it.
    fn fill_claimed(&self, bytes: &mut [u8]) {
        self.lock().draw(bytes);
    }
}
