//! What does the engine make of stored bytes that it did not write?
//!
//! One place of a thread gets other bytes, with the hashes that belong to them; then everything of it is read, and it goes
//! on. All of it ends, with values or with errors. Random bytes are tried here by the target `stored` of `fuzz/`, too.

use std::sync::LazyLock;
use std::time::Duration;

use stepmark::evolution::Value;
use stepmark::store::{CacheKey, CheckpointStore, Load, Restore, Row, RowClass, RowsQuery, ThreadAddress};
use stepmark::stream::Kind;
use stepmark::{App, MemoryStore, Result, State};
use stepmark_core::id::hash16;
use stepmark_core::pending::{decode_flush, encode_flush};
use stepmark_core::rows::ThreadRow;
use tokio::runtime::{Builder, Runtime};

use crate::desk::{ASKED, DONE, Desk, FAILED, FUNCTION, Fails, Function, GRAPH, KEPT, Note, Process, desk, function};
use crate::places::{visit, visit_end};

/// Longer than anything may wait.
const HANGS_AFTER: Duration = Duration::from_hours(24);

/// Everything as its writer left it.
static SOUND: LazyLock<Sound> = LazyLock::new(|| runtime().block_on(Sound::made()));

struct Sound {
    threads: Vec<SoundThread>,
    /// The kept result of a node.
    kept: Vec<u8>,
}

struct SoundThread {
    row: ThreadRow,
    rows: Vec<Row>,
}

/// What reading came to.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) values: u32,
    pub(crate) errors: Vec<String>,
}

/// An input for each place with the bytes that lie there: its number in two bytes, then those.
pub(crate) fn examples() -> Vec<Vec<u8>> {
    let mut examples = Vec::new();
    SOUND.with_places(&mut |_, number, bytes| {
        examples.push([&number.to_le_bytes()[..], bytes].concat());
    });
    examples
}

/// Puts the bytes of an input where it says and reads everything.
pub(crate) fn read_stored(input: &[u8]) -> Told {
    let Some((number, bytes)) = input.split_first_chunk() else { return Told::default() };
    let number = u16::from_le_bytes(*number) % *PLACES;
    let (name, store) = SOUND.damaged(number, bytes);
    runtime().block_on(async {
        let read = tokio::time::timeout(HANGS_AFTER, read_all(&name, store));
        read.await.expect("reading ends, whatever is stored")
    })
}

static PLACES: LazyLock<u16> = LazyLock::new(|| u16::try_from(examples().len()).expect("few"));

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

fn cache_key() -> CacheKey {
    // Of a key that is `()`: its own kind, its length, nil.
    CacheKey { graph: GRAPH.to_owned(), node: KEPT.to_owned(), hash: hash16(&[1, 1, 0xc0]) }
}

impl Sound {
    async fn made() -> Self {
        let store = MemoryStore::new();
        let process = |number| Process { number, store: store.clone() };
        let (app, _) = desk(process(1), Fails(false));
        let (failing, _) = desk(process(2), Fails(true));
        let waiting = begun(&app, ASKED).await.expect("asks");
        app.thread(ASKED).answer_open(&waiting[0], &true).store().await.expect("stored");
        begun(&failing, FAILED).await.expect_err("fails");
        begun(&app, DONE).await.expect("asks");
        answered(&app, DONE).await.expect("goes on");
        let function = function(process(3));
        let calls = function.thread(FUNCTION);
        calls.call("first".into()).metadata(&Note { number: 1 }).await.expect("asks");
        answered(&function, FUNCTION).await.expect("goes on");
        calls.call("second".into()).await.expect("asks");
        let mut threads = Vec::new();
        for name in [ASKED, FAILED, DONE, FUNCTION] {
            threads.push(SoundThread::read(&store, name).await);
        }
        let kept = store.cache().expect("it keeps results").get(&cache_key()).await.expect("readable");
        Self { threads, kept: kept.expect("it was kept") }
    }

    /// Shows every place with its number; after those of the threads come those of what is kept.
    fn with_places(&self, see: &mut dyn FnMut(&str, u16, &[u8])) {
        let mut number = 0..;
        let mut next = |name: &str, bytes: &Vec<u8>| see(name, number.next().unwrap_or_default(), bytes);
        for SoundThread { row, rows } in &self.threads {
            for stored in rows {
                visit(&mut stored.clone(), row.uid, &mut |bytes| next(&row.name, bytes));
            }
        }
        for mut record in decode_flush(&self.kept).expect("sound") {
            visit_end(&mut record.end, &mut |bytes| next(ASKED, bytes));
        }
    }

