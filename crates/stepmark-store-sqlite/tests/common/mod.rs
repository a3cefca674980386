//! A small thread for store tests: how is a commit built without an engine?

#![allow(dead_code, reason = "each test file uses its own part")]

use std::path::{Path, PathBuf};

use stepmark_core::checkpoint::{ChannelEntry, CheckpointRow, Manifest, Source};
use stepmark_core::child::{ChildOf, ChildPlace};
use stepmark_core::effect::{EffectEnd, EffectIntent, EffectKey, EffectOutcome, EffectWrite, Nonce};
use stepmark_core::id::{BranchId, CheckpointId, ClaimToken, InterruptId, RecordHash, RunId, TaskHash, ThreadUid};
use stepmark_core::interrupt::{Answer, Asker, Question};
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::rows::{BranchRow, EffectsMode, ForkPoint, RunRow, RunStatus, TagRow, ThreadRow, Tip};
use stepmark_core::store::{
    Channels, CheckpointStore, Commit, Expect, Load, Outcome, Place, Records, TagWrite, ThreadAddress,
};
use stepmark_core::value::{
    NumberedValue, Structure, ValueAddress, ValueHead, ValueNode, ValueRef, ValueRow, encode_packed,
};
use stepmark_store_sqlite::Sqlite;

/// A directory that goes away with the test, and a path in it.
pub(crate) struct Home {
    directory: tempfile::TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory") }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("store.db")
    }

    pub(crate) fn open(&self) -> Sqlite {
        Sqlite::open(self.path()).expect("the file opens")
    }
}

/// A writer of one branch, as the engine would be.
#[derive(Clone, Debug)]
pub(crate) struct Pen {
    pub(crate) thread: ThreadRow,
    pub(crate) branch: BranchRow,
    pub(crate) run: RunId,
    /// Checkpoints committed, oldest first.
    pub(crate) trail: Vec<CheckpointId>,
    serial: u64,
}

impl Pen {
    pub(crate) fn new(name: &str) -> Self {
        let mut uid = [7u8; 16];
        for (index, byte) in name.bytes().enumerate() {
            uid[index % 16] = uid[index % 16].wrapping_mul(31).wrapping_add(byte);
        }
        let head = BranchId::new(0xfedc_ba98_0000_0001).expect("not zero");
        let thread =
            ThreadRow { uid: ThreadUid(uid), scope: String::new(), name: name.to_owned(), head, created_at: 1_000_000 };
        let branch = BranchRow {
            id: head,
            fork: None,
            tip: None,
            epoch: 1,
            claim: ClaimToken([1; 16]),
            effects: EffectsMode::Ledger,
            root: None,
        };
        Self { thread, branch, run: RunId::parse("run-1").expect("an id"), trail: Vec::new(), serial: 0 }
    }

    pub(crate) fn address(&self) -> ThreadAddress {
        ThreadAddress::Uid(self.thread.uid)
    }

    /// The commit that makes the thread, with its input at height 0.
    pub(crate) fn first(&mut self) -> Commit {
        let tip = self.branch.tip.take();
        assert!(tip.is_none(), "the thread was made before");
        let mut commit = self.step(b"input");
        commit.new_thread = Some(self.thread.clone());
        commit.expect = Expect::New;
        commit.name = Some("main".into());
        commit.runs = vec![stepmark_core::store::RunWrite::Begin(self.run_row(RunStatus::Open))];
        commit
    }

    /// A super-step whose one value is `body`, packed.
    pub(crate) fn step(&mut self, body: &[u8]) -> Commit {
        let height = self.branch.tip.as_ref().map_or(0, |tip| tip.height + 1);
        let address = ValueAddress { branch: self.branch.id, height, ordinal: 0 };
        let packed = encode_packed(&[NumberedValue { ordinal: 0, node: full(body) }]);
        self.commit_with(ValueRef { address, packed: true }, packed)
    }

    /// A super-step whose one value is a row of its own.
    pub(crate) fn step_with_row(&mut self, node: ValueNode) -> Commit {
        let height = self.branch.tip.as_ref().map_or(0, |tip| tip.height + 1);
        let address = ValueAddress { branch: self.branch.id, height, ordinal: 0 };
        let mut commit = self.commit_with(ValueRef { address, packed: false }, Vec::new());
        commit.values.push(ValueRow { address, node });
        commit
    }

    /// Continues from a branch row that was loaded.
    pub(crate) fn go_on(&mut self, branch: BranchRow) {
        self.serial = branch.tip.as_ref().map_or(0, |tip| tip.height + 1);
        self.branch = branch;
    }

