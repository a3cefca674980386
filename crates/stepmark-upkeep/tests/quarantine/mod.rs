//! Does a thread go on from its last good checkpoint, and from no other?

use std::sync::Arc;

use rusqlite::Connection;
use stepmark_codec::{Codec, Key, MasterKeys};
use stepmark_conformance::make::{Line, appended, full, furnished, run_id};
use stepmark_core::clock::SystemIds;
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::rows::{RunRow, RunStatus};
use stepmark_core::store::{Channels, CheckpointStore, Load, Place, RunWrite};
use stepmark_upkeep::{Error, quarantine};

use crate::common::{BACKENDS, Home, address, all_rows, memory, sqlite};
use crate::report;

/// A line of seven checkpoints whose list grows from height 1 on, and what is damaged in it.
async fn damaged_line(damage: &str) -> (Home, Line) {
    let home = sqlite();
    let mut line = Line::unborn(&home.store, "", "t");
    line.apply(line.birth().named("main").build()).await;
    let draft = line.next().stored("list", full(&["0"]));
    let mut base = draft.value("list");
    line.apply(draft.with_run(RunWrite::Begin(line.run("r", RunStatus::Open))).build()).await;
    for length in 1..6 {
        let draft = line.next().stored("list", appended(base, length, &["x"]));
        base = draft.value("list");
        line.apply(draft.build()).await;
    }
    home.store.append(line.flush(0, "result")).await.expect("the owner flushes");
    let path = home.directory.as_ref().expect("it lives in one").path().join("a.db");
    let file = Connection::open(path).expect("the file opens");
    assert!(file.execute(damage, ()).expect("it is there") > 0, "{damage}");
    (home, line)
}

#[tokio::test]
async fn damaged_branch_goes_on_from_its_last_good_checkpoint() {
    let cases = [
        ("UPDATE pending SET body = x'00'", 6),
        ("UPDATE checkpoint SET manifest = x'00' WHERE height = 6", 5),
        ("UPDATE value SET body = x'00' WHERE height = 4", 3),
        ("DELETE FROM value WHERE height = 2", 1),
        ("UPDATE checkpoint SET packed = x'00' WHERE height >= 3", 2),
        ("DELETE FROM value WHERE height = 1", 0),
    ];
    for (damage, height) in cases {
        let (home, line) = damaged_line(damage).await;
        let store = &*home.store;
        assert!(!report(&line).await.is_sound(), "{damage}");
        let done =
            quarantine(store, line.thread.uid, "main", &*SystemIds::shared()).await.expect("a checkpoint is good");
        let done = done.expect("the tip is not good");
        assert_eq!((done.from, done.checkpoint.height), (line.branch.id, height), "{damage}");
        let loaded = store.load(line.at(Place::Named("main".into()))).await.expect("the new line loads");
        assert_eq!((loaded.thread.head, loaded.branch.row.id), (done.to, done.to), "{damage}");
        assert_eq!(loaded.branch.row.tip, Some(done.checkpoint.clone()), "{damage}");
        let run = Load { run: Some(run_id("r")), ..Load::head(address(&line)) };
        let run = store.load(run).await.expect("it loads").run.expect("it began");
        assert_eq!(run.status, RunStatus::Cancelled, "{damage}");
        let mut stale = line.clone();
        let refusal = stale.send(stale.next().build()).await.expect_err("the old line was claimed");
        assert!(refusal.is(ErrorKind::Fenced, Subject::Branch), "{refusal}");
        let mut next = Line { branch: loaded.branch.row, segment: done.to, ..line.clone() };
        next.step().await;
        next.assert_stored().await;
        let again =
            quarantine(store, line.thread.uid, "main", &*SystemIds::shared()).await.expect("the new line is good");
        assert_eq!(again, None, "{damage}");
        let left = Load { channels: Channels::None, pending: false, ..line.whole() };
        let left = store.load(left).await;
        assert!(left.is_ok_and(|left| left.branch.name.is_none()) || height == 5, "{damage}");
    }
}

