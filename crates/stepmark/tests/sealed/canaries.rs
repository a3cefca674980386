//! Is a secret in no raw file, log or dump, wherever a run put it?

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::types::ValueRef;
use stepmark::clock::{Clock, IdGen, Sleep, SystemClock};
use stepmark::run::{CheckpointId, Source, Timestamp};
use stepmark::store::CheckpointStore;
use stepmark::stream::Kind;
use stepmark::{Checkpoints, MemoryStore, Sqlite};
use stepmark_codec::{Codec, Key, MasterKeys};
use stepmark_store_postgres::PostgresStore;
use stepmark_testbed::PostgresServer;

use crate::case::{CANARY, Case, Lab, STORED, answer, app, begin, canary};
use crate::recoded::recoded_into;

fn sealing() -> Codec {
    Codec::new().compressed().sealed(MasterKeys::new(Key::new([7; 32])))
}

/// All bytes of all files of a database.
pub(crate) fn files(path: &Path) -> Vec<u8> {
    let folder = path.parent().expect("a folder");
    let files = std::fs::read_dir(folder).expect("it lists").map(|entry| entry.expect("an entry").path());
    files.flat_map(|path| std::fs::read(path).expect("it reads")).collect()
}

/// All cells of all tables, as a dump would have them.
pub(crate) fn dump(path: &Path) -> Vec<u8> {
    cells(path).join(&0)
}

pub(crate) fn cells(path: &Path) -> Vec<Vec<u8>> {
    let file = Connection::open(path).expect("it opens");
    let mut tables = file.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").expect("sql");
    let names: Vec<String> =
        tables.query_map((), |row| row.get(0)).expect("rows").map(|name| name.expect("text")).collect();
    let mut cells = Vec::new();
    for name in names {
        let mut rows = file.prepare(&format!("SELECT * FROM \"{name}\"")).expect("sql");
        let columns = rows.column_count();
        let mut rows = rows.query(()).expect("rows");
        while let Some(row) = rows.next().expect("a row") {
            for column in 0..columns {
                if let ValueRef::Text(cell) | ValueRef::Blob(cell) = row.get_ref(column).expect("a cell") {
                    cells.push(cell.to_vec());
                }
            }
        }
    }
    cells
}

pub(crate) fn holds(bytes: &[u8], word: &[u8]) -> bool {
    let (first, rest) = (word[0], &word[1..]);
    let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == first);
    starts.map(|(at, _)| &bytes[at + 1..]).any(|behind| behind.starts_with(rest))
}

/// As dumps of PostgreSQL write bytes.
fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |digits, byte| format!("{digits}{byte:02x}"))
}

/// A run with a failure, a question and an effect; then a hand at it, forks, and a plain value.
pub(crate) async fn run(store: impl CheckpointStore + Clone, mut look: impl FnMut(&str)) -> Case {
    let lab = Lab::default();
    lab.fail_once();
    let app = app(store.clone(), &lab);
    let thread = app.thread("visit");
    begin(&thread).await.expect_err("judge fails once");
    look("after a failure");
    assert!(thread.resume().await.expect("it goes on").is_interrupted());
    look("while it waits");
    let done = answer(&thread).await.expect("it is answered");
    assert!(done.is_done());
    // What was streamed is read back from the same records, so there is nothing besides them to seal.
    let mut events = thread.events([Kind::Updates, Kind::Values, Kind::Checkpoints]).start();
    let mut streamed = String::new();
    while let Some(event) = events.next().await {
        streamed += &serde_json::to_string(&event.expect("it is read back")).expect("it is told as JSON");
    }
    assert!(["note", "answer", "receipt"].iter().all(|word| streamed.contains(&canary(word))), "{streamed}");
    thread.update(|case| case.patient.set(canary("patient"))).author(canary("author")).await.expect("written by hand");
    thread.at_step(2).await.expect("is there").fork("other").await.expect("it forks");
    thread.at_step(3).await.expect("is there").fork_to("copy").await.expect("it is copied");
    let checkpoints = Checkpoints::<String>::new(store);
    checkpoints.save("plain", &canary("plain")).await.expect("it is saved");
    assert_eq!(checkpoints.load("plain").await.expect("it loads"), Some(canary("plain")));
    look("at the end");
    done.state().clone()
}

#[tokio::test]
async fn secrets_are_in_no_file_log_or_dump() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sealed.db");
    let store = sealing().around(Sqlite::open(&path).expect("it opens"));
    let state = run(store, |when| {
        for (what, bytes) in [("files", files(&path)), ("dump", dump(&path))] {
            assert!(bytes.len() > 2_000 && !holds(&bytes, CANARY.as_bytes()), "{what} {when}");
        }
    })
    .await;
    assert_eq!((state.verdict, state.receipt), (canary("answer"), canary("receipt")));
}

#[tokio::test]
async fn slow_secrets_are_in_no_file_log_or_dump_of_postgresql() {
    let server = PostgresServer::start().expect("a server of its own");
    let opened = async |schema| PostgresStore::options().schema(schema).open(&server.url()).await.expect("it opens");
    // The log has all that ever was in the tables, so one look at the end is enough.
    let look = || {
        let [files, dump] = [server.raw_files(), server.dump()].map(|bytes| bytes.expect("it is read"));
        [holds(&files, CANARY.as_bytes()), holds(&dump, hexadecimal(CANARY.as_bytes()).as_bytes())]
    };
    let state = run(sealing().around(opened("sealed").await), |_| ()).await;
    assert_eq!((state.verdict, state.receipt), (canary("answer"), canary("receipt")));
    // Nor is there what another store's key had sealed, once all of it was sealed anew here.
    let folder = tempfile::tempdir().expect("a folder");
    let old = recoded_into(opened("recoded").await, folder.path()).await;
    assert_eq!(look(), [false, false]);
    let [files, dump] = [server.raw_files(), server.dump()].map(|bytes| bytes.expect("it is read"));
    assert!(old.iter().all(|key| !holds(&files, key) && !holds(&dump, hexadecimal(key).as_bytes())));
    // What was looked for is found where nothing is sealed.
    run(opened("plain").await, |_| ()).await;
    assert_eq!(look(), [true, true]);
}

