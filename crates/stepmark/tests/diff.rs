//! Does a difference say what differs between any two moments, and read no more than it must?

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use stepmark::diff::{Change, Diff};
use stepmark::run::Value;
use stepmark::store::{Channels, CheckpointStore};
use stepmark::{App, Append, ById, ErrorKind, Graph, HasId, MemoryStore, Merge, Snap, Sqlite, State, Thread, Update};
use stepmark_conformance::call::{Call, Intercept, Intercepted, Reply};
use tempfile::TempDir;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Note {
    about: String,
    words: u32,
}

impl HasId for Note {
    type Id = String;

    fn id(&self) -> &String {
        &self.about
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Settings {
    depth: u32,
    limits: BTreeMap<String, f32>,
}

#[derive(State, Clone, Debug, Default, PartialEq)]
struct Paper {
    title: String,
    text: String,
    #[reduce(ById)]
    notes: Vec<Note>,
    #[reduce(Append)]
    log: Vec<String>,
    #[reduce(Merge)]
    counts: BTreeMap<String, u64>,
    settings: Settings,
    draft: Option<Vec<u8>>,
    #[state(ephemeral)]
    hot: Vec<u32>,
    #[state(untracked)]
    cache: u32,
}

async fn touch(paper: Snap<Paper>) -> Update<Paper> {
    let mut update = paper.update();
    update.log.push(format!("touched {}", paper.title));
    update.cache.set(paper.log.len() as u32 + 1);
    update
}

/// Which channels were asked for, load by load.
#[derive(Clone, Debug, Default)]
struct Asked(Arc<Mutex<Vec<Channels>>>);

#[async_trait]
impl Intercept for Asked {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply, stepmark::store::Error> {
        if let Call::Load(load) = &call {
            self.0.lock().expect("no panic").push(load.channels.clone());
        }
        call.run(store).await
    }
}

fn paper_app(store: impl CheckpointStore) -> App<Paper> {
    let mut graph = Graph::<Paper>::new("paper");
    let touch = graph.node("touch", touch);
    graph.start(touch);
    graph.build().expect("a valid graph").with(store)
}

struct Bench {
    app: App<Paper>,
    asked: Asked,
    _folder: Option<TempDir>,
}

impl Bench {
    fn all() -> [Self; 2] {
        let folder = tempfile::tempdir().expect("a folder");
        let sqlite = Sqlite::open(folder.path().join("papers.db")).expect("opens");
        [Self::on(Arc::new(MemoryStore::new()), None), Self::on(Arc::new(sqlite), Some(folder))]
    }

    fn on(store: Arc<dyn CheckpointStore>, folder: Option<TempDir>) -> Self {
        let asked = Asked::default();
        Self { app: paper_app(Intercepted::around(store, asked.clone())), asked, _folder: folder }
    }

    /// A thread with one input and one step.
    async fn begun(&self, name: &str) -> Thread<Paper> {
        let thread = self.app.thread(name);
        thread.input(begin).run().await.expect("runs");
        thread
    }
}

const TEXT: &str = "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be \
                    in want of a wife.";

fn begin(paper: &mut Update<Paper>) {
    paper.title.set("first".into());
    paper.text.set(TEXT.into());
    paper.notes.extend(["a", "b", "c"].map(|about| Note { about: about.into(), words: 1 }));
    paper.counts.insert("x".into(), 1);
    paper.counts.insert("y".into(), 2);
    paper.settings.set(Settings { depth: 1, limits: BTreeMap::from([("time".into(), 0.5)]) });
    paper.draft.set(Some(vec![1, 2, 3]));
    paper.hot.set(vec![1]);
}

fn change(paper: &mut Update<Paper>) {
    paper.title.set("second".into());
    paper.text.set(TEXT.replace("man", "woman").replace("wife", "library"));
    paper.notes.upsert(Note { about: "c".into(), words: 7 });
    paper.notes.remove("a".into());
    paper.notes.upsert(Note { about: "d".into(), words: 2 });
    paper.counts.insert("y".into(), 3);
    paper.counts.remove("x".into());
    paper.counts.insert("z".into(), 4);
    paper.settings.set(Settings { depth: 1, limits: BTreeMap::from([("time".into(), 0.5), ("size".into(), 1.5)]) });
    paper.draft.set(Some(vec![1, 3]));
}

const CHANGED: &str = "\
title: \"first\" → \"second\"
text: …owledged, that a single [-man -]{+woman +}in possession of a good …e, must be in want of a [-wife.-]{+library.+}
notes[id \"a\"]: - {\"about\": \"a\", \"words\": 1}
notes[id \"c\"].words: 1 → 7
notes[id \"d\"]: + {\"about\": \"d\", \"words\": 2}
log[1]: + \"touched second\"
counts.x: - 1
counts.y: 2 → 3
counts.z: + 4
settings.limits.size: + 1.5
draft[1]: - 2
";

#[tokio::test]
async fn two_branches_differ_channel_by_channel() {
    for bench in Bench::all() {
        let main = bench.begun("t").await;
        let side = main.at_step(1).await.expect("is there").fork("side").await.expect("forks");
        side.input(change).run().await.expect("runs");
        let (old, new) = (main.state().await.expect("readable"), side.state().await.expect("readable"));
        let ids = [&old, &new].map(|side| side.checkpoint.as_ref().expect("has one").id.clone());

        let diff = main.diff(&ids[0], &ids[1]).await.expect("readable");
        assert_eq!(diff.to_string(), CHANGED);
        assert_eq!(old.diff(&new).expect("encodable"), diff);
        let checkpoints = [&main, &side].map(|branch| branch.history().limit(1).into_future());
        let [one, other] = checkpoints;
        let (one, other) = (one.await.expect("readable"), other.await.expect("readable"));
        assert_eq!(one[0].diff(&other[0]).await.expect("readable"), diff);

        let title = Change::Replaced { old: Value::from("first"), new: Value::from("second") };
        assert_eq!(diff.channel("title"), Some(&title));
        assert_eq!(diff.channel("cache"), None);
        let json = serde_json::to_value(&diff).expect("is serialisable");
        assert_eq!(json["channels"][0]["change"]["replaced"]["new"], "second");
        let numbered = Value::Map([(Value::Int(3), Value::Bool(true))].into());
        assert_eq!(serde_json::to_string(&numbered).expect("is serialisable"), "{\"3\":true}");
        let back = main.diff(&ids[1], &ids[0]).await.expect("readable").to_string();
        assert!(back.starts_with("title: \"second\" → \"first\"\n") && back.contains("notes[id \"a\"]: + "), "{back}");
    }
}

#[tokio::test]
async fn equal_states_have_no_difference_wherever_they_are() {
    for bench in Bench::all() {
        let (one, other) = (bench.begun("one").await, bench.begun("other").await);
        let tip = one.at_step(1).await.expect("is there");
        assert!(tip.diff(&tip).await.expect("readable").is_empty());
        assert!(tip.diff(&other.at_step(1).await.expect("is there")).await.expect("readable").is_empty());
        assert_eq!(tip.diff(&tip).await.expect("readable"), Diff::default());
        // Of two handles one holds its state in memory, with what is never stored.
        let fresh = bench.app.thread("one").state().await.expect("readable");
        assert_ne!(one.state().await.expect("readable").state(), fresh.state());
        assert!(one.state().await.expect("readable").diff(&fresh).expect("encodable").is_empty());
        // A field that was never written is as one that was written with its default.
        let (empty, default) = (bench.app.thread("empty"), bench.app.thread("default"));
        empty.input(|_| ()).run().await.expect("runs");
        let write = |paper: &mut Update<Paper>| {
            paper.title.set(String::new());
            paper.settings.set(Settings::default());
        };
        default.input(write).run().await.expect("runs");
        let (empty, default) = (empty.at_step(1).await, default.at_step(1).await);
        let diff = empty.expect("is there").diff(&default.expect("is there")).await.expect("readable");
        assert_eq!(diff, Diff::default());
    }
}

#[tokio::test]
async fn only_values_that_may_differ_are_read() {
    for bench in Bench::all() {
        let main = bench.begun("t").await;
        main.input(|paper| paper.title.set("third".into())).run().await.expect("runs");
        let history = main.history().await.expect("readable");
        bench.asked.0.lock().expect("no panic").clear();
        let diff = history[2].diff(&history[0]).await.expect("readable");
        assert_eq!(diff.channels.len(), 2);
        let channels = Channels::Named(vec!["title".into(), "log".into()]);
        let expected = [Channels::None, Channels::None, channels.clone(), channels];
        assert_eq!(*bench.asked.0.lock().expect("no panic"), expected);

        bench.asked.0.lock().expect("no panic").clear();
        history[1].diff(&history[1]).await.expect("readable");
        assert_eq!(*bench.asked.0.lock().expect("no panic"), [Channels::None, Channels::None]);
    }
}

/// Two files that were one once may hold different values under one address.
#[tokio::test]
async fn a_copied_file_is_another_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = |path: &Path| paper_app(Sqlite::open(path).expect("opens"));
    let (path, copy) = (folder.path().join("papers.db"), folder.path().join("copy.db"));
    open(&path).thread("t").input(begin).run().await.expect("runs");
    std::fs::copy(&path, &copy).expect("is copied");
    let (app, copy) = (open(&path), open(&copy));
    let [one, other] = [app.thread("t"), copy.thread("t")];
    one.input(|paper| paper.title.set("here".into())).run().await.expect("runs");
    other.input(|paper| paper.title.set("there".into())).run().await.expect("runs");
    let (here, there) = (one.at_step(3).await.expect("is there"), other.at_step(3).await.expect("is there"));
    let diff = here.diff(&there).await.expect("readable");
    let expected = "title: \"here\" → \"there\"\nlog[1]: \"touched here\" → \"touched there\"\n";
    assert_eq!(diff.to_string(), expected);
}

#[tokio::test]
async fn large_values_are_compared_by_what_changed() {
    for bench in Bench::all() {
        let main = bench.begun("t").await;
        let line = |n: u32| format!("{n} {}", "x".repeat(3_000));
        main.input(|paper| paper.log.extend((0..400).map(line))).run().await.expect("runs");
        main.input(|paper| paper.text.set((0..200).map(|n| line(n) + "\n").collect())).run().await.expect("runs");
        let text: String = (0..200).map(|n| if n == 77 { "other\n".to_owned() } else { line(n) + "\n" }).collect();
        main.input(|paper| paper.text.set(text.clone())).run().await.expect("runs");
        let history = main.history().await.expect("readable");
        let diff = history[2].diff(&history[0]).await.expect("readable").to_string();
        assert!(diff.contains("(77 equal lines)\n  - 77 xxx") && diff.contains("\n  + other\n"), "{diff}");
        assert!(diff.contains("log[403]: + \"touched first\"\n"), "{diff}");
        assert_eq!(diff.lines().count(), 6, "{diff}");
    }
}

#[derive(State, Clone, Debug, Default)]
struct OldPaper {
    title: String,
    pages: u32,
}

#[tokio::test]
async fn channels_without_a_field_are_compared_by_what_is_stored() {
    async fn count(paper: Snap<OldPaper>) -> Update<OldPaper> {
        let mut update = paper.update();
        update.pages.set(paper.pages + 1);
        update
    }
    let store = MemoryStore::new();
    let mut graph = Graph::<OldPaper>::new("paper");
    let count = graph.node("count", count);
    graph.start(count);
    let old = graph.build().expect("a valid graph").with(store.clone()).thread("t");
    old.input(|paper| paper.title.set("old".into())).run().await.expect("runs");
    let new = paper_app(store).thread("t");
    let diff = |from: u64, to: u64| {
        let new = &new;
        async move {
            let (from, to) = (new.at_step(from).await.expect("is there"), new.at_step(to).await.expect("is there"));
            from.diff(&to).await.expect("readable").to_string()
        }
    };
    assert_eq!(diff(0, 1).await, "pages: + 1\n");
    assert_eq!(diff(1, 0).await, "pages: - 1\n");
}

#[tokio::test]
async fn unknown_sides_are_named() {
    for bench in Bench::all() {
        let main = bench.begun("t").await;
        let tip = main.state().await.expect("readable").checkpoint.expect("has one").id;
        for (old, new) in [("nowhere".to_owned(), tip.to_string()), (tip.to_string(), "nowhere".to_owned())] {
            let error = main.diff(old, new).await.expect_err("unknown");
            assert_eq!(error.kind(), ErrorKind::Missing);
            assert!(error.to_string().contains("nowhere"), "{error}");
        }
        let nobody = bench.app.thread("nobody");
        let error = main.at(&tip).diff(&nobody.at(&tip)).await.expect_err("unknown");
        assert!(error.kind() == ErrorKind::Missing && error.to_string().contains("nobody"), "{error}");
        assert_eq!(main.diff("", tip).await.expect_err("no id").kind(), ErrorKind::Invalid);
    }
}
