//! Are files the bytes that `docs/format.md` shows?

mod common;

use common::{exported, imported, memory};
use stepmark_core::capability::{AttributeChange, AttributeKind, Declaration, Restore, Row};
use stepmark_core::id::{BranchId, CheckpointId, ClaimToken, ThreadUid};
use stepmark_core::rows::{BranchRow, EffectsMode, TagRow, ThreadRow, Tip};
use stepmark_core::store::{BlobCall, ThreadAddress};
use stepmark_core::value::{Structure, ValueAddress, ValueHead, ValueNode, ValueRow};

const DOCUMENT: &str = include_str!("../../../docs/format.md");

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// Thread `t` with an attribute, a branch, its name, a tag, and a value whose body lies in a blob.
async fn example() -> Vec<u8> {
    let home = memory();
    let head = BranchId::new(0xb1).expect("not zero");
    let uid = ThreadUid([0x11; 16]);
    let thread = ThreadRow { uid, scope: String::new(), name: "t".into(), head, created_at: 1000 };
    let tip = Tip { height: 1, id: CheckpointId::parse("c1").expect("an id") };
    let row = BranchRow {
        id: head,
        fork: None,
        tip: Some(tip),
        epoch: 1,
        claim: ClaimToken([0xcc; 16]),
        effects: EffectsMode::Ledger,
        root: None,
    };
    let bytes = vec![0xa2, b'h', b'i'];
    let hash = stepmark_core::id::BlobHash::of(&bytes);
    home.store.blob(BlobCall::Put { scope: String::new(), bytes }).await.expect("it is kept");
    let value = ValueHead { blob: Some((hash, 3)), ..ValueHead::new(Structure::Full, 1) };
    let node = ValueNode { head: value, body: Vec::new() };
    let address = ValueAddress { branch: head, height: 1, ordinal: 0 };
    let rows = vec![
        Row::Branch { namespace: String::new(), number: 1, row },
        Row::Ref { name: "main".into(), branch: head },
        Row::Tag { namespace: String::new(), row: TagRow { name: "good".into(), branch: head, height: 1 } },
        Row::Value { namespace: String::new(), row: ValueRow { address, node } },
    ];
    let restore = Restore { thread, rows, publish: true };
    home.store.rows().expect("it has rows").restore(restore).await.expect("its head is there");
    let search = home.store.search().expect("it searches");
    let declaration = Declaration { name: "who".into(), kind: AttributeKind::Text };
    search.declare("", vec![declaration]).await.expect("nothing else is declared");
    let change = AttributeChange { name: "who".into(), value: Some("ann".into()) };
    search.set_attributes(uid, vec![change]).await.expect("it is declared");
    exported(&*home.store, &[ThreadAddress::Uid(uid)]).await
}

#[tokio::test]
async fn file_is_what_the_document_shows() {
    let file = example().await;
    let shown: String = DOCUMENT.chars().filter(|char| !char.is_whitespace()).collect();
    assert!(shown.contains(&hex(&file)), "docs/format.md does not show the file: {}", hex(&file));
    imported(&*memory().store, &file).await.expect("the file is whole");
}