    fn commit_with(&mut self, value: ValueRef, packed: Vec<u8>) -> Commit {
        self.serial += 1;
        let id = self.checkpoint_id();
        let mut manifest = Manifest::new(self.run.clone(), 1);
        manifest.parent = self.branch.tip.as_ref().map(|tip| tip.id.clone());
        manifest.channels.push(ChannelEntry { name: "items".into(), value, version: None });
        let source = if self.branch.tip.is_none() { Source::Input } else { Source::Step };
        let created_at = 2_000_000 + self.serial as i64;
        let row = CheckpointRow {
            branch: self.branch.id,
            height: value.address.height,
            id: id.clone(),
            source,
            created_at,
            manifest: manifest.encode(created_at),
            manifest_hash: RecordHash([0; 16]),
            packed,
            packed_hash: RecordHash([0; 16]),
        };
        let expect = Expect::At { tip: self.branch.tip.clone(), epoch: self.branch.epoch };
        self.branch.tip = Some(Tip { height: value.address.height, id });
        self.trail.extend(self.branch.tip.as_ref().map(|tip| tip.id.clone()));
        let mut commit = Commit::new(self.thread.uid, expect, self.branch.clone());
        commit.checkpoint = Some(row.sealed(self.thread.uid, ""));
        commit
    }