/// Items that threads share are sealed too, and what would have to look into them is refused.
#[tokio::test]
async fn sealed_items_show_nothing() {
    use stepmark::items::{Filter, Items};
    use stepmark::store::Subject;

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sealed.db");
    let file = Sqlite::open(&path).expect("it opens");
    let items = Items::of(sealing().around(file.clone())).expect("it keeps items");
    items.put(["users", "ada"], "word", &canary("item")).await.expect("kept");
    for (what, bytes) in [("files", files(&path)), ("dump", dump(&path))] {
        assert!(holds(&bytes, b"word") && !holds(&bytes, CANARY.as_bytes()), "{what}");
    }
    let read = items.get::<String>(["users", "ada"], "word").await.expect("it opens");
    assert_eq!(read.map(|item| item.value), Some(canary("item")));
    let found = items.search::<String>("users").await.expect("by namespace").items;
    assert_eq!(found.len(), 1);
    let texts = items.search::<String>("users").text("item").await;
    let filters = items.search::<String>("users").filter(Filter::eq("a", 1)).await;
    for refused in [texts, filters] {
        let error = refused.expect_err("values are sealed");
        assert!(error.store_error().is_some_and(|error| error.subject() == Subject::Item), "{error}");
    }
    // One that is moved to another key does not open.
    let raw = Items::of(file).expect("it keeps items");
    assert!(raw.get::<String>(["users", "ada"], "word").await.is_err(), "it is no JSON without the key");
    raw.put(["users", "ada"], "plain", &"forged").await.expect("written past the codec");
    assert!(items.get::<String>(["users", "ada"], "plain").await.is_err(), "it is not sealed");
}

/// The same run leaves each of them where nothing is sealed: what the test above looks for can be found.
#[tokio::test]
async fn secrets_are_found_where_nothing_is_sealed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("plain.db");
    let mut found = Vec::new();
    run(Sqlite::open(&path).expect("it opens"), |_| found.push(dump(&path))).await;
    for word in STORED.into_iter().chain(["plain"]) {
        assert!(found.iter().any(|bytes| holds(bytes, canary(word).as_bytes())), "{word}");
    }
}

/// Hashes of what a case can guess are not there either: fingerprints of effects, hashes of inputs, keys of kept results.
#[tokio::test]
async fn guessed_contents_are_not_confirmed() {
    let hashes = |path: &Path| -> Vec<Vec<u8>> {
        let file = Connection::open(path).expect("it opens");
        let sql = "SELECT fingerprint FROM ledger UNION ALL SELECT input_hash FROM run UNION ALL SELECT key FROM cache";
        let mut rows = file.prepare(sql).expect("sql");
        rows.query_map((), |row| row.get(0)).expect("rows").map(|hash| hash.expect("bytes")).collect()
    };
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let [plain, sealed] = folders.each_ref().map(|folder| folder.path().join("case.db"));
    run(Sqlite::open(&plain).expect("it opens"), |_| ()).await;
    run(sealing().around(Sqlite::open(&sealed).expect("it opens")), |_| ()).await;
    let (plain, sealed) = (hashes(&plain), dump(&sealed));
    let guessed: Vec<_> = plain.iter().filter(|hash| hash.iter().any(|byte| *byte != 0)).collect();
    assert!(guessed.len() >= 3, "{guessed:?}");
    assert!(guessed.into_iter().all(|hash| !holds(&sealed, hash)));
}

/// Time that stands, and ids that are counted: two runs have the same.
#[derive(Debug, Default)]
struct Counted(AtomicU64);

impl Clock for Counted {
    fn now(&self) -> Timestamp {
        1_700_000_000_000_000
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        SystemClock.sleep(duration)
    }
}

impl IdGen for Counted {
    fn fill(&self, bytes: &mut [u8]) {
        let number = self.0.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        bytes.iter_mut().zip(number.iter().cycle()).for_each(|(byte, digit)| *byte = digit ^ 0x5a);
    }
}

/// The id of the checkpoint that an answer with an update makes: it is derived of both.
async fn id_of_answer(store: impl CheckpointStore) -> CheckpointId {
    let app = app(store, &Lab::default()).with_sources(Arc::new(Counted::default()), Arc::new(Counted::default()));
    let thread = app.thread("visit");
    begin(&thread).await.expect("it runs");
    let open = thread.questions().await.expect("listed").remove(0);
    let answer = thread.answer_open(&open, &canary("answer")).update(|case| case.looks.add(1));
    answer.store().await.expect("it is stored");
    let history = thread.history().await.expect("listed");
    history.into_iter().find(|checkpoint| checkpoint.source == Source::Update).expect("an update").id.clone()
}

/// Who knows what may be answered does not find out by the id which answer was given.
#[tokio::test]
async fn ids_do_not_confirm_what_was_answered() {
    let plain = id_of_answer(MemoryStore::new()).await;
    assert_eq!(plain, id_of_answer(MemoryStore::new()).await, "without keys anybody derives it");
    assert_ne!(plain, id_of_answer(sealing().around(MemoryStore::new())).await);
}