#[tokio::test]
async fn nothing_is_guessed() {
    let home = memory();
    let line = furnished(&home.store, "t").await;
    let uid = line.thread.uid;
    assert_eq!(quarantine(&*home.store, uid, "main", &*SystemIds::shared()).await.expect("it is sound"), None);
    let refusal =
        quarantine(&*home.store, uid, "nobody", &*SystemIds::shared()).await.expect_err("no branch has the name");
    assert!(matches!(&refusal, Error::Store(error) if error.is(ErrorKind::Missing, Subject::Branch)), "{refusal}");
    let (home, line) = damaged_line("UPDATE checkpoint SET packed = x'00'").await;
    let refusal =
        quarantine(&*home.store, line.thread.uid, "main", &*SystemIds::shared()).await.expect_err("none is good");
    assert!(matches!(&refusal, Error::Store(error) if error.is(ErrorKind::Corrupt, Subject::Branch)), "{refusal}");
    let there = Line { store: Arc::clone(&home.store), ..line };
    assert_eq!(
        there.store.load(Load { pending: false, ..Load::head(address(&there)) }).await.expect("rows load").branch.row,
        there.branch
    );
}

fn sealed(home: &Home, keys: MasterKeys) -> Arc<dyn CheckpointStore> {
    Arc::new(Codec::new().sealed(keys).around_shared(Arc::clone(&home.store)))
}

fn key(byte: u8) -> Key {
    Key::new([byte; 32])
}

async fn run_of(line: &Line, name: &str) -> RunRow {
    let run = Load { run: Some(run_id(name)), ..Load::head(address(line)) };
    line.store.load(run).await.expect("it loads").run.expect("it began")
}

/// A thread that lacks nothing but its reader's key is none to cut down.
#[tokio::test]
async fn thread_whose_key_is_not_there_is_left_alone() {
    for home in [memory(), sqlite()] {
        let old = MasterKeys::new(key(1));
        let mut line = Line::unborn(&sealed(&home, old.clone()), "", "t");
        let birth = line.birth().named("main").stored("list", full(&["a"]));
        let list = birth.value("list");
        line.apply(birth.build()).await;
        line.store = sealed(&home, old.with(2, key(2)));
        line.step().await;
        line.apply(line.next().keep("list", list).build()).await;
        let before = all_rows(&*home.store, line.thread.uid).await.expect("it is sound");
        let uid = line.thread.uid;
        // The first opens the oldest checkpoint, and no other.
        let rings = [
            (Some(MasterKeys::new(key(1)).with(2, key(3))), ErrorKind::Corrupt, Subject::Key),
            (Some(MasterKeys::new(key(9))), ErrorKind::Missing, Subject::Key),
            (None, ErrorKind::Unsupported, Subject::Value),
        ];
        for (ring, kind, subject) in rings {
            let store = match ring {
                Some(keys) => sealed(&home, keys),
                None => Arc::new(Codec::new().around_shared(Arc::clone(&home.store))),
            };
            let refusal = quarantine(&*store, uid, "main", &*SystemIds::shared()).await.expect_err("no key opens it");
            let Error::Store(refusal) = refusal else { panic!("{refusal}") };
            assert!(refusal.is(kind, subject), "{refusal}");
            assert!(subject != Subject::Key || refusal.id().contains(&uid.to_string()), "{refusal}");
        }
        assert_eq!(all_rows(&*home.store, uid).await.expect("it is sound"), before, "{}", home.name);
    }
}

/// The run that is given up keeps what its caller is known by, also behind a codec.
#[tokio::test]
async fn sealed_run_is_given_up_and_known_again() {
    for backend in BACKENDS {
        let home = backend.home().await;
        let mut line = Line::unborn(&sealed(&home, MasterKeys::new(key(1))), "", "t");
        let draft = line.birth().named("main");
        line.apply(draft.with_run(RunWrite::Begin(line.run("r", RunStatus::Open))).build()).await;
        let before = run_of(&line, "r").await;
        // Nobody sealed this one, so it does not open.
        home.store.append(line.flush(0, "result")).await.expect("the owner flushes");
        let done = quarantine(&*line.store, line.thread.uid, "main", &*SystemIds::shared()).await;
        assert!(done.expect("its tip is good").is_some());
        let run = run_of(&line, "r").await;
        let ended_at = run.ended_at;
        assert_eq!(run, RunRow { status: RunStatus::Cancelled, ended_at, ..before }, "{}", home.name);
    }
}
