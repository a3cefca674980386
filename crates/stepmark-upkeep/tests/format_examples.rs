//! Are files the bytes that `docs/format.md` shows?

mod common;

use common::{Home, exported, imported, memory};
use stepmark_core::capability::{
    AttributeChange, AttributeKind, Declaration, Item, ItemKey, ItemStamp, ItemVersion, Restore, Row,
};
use stepmark_core::id::{BranchId, CheckpointId, ClaimToken, ThreadUid};
use stepmark_core::rows::{BranchRow, EffectsMode, TagRow, ThreadRow, Tip};
use stepmark_core::store::{BlobCall, ThreadAddress};
use stepmark_core::value::{Structure, ValueAddress, ValueHead, ValueNode, ValueRow};
use stepmark_upkeep::export_all;

const DOCUMENT: &str = include_str!("../../../docs/format.md");

/// The example as version 1 had it.
const OLD: &str = "\
    8953544d4b0d0a1a01014d11111111111111111111111111111111000174b100000000000000e80300000000000051420e5b519b0b5b\
    9100b22000d8ecd5010377686f0103616e6e4bd84696c139abcda768b260849a5ad4f2bac7e45604735582e7679cc991a0d2033c0102\
    0001b10000000000000000010102633101cccccccccccccccccccccccccccccccc0000000000000000006ed9124a6e3249da0785fdf5\
    8fbb9f7a24363b910edb37d82d2e5f9fb7d94f82031f0103046d61696eb1000000000000004b08ac7f2037196d516152c4777d454fe2\
    cfdd20fb40a4e2f9ca558e591f3f08032101060004676f6f64b10000000000000001fdd6ea539990a0988dafc8259ff7ff3560b6bea9\
    ab35e578562dac4da21629f90225915953aa6f3eb3b5723aa05b60613572c243ad6b6b3ebe9e90a7db82afd812960303a268690c7f8f\
    9160eb82a1c75f072eaec4d31f0344010b00b10000000000000001002505915953aa6f3eb3b5723aa05b60613572c243ad6b6b3ebe9e\
    90a7db82afd8129603010001003d5096055c94451e946108e3b8b47adbdc73efdc10b61565c80d0fc91a6f5ff404020401ff5ff231e0\
    c5a8a78fa759955fb1120d050101ad4b7f84192d99de2788e8d199720669";

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// Thread `t` with an attribute, a branch, its name, a tag, and a value whose body lies in a blob.
async fn example() -> Home {
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
    home
}

/// The same with a time when the thread may go, and with an item.
async fn whole_example() -> Vec<u8> {
    let home = example().await;
    let retention = home.store.retention().expect("it lets threads go");
    retention.set_expiry(ThreadUid([0x11; 16]), Some(4_102_444_800_000_000)).await.expect("it is there");
    let key = ItemKey { scope: String::new(), namespace: ["users", "ada"].into(), key: "diet".into() };
    let stamp = ItemStamp {
        version: ItemVersion(7),
        created_at: 1000,
        updated_at: 2000,
        expires_at: Some(4_102_444_800_000_000),
    };
    let item = Item { key, value: b"\"none\"".to_vec(), ttl_us: Some(3_600_000_000), stamp };
    home.store.items().expect("it keeps items").restore(vec![item]).await.expect("nothing is there");
    let mut file = Vec::new();
    export_all(&*home.store, "", &mut file, &mut |_, _| {}).await.expect("it is whole");
    file
}

#[tokio::test]
async fn file_is_what_the_document_shows() {
    let file = whole_example().await;
    let shown: String = DOCUMENT.chars().filter(|char| !char.is_whitespace()).collect();
    assert!(shown.contains(&hex(&file)), "docs/format.md does not show the file: {}", hex(&file));
    imported(&*memory().store, &file).await.expect("the file is whole");
}

/// A file of an earlier version is read, and what is there then is the same.
#[tokio::test]
async fn older_files_are_read() {
    let digits = OLD.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("digits"));
    let old: Vec<u8> = digits.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal")).collect();
    let home = memory();
    imported(&*home.store, &old).await.expect("the file is whole");
    let threads = [ThreadAddress::Uid(ThreadUid([0x11; 16]))];
    assert!(exported(&*home.store, &threads).await == exported(&*example().await.store, &threads).await);
}
