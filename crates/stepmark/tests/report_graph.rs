//! Does a whole graph read as it should? Every argument, handle and write of the typed layer in one program.

use serde::{Deserialize, Serialize};
use stepmark::{
    Add, Append, ById, Cx, Dep, END, Goto, Graph, HasId, In, Merge, NodeRef, NodeResult, Route, Snap, State, Update,
    node, to,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

#[derive(State, Clone, Default)]
struct Report {
    topic: String,
    #[reduce(Append)]
    docs: Vec<String>,
    #[reduce(ById)]
    notes: Vec<Note>,
    #[reduce(Merge)]
    counts: std::collections::BTreeMap<String, u32>,
    #[reduce(Add)]
    tokens: u32,
    approved: bool,
}

struct Library(Vec<&'static str>);

#[node]
async fn search(report: Snap<Report>, library: Dep<Library>) -> NodeResult<Update<Report>> {
    let mut update = report.update();
    update.docs.extend(library.0.iter().map(|doc| format!("{} {doc}", report.topic)));
    update.tokens.add(12);
    Ok(update)
}

#[node]
async fn summarise(In(doc): In<String>) -> Result<Update<Report>, std::num::TryFromIntError> {
    let mut update = Update::<Report>::default();
    let words = u32::try_from(doc.split(' ').count())?;
    update.counts.insert(doc.clone(), words);
    update.notes.upsert(Note { about: doc, words });
    update.tokens.add(words);
    Ok(update)
}

#[node]
async fn review(report: Snap<Report>, cx: Cx<Report>) -> (Update<Report>, Goto) {
    assert_eq!((cx.node(), cx.attempt(), cx.thread()), ("review", 1, None));
    let mut update = report.update();
    update.approved.set(report.tokens > 20);
    (update, Goto::default())
}

/// Sends every document to its own task.
fn fan_out(report: &Report, summarise: NodeRef<Report, String>) -> Vec<Route> {
    report.docs.iter().map(|doc| summarise.send(doc.clone())).collect()
}

#[tokio::test]
async fn a_report_is_written() {
    let mut graph = Graph::<Report>::new("report");
    let search = graph.node("search", search);
    let summarise = graph.node("summarise", summarise);
    let review = graph.node("review", review);
    graph.start(search);
    graph.branch(search, to![summarise], move |report| fan_out(report, summarise));
    graph.edge(summarise, review);
    graph.branch(review, to![search, END], move |report| if report.approved { Route::END } else { search.into() });
    let app = graph.build().expect("a graph").provide(Library(vec!["book", "old paper"]));

    let outcome = app.run_in_memory(|report| report.topic.set("rust".to_owned())).await.expect("an outcome");
    let report = outcome.state();
    assert_eq!(report.docs, ["rust book", "rust old paper", "rust book", "rust old paper"]);
    let note = |about: &str, words| Note { about: about.to_owned(), words };
    assert_eq!(report.notes, [note("rust book", 2), note("rust old paper", 3)]);
    assert_eq!((report.counts.len(), report.tokens, report.approved), (2, 12 + 5 + 12 + 10, true));
}
