//! When a store gets other keys, is everything there, and nothing left that the old ones sealed?

use std::collections::BTreeSet;
use std::path::Path;

use stepmark::Sqlite;
use stepmark::items::Items;
use stepmark::store::CheckpointStore;
use stepmark_codec::{Codec, Key, MasterKeys, recode_all};

use crate::canaries::{cells, dump, files, holds, run};
use crate::case::{CANARY, Lab, app, canary};

/// The mark of sealed bytes and its version, then the key's epoch, one byte here, and the key's id.
const ENVELOPE: [u8; 2] = [0xc1, 1];
const BEGINNING_BYTES: usize = 7;

fn sealed_by(key: u8) -> Codec {
    Codec::new().compressed().sealed(MasterKeys::new(Key::new([key; 32])))
}

/// The keys of a file's sealed cells, as their records begin.
fn keys_of(path: &Path) -> BTreeSet<Vec<u8>> {
    let sealed = cells(path).into_iter().filter(|cell| cell.starts_with(&ENVELOPE));
    sealed.map(|cell| cell[..BEGINNING_BYTES].to_vec()).collect()
}

/// Fills a store that an old key seals, seals it anew into `new`, which must open without that key, and answers how the
/// records began that the old key had sealed.
pub(crate) async fn recoded_into(new: impl CheckpointStore + Clone, folder: &Path) -> BTreeSet<Vec<u8>> {
    let path = folder.join("old.db");
    let old = sealed_by(1).around(Sqlite::open(&path).expect("it opens"));
    run(old.clone(), |_| ()).await;
    let items = Items::of(old.clone()).expect("it keeps items");
    for number in 0..3 {
        items.put(["users", "ada"], format!("{number}"), &canary("item")).await.expect("kept");
    }
    let new = sealed_by(2).around(new);
    // Sent again, as after a crash.
    for _ in 0..2 {
        assert_eq!(recode_all(&old, &new, "").await.expect("all is sealed anew"), 3);
    }
    let [before, after] = [old, new.clone()].map(|store| app(store, &Lab::default()).thread("visit"));
    let (before, after) = (before.history().await.expect("it lists"), after.history().await.expect("it lists"));
    assert!(before.len() > 3);
    assert_eq!(before.iter().map(|c| &c.id).collect::<Vec<_>>(), after.iter().map(|c| &c.id).collect::<Vec<_>>());
    let recoded = app(new.clone(), &Lab::default());
    for checkpoint in after {
        recoded.thread("visit").at(&checkpoint.id).state().await.expect("every moment reads");
    }
    let found = Items::of(new).expect("it keeps items").search::<String>("users").await.expect("they open").items;
    assert!(found.len() == 3 && found.iter().all(|item| item.value == canary("item")), "{found:?}");
    keys_of(&path)
}

#[tokio::test]
async fn recoded_store_has_nothing_under_its_old_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("new").join("new.db");
    std::fs::create_dir(path.parent().expect("a folder")).expect("made");
    let old = recoded_into(Sqlite::open(&path).expect("it opens"), folder.path()).await;
    let new = keys_of(&path);
    assert!(old.len() > 2 && new.len() > 2 && old.is_disjoint(&new), "{old:?} {new:?}");
    for (what, bytes) in [("files", files(&path)), ("dump", dump(&path))] {
        assert!(!holds(&bytes, CANARY.as_bytes()), "{what}");
        assert!(old.iter().all(|key| !holds(&bytes, key)), "{what}: a record of the old key");
        assert!(new.iter().all(|key| holds(&bytes, key)), "{what}: what is looked for would be found");
    }
}
