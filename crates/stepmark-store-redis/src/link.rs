//! How is the server asked?
//!
//! One connection that all calls share: their requests go out in the order in which calls were made, and a broken one is
//! made anew. A script is called by its hash, and sent whole only to a server that does not know it.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, ErrorKind, Pipeline, RedisError, Script, ServerErrorKind, Value};
use stepmark_core::error::Result;
use stepmark_core::id::ThreadUid;

use crate::bag::{Ask, Bag};
use crate::error::{from_redis, overtaken, unreadable};
use crate::keys::{Bytes, Keys};

/// How often a call reads again because it missed something. Each time it knows more; only a thread that never stands still
/// could keep it longer.
const READS_MAX: usize = 1000;
/// The longest pause between two attempts to reach a server that is gone.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Scripts of the store.
#[derive(Debug)]
pub(crate) struct Scripts {
    pub(crate) read: Script,
    pub(crate) write: Script,
    pub(crate) live: Script,
    pub(crate) expire: Script,
    pub(crate) unused: Script,
    pub(crate) collect: Script,
    pub(crate) delete: Script,
    pub(crate) void: Script,
    pub(crate) reserve: Script,
    pub(crate) release: Script,
    pub(crate) names: Script,
    pub(crate) put: Script,
    pub(crate) declare: Script,
    pub(crate) describe: Script,
}

impl Scripts {
    fn new() -> Self {
        Self {
            read: Script::new(concat!(include_str!("scripts/bytes.lua"), include_str!("scripts/read.lua"))),
            write: Script::new(concat!(include_str!("scripts/bytes.lua"), include_str!("scripts/write.lua"))),
            live: Script::new(include_str!("scripts/live.lua")),
            expire: Script::new(include_str!("scripts/expire.lua")),
            unused: Script::new(include_str!("scripts/unused.lua")),
            collect: Script::new(include_str!("scripts/collect.lua")),
            delete: Script::new(include_str!("scripts/delete.lua")),
            void: Script::new(include_str!("scripts/void.lua")),
            reserve: Script::new(include_str!("scripts/reserve.lua")),
            release: Script::new(include_str!("scripts/release.lua")),
            names: Script::new(include_str!("scripts/names.lua")),
            put: Script::new(include_str!("scripts/put.lua")),
            declare: Script::new(include_str!("scripts/declare.lua")),
            describe: Script::new(include_str!("scripts/describe.lua")),
        }
    }
}

/// The server, as one store sees it.
#[derive(Clone)]
pub(crate) struct Link {
    connection: ConnectionManager,
    pub(crate) scripts: Arc<Scripts>,
    pub(crate) keys: Keys,
    /// What errors call it; without a password.
    pub(crate) place: Arc<str>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Link {
    /// Connects; `patience` is how long a call waits for an answer.
    pub(crate) async fn open(url: &str, keys: Keys, patience: Duration) -> Result<Self> {
        let client = Client::open(url).map_err(|error| from_redis("redis", error))?;
        let info = client.get_connection_info();
        let place: Arc<str> = format!("redis at {}", info.addr()).into();
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(patience))
            .set_connection_timeout(Some(patience))
            .set_max_delay(RECONNECT_PAUSE_MAX);
        let connection = ConnectionManager::new_with_config(client, config).await;
        let connection = connection.map_err(|error| from_redis(&place, error))?;
        Ok(Self { connection, scripts: Arc::new(Scripts::new()), keys, place })
    }

    /// Sends a command.
    pub(crate) async fn send(&self, command: &Cmd) -> Result<Value> {
        self.try_send(command).await.map_err(|error| from_redis(&self.place, error))
    }

    async fn try_send(&self, command: &Cmd) -> Result<Value, RedisError> {
        self.connection.clone().send_packed_command(command).await?.extract_error()
    }

    /// Calls a script.
    pub(crate) async fn call(&self, script: &Script, keys: &[Bytes], words: &[Bytes]) -> Result<Value> {
        let answer = self.try_send(&evaluate("EVALSHA", script.get_hash().as_bytes(), keys, words)).await;
        match answer {
            Err(error) if is_unknown_script(&error) => {
                script
                    .load_async(&mut self.connection.clone())
                    .await
                    .map_err(|error| from_redis(&self.place, error))?;
                self.send(&evaluate("EVALSHA", script.get_hash().as_bytes(), keys, words)).await
            }
            answer => answer.map_err(|error| from_redis(&self.place, error)),
        }
    }

    /// Calls scripts that only read in one unit, one after the other.
    pub(crate) async fn call_all(&self, calls: &[(&Script, Vec<Bytes>, Vec<Bytes>)]) -> Result<Vec<Value>> {
        let mut pipeline = Pipeline::with_capacity(calls.len());
        pipeline.atomic();
        for (script, keys, words) in calls {
            pipeline.add_command(evaluate("EVALSHA", script.get_hash().as_bytes(), keys, words)).ignore();
        }
        let answer = match self.try_send_all(&pipeline, calls.len()).await {
            Err(error) if is_unknown_script(&error) => {
                // The first and the last of the calls are of all scripts that there are.
                for (script, ..) in calls.first().into_iter().chain(calls.last()) {
                    let loaded = script.load_async(&mut self.connection.clone()).await;
                    loaded.map_err(|error| from_redis(&self.place, error))?;
                }
                self.try_send_all(&pipeline, calls.len()).await
            }
            answer => answer,
        };
        match answer.map_err(|error| from_redis(&self.place, error))? {
            Value::Array(answers) if answers.len() == calls.len() => Ok(answers),
            _ => Err(self.unreadable()),
        }
    }

    async fn try_send_all(&self, pipeline: &Pipeline, count: usize) -> Result<Value, RedisError> {
        let mut answers = self.connection.clone().send_packed_commands(pipeline, count + 1, 1).await?;
        answers.pop().unwrap_or_default().extract_error()
    }

    pub(crate) fn unreadable(&self) -> stepmark_core::error::Error {
        unreadable(&self.place)
    }

    /// The words by which a thread is read.
    pub(crate) fn reading(&self, uid: ThreadUid, asks: &[Ask]) -> (Vec<Bytes>, Vec<Bytes>) {
        let mut words = Vec::with_capacity(4 * asks.len());
        for ask in asks {
            ask.words(&mut words);
        }
        (self.keys.thread(uid).into(), words)
    }

    /// Reads what is asked for of a thread, and whatever `look` misses, until it misses nothing. What it answers is of one
    /// moment.
    pub(crate) async fn read<T>(
        &self,
        uid: ThreadUid,
        mut asks: Vec<Ask>,
        look: impl Fn(&Bag) -> Result<T>,
    ) -> Result<T> {
        for _ in 0..READS_MAX {
            let (keys, words) = self.reading(uid, &asks);
            let answer = self.call(&self.scripts.read, &keys, &words).await?;
            let bag = Bag::new(uid, answer).ok_or_else(|| self.unreadable())?;
            let found = look(&bag);
            let missed = bag.take_missed();
            if missed.is_empty() {
                return found;
            }
            asks.extend(missed);
        }
        Err(overtaken(&self.place))
    }
}

fn evaluate(command: &str, script: &[u8], keys: &[Bytes], words: &[Bytes]) -> Cmd {
    let mut call = redis::cmd(command);
    call.arg(script).arg(keys.len());
    for word in keys.iter().chain(words) {
        call.arg(&word[..]);
    }
    call
}

fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}
