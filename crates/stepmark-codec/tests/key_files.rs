//! Are keys in files made once, kept, and nobody else's?

use std::sync::Arc;

use stepmark_codec::{FileKeys, Key, KeyOwner, KeyProvider, MasterKeys};
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::id::ThreadUid;

const ONE: ThreadUid = ThreadUid([1; 16]);
const OTHER: ThreadUid = ThreadUid([2; 16]);

fn open(folder: &std::path::Path, master: u8) -> FileKeys {
    FileKeys::open(folder, MasterKeys::new(Key::new([master; 32]))).expect("the folder opens")
}

#[test]
fn one_of_many_makers_makes_the_key() {
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    let makers = (0..8).map(|_| {
        let folder = Arc::clone(&folder);
        std::thread::Builder::new()
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
                let made = runtime.block_on(open(folder.path(), 7).make(KeyOwner::Thread(ONE)));
                std::fs::read(folder.path().join(format!("{ONE}.key")))
                    .map(|file| (file, made.expect("a key").newest()))
            })
            .expect("a thread")
    });
    let makers: Vec<_> = makers.collect();
    let files: Vec<_> = makers.into_iter().map(|maker| maker.join().expect("it ends").expect("a file")).collect();
    assert!(files.iter().all(|file| *file == files[0]), "each saw another key");
}

#[tokio::test]
async fn file_of_another_thread_or_master_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = open(folder.path(), 7);
    keys.make(KeyOwner::Thread(ONE)).await.expect("a key");
    let file = |thread: ThreadUid| folder.path().join(format!("{thread}.key"));
    let refused = open(folder.path(), 8).keys(KeyOwner::Thread(ONE)).await.expect_err("another master key");
    assert!(refused.is(ErrorKind::Corrupt, Subject::Key), "{refused:?}");
    std::fs::copy(file(ONE), file(OTHER)).expect("it is copied");
    let refused = keys.keys(KeyOwner::Thread(OTHER)).await.expect_err("it is another thread's");
    assert!(refused.is(ErrorKind::Corrupt, Subject::Key), "{refused:?}");
    // What is there is never made anew, however damaged.
    assert!(keys.make(KeyOwner::Thread(OTHER)).await.is_err());
}

/// A new master key takes the old one's place, while threads keep the keys that sealed them.
#[tokio::test]
async fn rewrapped_keys_need_no_older_master_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let owners = [KeyOwner::Thread(ONE), KeyOwner::Thread(OTHER), KeyOwner::Store];
    for owner in owners {
        open(folder.path(), 7).make(owner).await.expect("a key");
    }
    open(folder.path(), 7).rotate(ONE).expect("a second key");
    open(folder.path(), 7).destroy(OTHER).expect("it is destroyed");
    let old = open(folder.path(), 7);
    let secret = |ring: stepmark_codec::KeyRing| (ring.newest(), format!("{ring:?}"));
    let before = secret(old.keys(owners[0]).await.expect("its keys"));

    let both = MasterKeys::new(Key::new([7; 32])).with(2, Key::new([8; 32]));
    let keys = FileKeys::open(folder.path(), both).expect("it opens");
    for _ in 0..2 {
        assert_eq!(keys.rewrap().expect("they are wrapped anew"), 2);
    }
    let newest = MasterKeys::new(Key::new([9; 32])).with(2, Key::new([8; 32]));
    let keys = FileKeys::open(folder.path(), newest).expect("it opens");
    assert_eq!(secret(keys.keys(owners[0]).await.expect("the new master key is enough")), before);
    keys.keys(KeyOwner::Store).await.expect("the new master key is enough");
    assert!(keys.keys(owners[1]).await.expect_err("destroyed stays destroyed").is(ErrorKind::Deleted, Subject::Key));
    let refused = old.keys(owners[0]).await.expect_err("the old master key is of no use");
    assert!(refused.is(ErrorKind::Missing, Subject::Key), "{refused:?}");
}

#[tokio::test]
async fn rotated_keys_are_kept_and_destroyed_ones_are_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = open(folder.path(), 7);
    let missing = keys.rotate(ONE).expect_err("it has none");
    assert!(missing.is(ErrorKind::Missing, Subject::Key) && missing.id().contains(&ONE.to_string()), "{missing:?}");
    for owner in [ONE, OTHER] {
        keys.make(KeyOwner::Thread(owner)).await.expect("a key");
    }
    assert_eq!((keys.rotate(ONE).expect("2"), keys.rotate(ONE).expect("3")), (2, 3));
    assert_eq!(open(folder.path(), 7).keys(KeyOwner::Thread(ONE)).await.expect("three").newest(), 3);
    keys.destroy(ONE).expect("it is destroyed");
    for refused in [keys.keys(KeyOwner::Thread(ONE)).await.err(), keys.make(KeyOwner::Thread(ONE)).await.err()] {
        let refused = refused.expect("no key is made in its place");
        assert!(refused.is(ErrorKind::Deleted, Subject::Key), "{refused:?}");
    }
    assert!(!folder.path().join(format!("{ONE}.key")).exists());
    keys.keys(KeyOwner::Thread(OTHER)).await.expect("the other is untouched");
}
