//! What does a caller see when keys change, are others, are gone or are destroyed?

use stepmark::items::Items;
use stepmark::store::{CheckpointStore, Load, Subject, ThreadAddress};
use stepmark::{Error, MemoryStore, Sqlite};
use stepmark_codec::{Codec, FileKeys, Key, MasterKeys};
use stepmark_core::error::ErrorKind;
use stepmark_core::id::ThreadUid;

use crate::case::{Lab, answer, app, begin, canary};

fn master() -> MasterKeys {
    MasterKeys::new(Key::new([7; 32]))
}

async fn uid(store: &impl CheckpointStore, name: &str) -> ThreadUid {
    let address = ThreadAddress::Name { scope: String::new(), name: name.to_owned() };
    store.load(Load::head(address)).await.expect("it loads").thread.uid
}

/// The store's own error below an error of the engine.
fn refused(error: &Error, kind: ErrorKind, names: &[&str]) {
    let store = error.store_error().unwrap_or_else(|| panic!("no store refused it: {error}"));
    assert!(store.is(kind, Subject::Key), "{store:?}");
    assert!(names.iter().all(|name| store.to_string().contains(name)), "{store}");
}

#[tokio::test]
async fn keys_are_rotated_in_the_middle_of_a_thread() {
    let (kept, lab) = (MemoryStore::new(), Lab::default());
    let first = app(Codec::new().sealed(master()).around(kept.clone()), &lab);
    assert!(begin(&first.thread("t")).await.expect("it runs").is_interrupted());
    // Another process has a newer key beside the old one.
    let both = || master().with(2, Key::new([8; 32]));
    let second = app(Codec::new().sealed(both()).around(kept.clone()), &lab);
    assert!(answer(&second.thread("t")).await.expect("it is answered").is_done());
    assert_eq!(second.thread("t").state().await.expect("it reads").state().verdict, canary("answer"));
    for checkpoint in second.thread("t").history().await.expect("it lists") {
        second.thread("t").at(&checkpoint.id).state().await.expect("every moment reads");
    }
    // Who has the old key alone reads what it sealed, and is told which one is missing for the rest.
    let refusal = first.thread("t").state().await.expect_err("its tip is newer");
    refused(
        &refusal,
        ErrorKind::Missing,
        &["epoch 2", &uid(&Codec::new().sealed(both()).around(kept), "t").await.to_string()],
    );
    assert!(first.thread("t").at_step(0).await.is_err() || first.thread("t").at_step(1).await.is_err());
}

/// An answer that was given before a rotation is the same answer after it, and so is every other repeated call.
#[tokio::test]
async fn repeated_calls_are_repeated_after_a_rotation() {
    let (kept, lab) = (MemoryStore::new(), Lab::default());
    let first = app(Codec::new().sealed(master()).around(kept.clone()), &lab);
    begin(&first.thread("t")).await.expect("it runs");
    let open = first.thread("t").questions().await.expect("listed").remove(0);
    first.thread("t").answer_open(&open, &canary("answer")).store().await.expect("it is stored");
    let second = app(Codec::new().sealed(master().with(2, Key::new([8; 32]))).around(kept), &lab);
    let again = second.thread("t").answer_open(&open, &canary("another")).store().await.expect_err("there is one");
    assert_eq!(again.kind(), stepmark::ErrorKind::AlreadyAnswered);
    // The run id was used for the same input: its hash is told apart from others whichever key is the newest.
    let repeated = begin(&second.thread("t")).await;
    assert!(
        repeated.is_ok() || repeated.as_ref().is_err_and(|error| error.kind() == stepmark::ErrorKind::RunActive),
        "{repeated:?}"
    );
}

#[tokio::test]
async fn wrong_and_missing_keys_name_key_and_thread_and_lose_nothing() {
    let (kept, lab) = (MemoryStore::new(), Lab::default());
    let right = app(Codec::new().sealed(master()).around(kept.clone()), &lab);
    begin(&right.thread("t")).await.expect("it runs");
    let name = uid(&Codec::new().sealed(master()).around(kept.clone()), "t").await.to_string();

    let wrong = app(Codec::new().sealed(MasterKeys::new(Key::new([9; 32]))).around(kept.clone()), &lab);
    for error in [
        wrong.thread("t").state().await.err(),
        begin(&wrong.thread("t")).await.err(),
        wrong.thread("t").resume().await.err(),
    ] {
        refused(&error.expect("it has another key"), ErrorKind::Corrupt, &["epoch 1", &name]);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let empty = FileKeys::open(folder.path(), master()).expect("it opens");
    let missing = app(Codec::new().sealed(empty).around(kept.clone()), &lab);
    for error in [missing.thread("t").state().await.err(), missing.thread("t").resume().await.err()] {
        refused(&error.expect("it has no key"), ErrorKind::Missing, &[&name]);
    }
    assert!(answer(&right.thread("t")).await.expect("nothing was lost").is_done());
}

#[tokio::test]
async fn destroyed_key_erases_its_thread_and_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = || FileKeys::open(folder.path().join("keys"), master()).expect("it opens");
    let path = folder.path().join("case.db");
    let store = || Codec::new().compressed().sealed(keys()).around(Sqlite::open(&path).expect("it opens"));
    let (app, lab) = (app(store(), &Lab::default()), Lab::default());
    for name in ["t", "u"] {
        begin(&app.thread(name)).await.expect("it runs");
    }
    let uid = uid(&store(), "t").await;
    let epoch = keys().rotate(uid).expect("it has a key");
    assert_eq!(epoch, 2);
    assert!(answer(&app.thread("t")).await.expect("with the new key").is_done());

    // Nothing of a thread is among the items but what its nodes put there; and what is there is nobody's.
    let items = Items::of(store()).expect("it keeps items");
    assert!(items.namespaces().await.expect("listed").namespaces.is_empty());
    items.put("users", "ada", &canary("item")).await.expect("kept");

    keys().destroy(uid).expect("it is destroyed");
    keys().destroy(uid).expect("it stays destroyed");
    assert!(items.get::<String>("users", "ada").await.expect("its key is the store's").is_some());
    let other = crate::case::app(store(), &lab);
    for app in [&app, &other] {
        for error in [
            app.thread("t").state().await.err(),
            begin(&app.thread("t")).await.err(),
            app.thread("t").resume().await.err(),
        ] {
            refused(&error.expect("it is erased"), ErrorKind::Deleted, &[&uid.to_string()]);
        }
    }
    // It waits for nobody, and the others go on.
    let open = app.questions().await.expect("they are listed");
    assert_eq!(open.iter().map(|open| &*open.thread).collect::<Vec<_>>(), ["u"]);
    assert!(answer(&app.thread("u")).await.expect("its key is there").is_done());
    store().delete_thread(uid).await.expect("what nobody reads can be deleted");
}
