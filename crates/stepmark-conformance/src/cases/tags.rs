//! Do tags name what they were set on, once, until they are removed?

use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::rows::TagRow;
use stepmark_core::store::{Expect, Load, Records, TagEntry, TagWrite};

use super::{assert_names, assert_refused};
use crate::StoreEnv;
use crate::make::{Line, branch_id};

async fn tags(line: &Line) -> Vec<TagEntry> {
    line.store.load(Load { tags: true, ..line.whole() }).await.expect("the tip loads").tags
}

async fn names(line: &Line) -> Vec<String> {
    tags(line).await.into_iter().map(|entry| entry.row.name).collect()
}

/// Tags come by name with the ids of their checkpoints, also to a handle that was opened later; one checkpoint may have
/// several, and all branches share them.
pub async fn tags_read_back(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::grown(&store, "t", 1).await;
    let below = line.branch.tip.clone().expect("it has steps").id;
    let first = line.tag_row("z");
    store.append(line.tag("z")).await.expect("the tip is there");
    line.step().await;
    let tip = line.branch.tip.clone().expect("it has steps").id;
    let both = Records { tags: [line.tag("a").tags, line.tag("ä").tags].concat(), ..line.outside() };
    store.append(both).await.expect("the tip is there");
    let entry =
        |row: TagRow, checkpoint: &stepmark_core::id::CheckpointId| TagEntry { row, checkpoint: checkpoint.clone() };
    let expected = [entry(line.tag_row("a"), &tip), entry(first, &below), entry(line.tag_row("ä"), &tip)];
    assert_eq!(tags(&line).await, expected);
    let side = line.forked(None).await;
    assert_eq!(tags(&side).await, expected);
    assert!(line.read().await.tags.is_empty(), "they come when asked for");
    let later = Line { store: env.reopen().await, ..side };
    assert_eq!(tags(&later).await, expected);
    line.assert_stored().await;
}

/// A tag's name belongs to the checkpoint that has it; removed, it is free.
pub async fn taken_tag_is_refused(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    store.append(line.tag("good")).await.expect("the tip is there");
    let first = tags(&line).await;
    line.step().await;
    let refusal = assert_refused(store.append(line.tag("good")).await, ErrorKind::Exists, Subject::Tag);
    assert_names(&refusal, "good");
    let both = Records { tags: [line.tag("new").tags, line.tag("good").tags].concat(), ..line.outside() };
    assert_refused(store.append(both).await, ErrorKind::Exists, Subject::Tag);
    assert_eq!(tags(&line).await, first);
    store.append(line.untag("good")).await.expect("it is removed");
    store.append(line.tag("good")).await.expect("the name is free");
    assert_eq!(tags(&line).await[0].row, line.tag_row("good"));
}

/// A tag that is set or removed again is as it was.
pub async fn repeated_tag_is_accepted(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let set = line.tag("good");
    for _ in 0..2 {
        store.append(set.clone()).await.expect("the same tag");
    }
    line.steps(2).await;
    line.apply(line.claim()).await;
    store.append(set).await.expect("its checkpoint is there still");
    assert_eq!(names(&line).await, ["good"]);
    for _ in 0..2 {
        store.append(line.untag("good")).await.expect("gone, or gone already");
    }
    assert_eq!(names(&line).await, [""; 0]);
    line.assert_stored().await;
}

/// Removing what is no tag changes nothing.
pub async fn absent_tag_is_removed(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let line = Line::born(&store, "t").await;
    store.append(line.tag("kept")).await.expect("the tip is there");
    store.append(line.untag("never set")).await.expect("nothing to remove");
    let both = [line.untag("never set").tags, line.tag("new").tags].concat();
    store.append(Records { tags: both, ..line.outside() }).await.expect("one tag of its own");
    assert_eq!(names(&line).await, ["kept", "new"]);
}

/// Only a checkpoint that is there gets a tag.
pub async fn tag_of_nothing_is_refused(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let line = Line::grown(&store, "t", 2).await;
    let side = line.forked(None).await;
    let lost = [
        TagRow { height: 3, ..line.tag_row("lost") },
        TagRow { branch: branch_id(), ..line.tag_row("lost") },
        // The branch has that tip, another segment holds it.
        TagRow { branch: side.branch.id, ..line.tag_row("lost") },
    ];
    for row in lost {
        let append = Records { tags: [line.tag("found").tags, vec![TagWrite::Set(row)]].concat(), ..line.outside() };
        assert_refused(store.append(append).await, ErrorKind::Missing, Subject::Checkpoint);
    }
    assert_eq!(names(&line).await, [""; 0]);
}

/// A tag's name is unique in its thread over all namespaces; each namespace lists its own.
pub async fn tags_of_namespaces_are_apart(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let root = Line::born(&store, "t").await;
    let mut child = Line { namespace: "research/0".into(), ..root.clone() };
    child.branch.tip = None;
    let mut birth = child.next();
    birth.commit.expect = Expect::New;
    child.apply(birth.build()).await;
    store.append(root.tag("good")).await.expect("the tip is there");
    assert_refused(store.append(child.tag("good")).await, ErrorKind::Exists, Subject::Tag);
    store.append(child.tag("better")).await.expect("the tip is there");
    assert_eq!((names(&root).await, names(&child).await), (vec!["good".into()], vec!["better".into()]));
    store.append(child.untag("good")).await.expect("it is removed");
    store.append(child.tag("good")).await.expect("the name is free");
    assert_eq!((names(&root).await.len(), names(&child).await.len()), (0, 2));
}

/// Tags go with their thread, and stay out of others.
pub async fn tags_go_with_their_thread(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let old = Line::born(&store, "t").await;
    let other = Line::born(&store, "other").await;
    for line in [&old, &other] {
        store.append(line.tag("good")).await.expect("each thread has its own names");
    }
    store.delete_thread(old.thread.uid).await.expect("the thread is known");
    assert_refused(store.append(old.tag("good")).await, ErrorKind::Deleted, Subject::Thread);
    let new = Line::born(&store, "t").await;
    assert_eq!((names(&new).await.len(), names(&other).await), (0, vec!["good".into()]));
}
