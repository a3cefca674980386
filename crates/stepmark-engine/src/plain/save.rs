//! How does a plain value become a checkpoint?
//!
//! Read the head → write one commit that claims its branch at the tip that was read. If somebody else was faster, the
//! save is decided anew on what is there now, a bounded number of times.

use stepmark_core::checkpoint::{ChannelEntry, CheckpointRow, Manifest, Source, Timestamp};
use stepmark_core::id::{RecordHash, RunId, hash16};
use stepmark_core::rows::{BranchRow, EffectsMode, ThreadRow, Tip};
use stepmark_core::store::{Channels, Commit, Expect};
use stepmark_core::value::{Structure, ValueAddress, ValueHead, ValueNode, ValueRef, encode_packed};

use crate::commit::Placement;
use crate::error::{Error, ErrorKind, Result};
use crate::plain::mark::Mark;
use crate::plain::read::{CHANNEL, Found, Kept};
use crate::plain::{Keeper, Saved};
use crate::request::MAIN_BRANCH;
use crate::thread::{DECISIONS_MAX, is_contended, is_gone};

/// Plain values have no versions of their own: their type is in the mark.
const STATE_VERSION: u32 = 1;

/// What a save is put upon: a branch as it is before, or a thread that is not there yet.
struct Ground {
    thread: ThreadRow,
    /// Without a tip it is new, and so is the thread.
    branch: BranchRow,
    run: RunId,
    /// Height of the first save of the thread's present life; absent if this save is it.
    first: Option<u64>,
    created_at: Timestamp,
    next_ordinal: u32,
    /// The last value, where it may be named again, with its hash.
    last: Option<(ValueRef, [u8; 16])>,
}

impl Keeper {
    pub(crate) async fn save(&self, thread: &str, bytes: Vec<u8>) -> Result<Saved> {
        for _ in 0..=DECISIONS_MAX {
            let ground = match self.find(thread, Channels::None).await? {
                Found::Nothing => self.new_ground(thread),
                Found::Expired(kept) => Ground::of_expired(kept)?,
                Found::Alive(kept) => {
                    self.check_form(thread, &kept.mark)?;
                    Ground::of(kept)?
                }
            };
            match self.write(ground, &bytes).await {
                Err(error) if is_contended(&error) || is_gone(&error) => {}
                decided => return decided,
            }
        }
        let message = format!("other writers kept moving thread {thread:?}; the value was not saved");
        Err(Error::new(ErrorKind::Contended, message))
    }

    fn new_ground(&self, thread: &str) -> Ground {
        let now = self.clock.now();
        let (id, claim) = (self.ids.branch(), self.ids.claim());
        let branch = BranchRow { id, fork: None, tip: None, epoch: 1, claim, effects: EffectsMode::Ledger, root: None };
        let (uid, scope, name) = (self.ids.thread(), String::new(), thread.to_owned());
        Ground {
            thread: ThreadRow { uid, scope, name, head: id, created_at: now },
            branch,
            run: self.ids.run(now),
            first: None,
            created_at: now,
            next_ordinal: 0,
            last: None,
        }
    }

    /// One commit, and a put before it if the value is a blob.
    async fn write(&self, ground: Ground, bytes: &[u8]) -> Result<Saved> {
        let height = ground.branch.tip.as_ref().map_or(0, |tip| tip.height + 1);
        let mark = Mark {
            form: self.form.clone(),
            first: ground.first.unwrap_or(height),
            expires_at: self.expires_at().await?,
            hash: hash16(bytes),
        };
        let mut placement = Placement::default();
        let value = match ground.last {
            Some((value, hash)) if hash == mark.hash => value,
            _ => {
                let address = ValueAddress { branch: ground.branch.id, height, ordinal: ground.next_ordinal };
                placement.place(address, full(bytes))
            }
        };
        let row = self.checkpoint(&ground, value, &mark, &placement)?;
        let saved = Saved::of(&row, &mark);
        let mut commit = self.move_to(ground, &row);
        commit.checkpoint = Some(row);
        commit.values = placement.rows;
        commit.blobs = placement.blobs;
        self.seam().commit("", &commit, &placement.blob_bytes).await?;
        Ok(saved)
    }

    fn checkpoint(
        &self,
        ground: &Ground,
        value: ValueRef,
        mark: &Mark,
        placement: &Placement,
    ) -> Result<CheckpointRow> {
        let tip = ground.branch.tip.as_ref();
        let mut manifest = Manifest::new(ground.run.clone(), STATE_VERSION);
        manifest.parent = tip.map(|tip| tip.id.clone());
        manifest.channels.push(ChannelEntry { name: CHANNEL.into(), value, version: None });
        manifest.metadata = Some(mark.encode()?);
        let created_at = self.clock.now().max(ground.created_at);
        let row = CheckpointRow {
            branch: ground.branch.id,
            height: tip.map_or(0, |tip| tip.height + 1),
            id: self.ids.checkpoint(created_at),
            source: Source::Update,
            created_at,
            manifest: manifest.encode(created_at),
            manifest_hash: RecordHash([0; 16]),
            packed: encode_packed(&placement.packed),
            packed_hash: RecordHash([0; 16]),
        };
        Ok(row.sealed(ground.thread.uid, ""))
    }

    /// The unit that makes the thread, or claims its branch, and moves the tip to `row`.
    fn move_to(&self, ground: Ground, row: &CheckpointRow) -> Commit {
        let Ground { thread, branch, .. } = ground;
        let tip = Some(Tip { height: row.height, id: row.id.clone() });
        let Some(old_tip) = branch.tip else {
            let mut commit = Commit::new(thread.uid, Expect::New, BranchRow { tip, ..branch });
            commit.new_thread = Some(thread);
            commit.name = Some(MAIN_BRANCH.into());
            return commit;
        };
        let expect = Expect::At { tip: Some(old_tip), epoch: branch.epoch };
        let (epoch, claim) = (branch.epoch + 1, self.ids.claim());
        let mut commit = Commit::new(thread.uid, expect, BranchRow { tip, epoch, claim, ..branch });
        commit.expect_head = Some(branch.id);
        commit
    }

    async fn expires_at(&self) -> Result<Option<Timestamp>> {
        let Some(duration) = self.expire_after else { return Ok(None) };
        let duration_us = Timestamp::try_from(duration.as_micros()).unwrap_or(Timestamp::MAX);
        Ok(Some(self.store.info().await?.time.saturating_add(duration_us)))
    }
}

impl Ground {
    fn of(kept: Kept) -> Result<Self> {
        Ok(Self {
            created_at: kept.row()?.created_at,
            first: Some(kept.mark.first),
            next_ordinal: kept.loaded.next_ordinal,
            last: kept.manifest.channel(CHANNEL).map(|value| (value, kept.mark.hash)),
            run: kept.manifest.run,
            branch: kept.loaded.branch.row,
            thread: kept.loaded.thread,
        })
    }

    /// A new life on the same branch: one fenced commit, so that a saver who finds the thread expired cannot destroy what
    /// another one saved meanwhile.
    fn of_expired(kept: Kept) -> Result<Self> {
        Ok(Self { first: None, last: None, ..Self::of(kept)? })
    }
}

fn full(bytes: &[u8]) -> ValueNode {
    let head = ValueHead { closed: true, ..ValueHead::new(Structure::Full, STATE_VERSION) };
    ValueNode { head, body: bytes.to_vec() }
}