    /// A store with the thread of a place, where it has other bytes.
    fn damaged(&self, place: u16, other: &[u8]) -> (String, MemoryStore) {
        let mut whose = String::new();
        self.with_places(&mut |name, number, _| {
            if number == place {
                name.clone_into(&mut whose);
            }
        });
        let mut number = 0..;
        let mut replace = |bytes: &mut Vec<u8>| {
            if number.next() == Some(place) {
                other.clone_into(bytes);
            }
        };
        let store = MemoryStore::new();
        let mut damaged = None;
        for SoundThread { row, rows } in &self.threads {
            let mut rows = rows.clone();
            for stored in &mut rows {
                visit(stored, row.uid, &mut replace);
            }
            if row.name == whose {
                damaged = Some(Restore { thread: row.clone(), rows, publish: true });
            }
        }
        let mut kept = decode_flush(&self.kept).expect("sound");
        for record in &mut kept {
            visit_end(&mut record.end, &mut replace);
        }
        let put = async {
            let cache = store.cache().expect("it keeps results");
            cache.put(cache_key(), encode_flush(&kept), Duration::from_hours(1)).await.expect("kept");
            let damaged = damaged.expect("a place is some thread's");
            store.rows().expect("it has rows").restore(damaged).await.expect("its hashes are right");
        };
        runtime().block_on(put);
        (whose, store)
    }
}

impl SoundThread {
    async fn read(store: &MemoryStore, name: &str) -> Self {
        let address = ThreadAddress::Name { scope: String::new(), name: name.to_owned() };
        let row = store.load(Load::head(address)).await.expect("it is there").thread;
        let mut rows = Vec::new();
        for class in RowClass::ALL.into_iter().filter(|class| *class != RowClass::Thread) {
            let query = RowsQuery { thread: row.uid, class, after: None, limit: 1_000 };
            let page = store.rows().expect("it has rows").page(query).await.expect("readable");
            assert!(page.next.is_none(), "more rows than one page has");
            rows.extend(page.rows.into_iter().map(|row| row.expect("sound")));
        }
        Self { row, rows }
    }
}

async fn begun(app: &App<Desk>, name: &str) -> Result<Vec<stepmark::interrupt::OpenQuestion>> {
    let thread = app.thread(name);
    thread.input(|desk| desk.title.set("a title".into())).await?;
    thread.questions().await
}

/// Answers until nothing is open.
async fn answered<S: State>(app: &App<S>, name: &str) -> Result<()> {
    let thread = app.thread(name);
    while let Some(open) = thread.questions().await?.first() {
        thread.answer_open(open, &true).await?;
    }
    Ok(())
}

async fn read_all(name: &str, store: MemoryStore) -> Told {
    let (mut told, process) = (Told::default(), Process { number: 4, store });
    if name == FUNCTION {
        told.read::<Function>(&function(process), name).await;
        return told;
    }
    let (app, inner) = desk(process, Fails(false));
    let thread = app.thread(name);
    for graph in told.note(thread.sub_graphs().await).unwrap_or_default() {
        told.note(thread.nested(&graph.namespace, &inner).state().await);
    }
    told.read(&app, name).await;
    // Whose node is given what is kept.
    told.note(app.thread("another").input(|desk| desk.title.set("a title".into())).await);
    told
}

impl Told {
    fn note<T>(&mut self, read: Result<T>) -> Option<T> {
        self.values += u32::from(read.is_ok());
        read.map_err(|error| self.errors.push(error.to_string())).ok()
    }

    /// Reads everything of a thread, and goes on with it.
    async fn read<S: State>(&mut self, app: &App<S>, name: &str) {
        let thread = app.thread(name);
        self.note(thread.state().await);
        let history = self.note(thread.history().await).unwrap_or_default();
        for at in &history {
            self.note(at.info().metadata_as::<Value>());
            self.note(at.state().await);
        }
        if let [new, .., old] = &history[..] {
            self.note(old.diff(new).await);
        }
        self.note(thread.unfinished().await);
        let mut events = thread.events(Kind::ALL).start();
        while let Some(event) = events.next().await {
            self.note(event);
        }
        for effect in self.note(thread.effects().await).unwrap_or_default() {
            self.note(effect.result::<Value>());
        }
        self.note(thread.graph().await);
        if let Some(past) = history.last() {
            self.note(past.fork("fork").await);
        }
        for open in self.note(thread.questions().await).unwrap_or_default() {
            self.note(thread.answer_open(&open, &true).store().await);
        }
        self.note(thread.resume().await);
        self.note(thread.state().await);
    }
}