    fn checkpoint_id(&self) -> CheckpointId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.branch.id.get().to_be_bytes());
        id[8..].copy_from_slice(&self.serial.to_be_bytes());
        CheckpointId::from_uuid(id)
    }

    /// A claim of the branch by another writer.
    pub(crate) fn claim(&mut self, token: u8) -> Commit {
        let expect = Expect::At { tip: self.branch.tip.clone(), epoch: self.branch.epoch };
        self.branch.epoch += 1;
        self.branch.claim = ClaimToken([token; 16]);
        Commit::new(self.thread.uid, expect, self.branch.clone())
    }

    /// A fork of the tip, and its own pen.
    pub(crate) fn fork(&self, id: u64, name: Option<&str>) -> (Self, Commit) {
        let mut pen = self.clone();
        let tip = self.branch.tip.clone().expect("a tip");
        let fork = ForkPoint { branch: self.branch.id, height: tip.height };
        pen.branch = BranchRow {
            id: BranchId::new(id).expect("not zero"),
            fork: Some(fork),
            epoch: 1,
            claim: ClaimToken([9; 16]),
            ..self.branch.clone()
        };
        let mut commit = Commit::new(self.thread.uid, Expect::New, pen.branch.clone());
        commit.name = name.map(Into::into);
        (pen, commit)
    }

    /// The next unit of a sub-graph of this branch, by its own pen; without a tip it begins the sub-graph's branch.
    pub(crate) fn unit_of(&self, child: &mut Self, namespace: &str, ordinal: u64) -> Commit {
        let tip = self.branch.tip.clone().expect("a tip");
        let (is_first, task) = (child.branch.tip.is_none(), TaskHash([0x77; 16]));
        let mut commit = child.step(b"child");
        namespace.clone_into(&mut commit.namespace);
        if is_first {
            commit.expect = Expect::New;
        }
        let row = commit.checkpoint.take().expect("a checkpoint").sealed(self.thread.uid, namespace);
        let place = ChildPlace {
            namespace: namespace.to_owned(),
            branch: row.branch,
            height: row.height,
            id: row.id.clone(),
            caller: task,
            occurrence: 0,
        };
        let row_of_place = PendingRow {
            base: tip.id.clone(),
            lane: self.branch.id.lane(),
            kind: PendingKind::Child,
            task,
            ordinal,
            values: Vec::new(),
            body: place.encode(),
        };
        commit.checkpoint = Some(row);
        let (root, epoch) = (self.branch.id, self.branch.epoch);
        commit.parent = Some(Box::new(ChildOf { root, tip, epoch, task, row: row_of_place }));
        commit
    }

    /// The pen of a sub-graph that has no checkpoint yet.
    pub(crate) fn call(&self, id: u64) -> Self {
        let id = BranchId::new(id).expect("not zero");
        let branch =
            BranchRow { id, fork: None, tip: None, epoch: 1, root: Some(self.branch.id), ..self.branch.clone() };
        Self { branch, trail: Vec::new(), ..self.clone() }
    }

    /// A flush of one finished task.
    pub(crate) fn flush(&self, ordinal: u64, body: &[u8]) -> Records {
        let tip = self.branch.tip.clone().expect("a tip");
        let height = tip.height + 1;
        let address = ValueAddress { branch: self.branch.id, height, ordinal: ordinal as u32 };
        let row = PendingRow {
            base: tip.id.clone(),
            lane: self.branch.id.lane(),
            kind: PendingKind::Results,
            task: TaskHash([0; 16]),
            ordinal,
            values: vec![ValueRef { address, packed: false }],
            body: body.to_vec(),
        };
        Records {
            pending: vec![row],
            values: vec![ValueRow { address, node: full(body) }],
            ..Records::of_owner(self.thread.uid, &self.branch)
        }
    }

    /// An append of the branch's owner that writes nothing yet.
    pub(crate) fn owner(&self) -> Records {
        Records::of_owner(self.thread.uid, &self.branch)
    }

    /// An intent to do something under a business key, also where nobody knows whether it was done.
    pub(crate) fn intent(&self, key: &str, nonce: u8) -> Records {
        let intent = EffectIntent {
            key: EffectKey::Business(key.into()),
            fingerprint: [5; 16],
            task: TaskHash([6; 16]),
            nonce: Nonce([nonce; 16]),
            ended: Vec::new(),
            repeats_unknown: true,
            again: false,
        };
        Records { effect: Some(EffectWrite::Intent(intent)), ..self.owner() }
    }

    /// The result of the first generation's attempt with this nonce.
    pub(crate) fn outcome(&self, key: &str, nonce: u8) -> Records {
        let (key, end) = (EffectKey::Business(key.into()), EffectEnd::Done(vec![0xc3]));
        let outcome = EffectOutcome { key, generation: 1, nonce: Nonce([nonce; 16]), end };
        Records {
            effect: Some(EffectWrite::Outcome(outcome)),
            ..Records::from_outside(self.thread.uid, self.branch.id)
        }
    }

    /// A question of one task of the tip.
    pub(crate) fn question(&self, task: u8) -> PendingRow {
        let mut row = self.flush(0, b"").pending.remove(0);
        let question = Question {
            id: InterruptId([task; 16]),
            asker: Asker::Task,
            node: "node".into(),
            name: "approve".into(),
            occurrence: 0,
            asked_at: 1_000_000,
            body: b"question".to_vec(),
            answer_schema: Some(b"{}".to_vec()),
            inside: None,
        };
        (row.kind, row.task, row.body) = (PendingKind::Interrupt, TaskHash([task + 1; 16]), question.encode());
        row.values.clear();
        row
    }

    /// An answer to a question, from outside.
    pub(crate) fn answer(&self, question: &PendingRow) -> Records {
        let asked = Question::decode(&question.body).expect("it was asked here");
        let author = Some("somebody".to_owned());
        let answer = Answer {
            id: asked.id,
            question: asked.hash(),
            after: question.ordinal + 1,
            answered_at: 2_000_000,
            author,
            body: b"yes".to_vec(),
        };
        let row = PendingRow { kind: PendingKind::Answer, body: answer.encode(), ..question.clone() };
        Records { pending: vec![row], ..Records::from_outside(self.thread.uid, self.branch.id) }
    }

    /// A tag on the tip, which must lie on the branch.
    pub(crate) fn tag(&self, name: &str) -> Records {
        let height = self.branch.tip.as_ref().expect("a tip").height;
        let tag = TagRow { name: name.to_owned(), branch: self.branch.id, height };
        Records { tags: vec![TagWrite::Set(tag)], ..Records::from_outside(self.thread.uid, self.branch.id) }
    }

    pub(crate) fn run_row(&self, status: RunStatus) -> RunRow {
        RunRow {
            id: self.run.clone(),
            branch: self.branch.id,
            graph: "graph".to_owned(),
            graph_signature: None,
            status,
            input_hash: [3; 16],
            started_at: 1_500_000,
            ended_at: None,
            last: None,
        }
    }

    /// Everything of the branch's tip.
    pub(crate) fn load(&self) -> Load {
        Load {
            place: Place::Branch(self.branch.id),
            channels: Channels::All,
            pending: true,
            branches: true,
            run: Some(self.run.clone()),
            ..Load::head(self.address())
        }
    }
}

/// A node that holds a whole value.
pub(crate) fn full(body: &[u8]) -> ValueNode {
    let head = ValueHead::new(Structure::Full, 1);
    ValueNode { head, body: body.to_vec() }
}

/// Commits and expects it to be applied.
pub(crate) async fn write(store: &Sqlite, commit: Commit) {
    assert_eq!(store.commit(commit).await.expect("the commit is accepted"), Outcome::Applied);
}

/// A thread with `steps` super-steps.
pub(crate) async fn grown(store: &Sqlite, name: &str, steps: u64) -> Pen {
    let mut pen = Pen::new(name);
    let first = pen.first();
    write(store, first).await;
    for step in 0..steps {
        let commit = pen.step(format!("value {step}").as_bytes());
        write(store, commit).await;
    }
    pen
}

/// The file's log.
pub(crate) fn wal_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}
