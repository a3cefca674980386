//! How are threads found without an index? Every thread of the scope is looked at, one after the other.
//!
//! What is said of a thread is one row of it, and goes and expires with it; the declarations of a scope are one key. Both
//! are replaced whole by a script that compares what was there. A page takes two reads of each thread that it looks at.

use async_trait::async_trait;
use redis::{Script, Value};
use stepmark_core::capability::{
    Attribute, AttributeChange, Candidate, Collector, Declaration, FoundPage, Search, SearchQuery, StoredAttribute,
    changed_attributes, check_changes, check_declarations, decode_attributes, decode_declarations, encode_attributes,
    encode_declarations, with_declarations,
};
use stepmark_core::effect::EffectStatus;
use stepmark_core::error::Result;
use stepmark_core::id::ThreadUid;
use stepmark_core::rows::ThreadRow;
use stepmark_core::store::{ThreadEntry, ThreadQuery};

use crate::bag::{Ask, Bag, Odd, Range, Rows, optional};
use crate::error::overtaken;
use crate::history::entry_asks;
use crate::keys::{self, Bytes};
use crate::ledger;
use crate::names::TURNS_MAX;
use crate::store::RedisStore;
use crate::view::View;

/// How many threads are listed at a time.
const LOOKED_AT: u32 = 64;

impl RedisStore {
    async fn record(&self, scope: &str) -> Result<Bytes> {
        let link = self.link();
        let answer = link.send(redis::cmd("GET").arg(link.keys.declared(scope))).await?;
        Ok(optional(answer).map_err(|Odd| link.unreadable())?.unwrap_or_default())
    }

    /// Puts a record in the place of another one, if that is still there.
    async fn swap(&self, script: &Script, keys: &[Bytes], words: [Bytes; 2]) -> Result<bool> {
        Ok(matches!(self.link().call(script, keys, &words).await?, Value::Int(1)))
    }

    /// A thread with what is said of it.
    async fn described(&self, uid: ThreadUid) -> Result<(ThreadRow, Bytes)> {
        let asks = [keys::THREAD, keys::SAID].map(|row| Ask::Row(row.to_vec())).to_vec();
        let look = |bag: &Bag| {
            let thread = View::new(bag, "").known_thread();
            let said = bag.row(keys::SAID)?.map(<[u8]>::to_vec).unwrap_or_default();
            Ok((thread?, said))
        };
        self.link().read(uid, asks, look).await
    }

    async fn candidate(&self, entry: ThreadEntry, with_effects: bool) -> Result<Option<Candidate<ThreadEntry>>> {
        let uid = entry.thread.uid;
        let query = ThreadQuery { scope: String::new(), after: None, limit: 1, waiting: false };
        let mut asks = entry_asks(&query);
        asks.push(Ask::Row(keys::SAID.to_vec()));
        if with_effects {
            asks.extend([b"E", b"A"].map(|prefix| Ask::Range(Range::of(prefix), Rows::Same)));
        }
        let look = |bag: &Bag| candidate(bag, &entry, with_effects);
        self.link().read(uid, asks, look).await
    }
}

/// What is known of a thread; nothing if it is gone.
fn candidate(bag: &Bag, entry: &ThreadEntry, with_effects: bool) -> Result<Option<Candidate<ThreadEntry>>> {
    let view = View::new(bag, "");
    let Some(thread) = view.thread()? else { return Ok(None) };
    let tip = view.branch(thread.head)?.and_then(|head| head.tip);
    let row = tip.map(|tip| view.checkpoint(&tip.id, false)).transpose()?.flatten();
    let run = view.last_run()?.map(|run| (run.status, run.graph));
    let effects = if with_effects { ledger::entries(bag)? } else { Vec::new() };
    Ok(Some(Candidate {
        name: thread.name,
        created_at: thread.created_at,
        tip_at: row.map(|row| row.created_at),
        run,
        is_waiting: !entry.waiting.is_empty(),
        has_open_effects: effects.iter().any(|effect| effect.row.status == EffectStatus::Open),
        attributes: said(bag, thread.uid)?,
        handle: ThreadEntry { waiting: Vec::new(), ..entry.clone() },
    }))
}

fn said(bag: &Bag, uid: ThreadUid) -> Result<Vec<StoredAttribute>> {
    decode_attributes(uid, bag.row(keys::SAID)?.unwrap_or_default())
}

#[async_trait]
impl Search for RedisStore {
    async fn declare(&self, scope: &str, declarations: Vec<Declaration>) -> Result<()> {
        check_declarations(&declarations)?;
        let link = self.link();
        for _ in 0..TURNS_MAX {
            let before = self.record(scope).await?;
            let declared = decode_declarations(scope, &before)?;
            let Some(all) = with_declarations(declared, &declarations)? else { return Ok(()) };
            let words = [before, encode_declarations(scope, &all)];
            if self.swap(&link.scripts.declare, &[link.keys.declared(scope)], words).await? {
                return Ok(());
            }
        }
        Err(overtaken(&link.place))
    }

    async fn declared(&self, scope: &str) -> Result<Vec<Declaration>> {
        decode_declarations(scope, &self.record(scope).await?)
    }

    async fn set_attributes(&self, thread: ThreadUid, changes: Vec<AttributeChange>) -> Result<()> {
        let link = self.link();
        for _ in 0..TURNS_MAX {
            let (row, before) = self.described(thread).await?;
            let changes = check_changes(&self.declared(&row.scope).await?, &changes)?;
            let after = changed_attributes(decode_attributes(thread, &before)?, changes);
            let words = [before, encode_attributes(thread, &after)];
            if self.swap(&link.scripts.describe, &link.keys.thread(thread)[..1], words).await? {
                return Ok(());
            }
        }
        Err(overtaken(&link.place))
    }

    async fn attributes(&self, thread: ThreadUid) -> Result<Vec<Attribute>> {
        let (row, said) = self.described(thread).await?;
        let declared = self.declared(&row.scope).await?;
        decode_attributes(thread, &said)?.into_iter().map(|attribute| attribute.read(&declared)).collect()
    }

    async fn find(&self, query: SearchQuery) -> Result<FoundPage> {
        let mut collector = Collector::new(&query, self.declared(&query.scope).await?)?;
        while let Some(after) = collector.next() {
            let (scope, after) = (query.scope.clone(), Some(after.to_owned()));
            let listing = ThreadQuery { scope, after, limit: LOOKED_AT, waiting: collector.asks_waiting() };
            let page = self.link().threads(&listing).await?;
            let mut batch = Vec::with_capacity(page.threads.len());
            for entry in page.threads {
                batch.extend(self.candidate(entry, collector.asks_effects()).await?);
            }
            collector.take_until(batch, page.next);
        }
        collector.page(|entry| Ok(entry.clone()))
    }
}
