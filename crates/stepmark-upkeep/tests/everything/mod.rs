//! Is everything of a store verified: items beside threads, each damaged one named, and the others looked at all the same?

use rusqlite::Connection;
use stepmark_codec::{Codec, Key, MasterKeys};
use stepmark_core::capability::{ExpectItem, ItemKey, ItemVersion, ItemWrite, Namespace};
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::store::CheckpointStore;
use stepmark_upkeep::{Error, ItemsBelow, Problem, verify_all, verify_items};

use crate::common::{BACKENDS, Backend, Home, memory, sqlite, two_threads};

const ITEMS: u64 = 70;

/// More items than a page holds; one of another tenant.
async fn remember(store: &dyn CheckpointStore) {
    let items = store.items().expect("it keeps items");
    for number in 0..ITEMS {
        let namespace = Namespace::from(["users".to_owned(), format!("{}", number % 7)]);
        let key = ItemKey { scope: String::new(), namespace, key: format!("{number:02}") };
        let value = b"\"remembered\"".to_vec();
        let write = ItemWrite { key, value, ttl: None, version: ItemVersion(number), expect: ExpectItem::Any };
        items.put(write.clone()).await.expect("kept");
        if number == 0 {
            let key = ItemKey { scope: "other".into(), ..write.key.clone() };
            items.put(ItemWrite { key, ..write }).await.expect("kept");
        }
    }
}

fn file_of(home: &Home) -> Connection {
    let path = home.directory.as_ref().expect("it lives in one").path().join("a.db");
    Connection::open(path).expect("the file opens")
}

#[tokio::test]
async fn sound_stores_are_verified_whole() {
    for backend in BACKENDS {
        let home = backend.home().await;
        two_threads(&home.store).await;
        let keeps = matches!(backend, Backend::Memory | Backend::Sqlite | Backend::Postgres);
        if keeps {
            remember(&*home.store).await;
        }
        let report = verify_all(&*home.store, "").await.expect("it can be read");
        assert!(report.is_sound(), "{}: {report:?}", home.name);
        assert_eq!((report.threads, report.items.rows), (2, if keeps { ITEMS } else { 0 }), "{}", home.name);
        assert!(report.rows > 60);
        let other = verify_all(&*home.store, "other").await.expect("it can be read");
        assert_eq!((other.threads, other.items.rows), (0, u64::from(keeps)), "{}", home.name);
    }
    let refused = verify_items(&*Backend::Redis.home().await.store, &ItemsBelow::default()).await;
    assert!(matches!(refused, Err(Error::Store(error)) if error.is(ErrorKind::Unsupported, Subject::Store)));
    assert!(memory().store.items().is_some());
}

/// What is done to the item of a key, and how it is named then.
const DAMAGE: [(&str, &str, &str); 7] = [
    ("value = CAST(substr(value, 1, length(value) - 1) || x'01' AS BLOB)", "01", "users/1/01"),
    ("version = version + 1", "31", "users/3/31"),
    ("ttl_us = 1", "32", "users/4/32"),
    ("hash = CAST(substr(hash, 1, length(hash) - 1) || x'01' AS BLOB)", "33", "users/5/33"),
    ("key = x'33347f'", "34", "users/6/34\u{7f}"),
    // No label is stored so; the last one lies outside of all labels.
    ("namespace = x'757365720000ff'", "68", "x'757365720000ff'/x'3638'"),
    ("namespace = x'ffa1000000'", "69", "x'ffa1000000'/x'3639'"),
];

/// One bit of some items, sealed or not, in each column that their hash covers.
#[tokio::test]
async fn damaged_items_are_named_and_the_others_are_read() {
    let keys = || Codec::new().sealed(MasterKeys::new(Key::new([0x5e; 32])));
    for is_sealed in [false, true] {
        let home = sqlite();
        if is_sealed {
            remember(&keys().around_shared(home.store.clone())).await;
        } else {
            remember(&*home.store).await;
        }
        let file = file_of(&home);
        for (change, key, _) in DAMAGE {
            let sql = format!("UPDATE item SET {change} WHERE key = ?1 AND scope = ''");
            assert_eq!(file.execute(&sql, [key.as_bytes()]).expect("it is there"), 1, "{sql}");
        }
        let report = verify_all(&*home.store, "").await.expect("it can be read").items;
        assert_eq!(report.rows, ITEMS);
        let mut named: Vec<&str> = report.findings.iter().map(|finding| &finding.id[..]).collect();
        named.sort_unstable();
        let mut damaged = DAMAGE.map(|(.., id)| id);
        damaged.sort_unstable();
        assert_eq!(named, damaged);
        let about = |finding: &stepmark_upkeep::Finding| (finding.problem, finding.subject);
        assert!(report.findings.iter().all(|finding| about(finding) == (Problem::Damaged, Subject::Item)));
        let below = ItemsBelow { prefix: Namespace::from(["users", "1"]), ..ItemsBelow::default() };
        let below = verify_items(&*home.store, &below).await.expect("it can be read");
        assert_eq!((below.rows, below.findings.len()), (ITEMS / 7, 1));
    }
}

#[tokio::test]
async fn thread_that_cannot_be_read_hides_no_other() {
    let home = sqlite();
    let [one, two] = two_threads(&home.store).await;
    let file = file_of(&home);
    file.execute("UPDATE thread SET created_at = created_at + 1 WHERE name = 'one'", ()).expect("it is there");
    let sql = "UPDATE value SET body = x'00' WHERE thread = (SELECT number FROM thread WHERE uid = ?1)";
    assert!(file.execute(sql, [two.thread.uid.0]).expect("they are there") > 0);
    let report = verify_all(&*home.store, "").await.expect("it can be read");
    assert!(!report.is_sound());
    let mut unsound: Vec<_> = report.unsound.iter().map(|(thread, _)| *thread).collect();
    unsound.sort();
    let mut expected = [one.thread.uid, two.thread.uid];
    expected.sort();
    assert_eq!((report.threads, &unsound[..]), (2, &expected[..]));
}
