//! Which threads does a scope have?

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use stepmark_core::error::Result;
use stepmark_core::store::{ThreadEntry, ThreadPage, ThreadQuery};

use crate::bucket::Listed;
use crate::log::{REQUESTS_MAX, ThreadLog};
use crate::names;
use crate::threads::Threads;

/// One page of threads, by name.
pub(crate) async fn threads(threads: &Threads, query: &ThreadQuery) -> Result<ThreadPage> {
    let shared = &threads.shared;
    let listed = names::list(&shared.bucket, &shared.paths, &query.scope, query.after.as_deref()).await?;
    let limit = query.limit.max(1) as usize;
    let mut found: Vec<ThreadEntry> = Vec::new();
    let mut rest = &listed[..];
    while !rest.is_empty() && found.len() <= limit {
        let (batch, behind) = rest.split_at(batch_end(rest));
        let reads = batch.iter().map(|listed| entry(threads, listed, query));
        let entries = stream::iter(reads.collect::<Vec<_>>()).buffered(REQUESTS_MAX);
        let mut entries: Vec<ThreadEntry> = entries.try_filter_map(async |entry| Ok(entry)).try_collect().await?;
        // Names that are cut in their paths come in the order of their hashes.
        entries.sort_by(|a, b| a.thread.name.cmp(&b.thread.name));
        found.extend(entries);
        rest = behind;
    }
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|entry| entry.thread.name.clone());
    Ok(ThreadPage { threads: found, next })
}

/// How many of the listed are read together: a handful, and none of those whose names begin alike is left.
fn batch_end(listed: &[Listed]) -> usize {
    let beginning = |listed: &Listed| listed.path.split_once('_').map(|(beginning, _)| beginning.to_owned());
    let mut end = listed.len().min(REQUESTS_MAX);
    while let (Some(last), Some(next)) = (listed[..end].last(), listed.get(end)) {
        if beginning(last).is_none() || beginning(last) != beginning(next) {
            break;
        }
        end += 1;
    }
    end
}

/// The log of the thread that a name's object is about, if it still is about one, with all that was acknowledged before.
pub(crate) async fn log_of(threads: &Threads, listed: &Listed) -> Result<Option<Arc<ThreadLog>>> {
    let bucket = &threads.shared.bucket;
    let Some(uid) = names::uid_of(bucket, listed).await? else { return Ok(None) };
    let log = threads.log(uid);
    if log.catch_up().await? > 0 {
        return Ok(Some(log));
    }
    let Some(born) = names::read(bucket, listed).await? else { return Ok(None) };
    threads.born(&born).await.map(Some)
}

async fn entry(threads: &Threads, listed: &Listed, query: &ThreadQuery) -> Result<Option<ThreadEntry>> {
    let Some(log) = log_of(threads, listed).await? else { return Ok(None) };
    let entry = log.known().fold.entry(query.waiting);
    Ok(entry.filter(|entry| {
        // A name that was given up may lead to what has another one by now.
        let holders = threads.shared.paths.holders(&entry.thread.scope, &entry.thread.name);
        if !listed.path.starts_with(holders.as_ref()) {
            return false;
        }
        let is_after = query.after.as_ref().is_none_or(|after| entry.thread.name > *after);
        is_after && (!query.waiting || !entry.waiting.is_empty())
    }))
}
