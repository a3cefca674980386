//! Are questions and answers kept, each where it belongs, and does a run's end count them?

use futures_util::future::join_all;
use stepmark_core::error::{Error, ErrorKind, Result, Subject};
use stepmark_core::id::TaskHash;
use stepmark_core::interrupt::{Answer, Question};
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::rows::RunStatus;
use stepmark_core::store::{CheckpointStore, Load, Place, Records, RunWrite, ThreadEntry, ThreadQuery};

use super::assert_refused;
use crate::StoreEnv;
use crate::make::{Line, answer_row, run_id};

/// A question and its answer come back as written, in key order, also to a handle that was opened later.
pub async fn questions_and_answers_read_back(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let line = Line::grown(&store, "t", 2).await;
    let (first, second) = (line.ask(0, "delete?").await, line.ask(1, "send?").await);
    store.append(line.answer(&second, "yes")).await.expect("anybody answers");
    let mut expected = vec![first.clone(), second.clone(), answer_row(&second, "yes")];
    expected.sort_by_key(|row| (row.kind, row.task));
    assert_eq!(line.read().await.pending, expected);
    drop(store);
    let line = Line { store: env.reopen().await, ..line };
    let found = line.read().await.pending;
    assert_eq!(found, expected);
    let asked = found.iter().filter(|row| row.kind == PendingKind::Interrupt);
    assert_eq!(asked.filter_map(|row| Question::decode(&row.body).ok()).count(), 2);
    let answer = Answer::decode(&found[2].body).expect("the answer decodes");
    assert_eq!(answer.question, Question::decode(&second.body).expect("the question decodes").hash());
}

/// An answer to what nobody asked is refused: an unknown task, another place in its journal, another branch.
pub async fn answer_without_question_is_refused(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let line = Line::born(&store, "t").await;
    let asked = line.ask(0, "delete?").await;
    let side = line.forked(None).await;
    let others = [
        line.question(1, "delete?"),
        PendingRow { ordinal: 1, ..asked.clone() },
        PendingRow { task: TaskHash([9; 16]), ..asked.clone() },
    ];
    for question in others {
        let refusal =
            assert_refused(store.append(line.answer(&question, "yes")).await, ErrorKind::Missing, Subject::Pending);
        assert!(!refusal.id().is_empty());
    }
    let copy = asked.in_lane(side.branch.id.lane());
    assert_refused(store.append(side.answer(&copy, "yes")).await, ErrorKind::Missing, Subject::Pending);
    assert_eq!(line.read().await.pending, [asked]);
}

/// A question is dead once its branch has moved on: no answer to it is taken any more.
pub async fn answer_to_a_dead_question_is_refused(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let asked = line.ask(0, "delete?").await;
    line.step().await;
    assert_refused(store.append(line.answer(&asked, "yes")).await, ErrorKind::Missing, Subject::Pending);
    let side = Line { branch: line.branch.clone(), ..line.clone() }.forked(None).await;
    assert_refused(
        store.append(side.answer(&asked.in_lane(side.branch.id.lane()), "yes")).await,
        ErrorKind::Missing,
        Subject::Pending,
    );
    let place = Place::Checkpoint(asked.base.clone());
    assert_eq!(store.load(line.at(place)).await.expect("the old tip loads").pending, [asked]);
}

/// A question has one answer: another one is refused and the first is kept.
pub async fn second_answer_is_refused(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let asked = line.ask(0, "delete?").await;
    store.append(line.answer(&asked, "yes")).await.expect("the first answer");
    assert_refused(store.append(line.answer(&asked, "no")).await, ErrorKind::Exists, Subject::Pending);
    assert_eq!(line.read().await.pending[1], answer_row(&asked, "yes"));
    line.step().await;
    assert_refused(store.append(line.answer(&asked, "no")).await, ErrorKind::Exists, Subject::Pending);
}

/// The same answer again is accepted, also when its branch was claimed or has moved on since.
pub async fn repeated_answer_is_accepted(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let asked = line.ask(0, "delete?").await;
    let answer = line.answer(&asked, "yes");
    for _ in 0..2 {
        store.append(answer.clone()).await.expect("the same answer");
    }
    line.apply(line.claim()).await;
    store.append(answer.clone()).await.expect("after a claim");
    line.step().await;
    store.append(answer).await.expect("after a step");
    line.assert_stored().await;
    let old = store.load(line.at(Place::Checkpoint(asked.base.clone()))).await.expect("the old tip loads");
    assert_eq!(old.pending, [asked.clone(), answer_row(&asked, "yes")]);
}

/// Several answers of one append are stored together or not at all.
pub async fn answers_are_all_or_nothing(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let line = Line::born(&store, "t").await;
    let (first, second) = (line.ask(0, "delete?").await, line.ask(1, "send?").await);
    let unknown = line.question(2, "nobody asked");
    let answers = |questions: [&PendingRow; 2]| {
        let pending = questions.map(|question| answer_row(question, "yes")).into();
        Records { pending, ..line.outside() }
    };
    assert_refused(store.append(answers([&first, &unknown])).await, ErrorKind::Missing, Subject::Pending);
    let tagged = Records { tags: line.tag("t").tags, ..answers([&first, &unknown]) };
    assert_refused(store.append(tagged).await, ErrorKind::Missing, Subject::Pending);
    let loaded = store.load(Load { tags: true, ..line.whole() }).await.expect("the tip loads");
    assert_eq!((loaded.pending.len(), loaded.tags.len()), (2, 0));
    store.append(answers([&first, &second])).await.expect("both are open");
    assert_eq!(line.read().await.pending.len(), 4);
}

/// An answer moves neither tip nor epoch: the run that owns the branch goes on, and the answer outlives its handle.
pub async fn answer_fences_nobody(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let asked = line.ask(0, "delete?").await;
    let other = env.reopen().await;
    other.append(line.answer(&asked, "yes")).await.expect("another process answers");
    assert_eq!(line.read().await.branch.row, line.branch);
    store.append(line.flush(0, "a sibling")).await.expect("the owner flushes");
    assert_eq!(env.reopen().await.load(line.whole()).await.expect("the tip loads").pending.len(), 3);
    line.step().await;
    line.assert_stored().await;
}

/// Two branches on one checkpoint are asked the same and answered differently.
pub async fn answers_of_two_lanes_are_apart(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let main = Line::born(&store, "t").await;
    let asked = main.ask(0, "delete?").await;
    let (mut side, mut fork) = main.fork(Some("side"));
    let copy = asked.in_lane(side.branch.id.lane());
    fork.pending = vec![copy.clone()];
    side.apply(fork).await;
    store.append(main.answer(&asked, "yes")).await.expect("main is answered");
    assert_eq!(side.read().await.pending, std::slice::from_ref(&copy));
    store.append(side.answer(&copy, "no")).await.expect("side is answered");
    assert_eq!(main.read().await.pending, [asked.clone(), answer_row(&asked, "yes")]);
    assert_eq!(side.read().await.pending, [copy.clone(), answer_row(&copy, "no")]);
    let end = Records { expect_answers: Some(1), ..side.append(vec![side.pending(0, "went on")]) };
    store.append(end).await.expect("each lane counts its own");
}

async fn status(line: &Line) -> Option<RunStatus> {
    let load = Load { run: Some(run_id("r")), ..line.whole() };
    line.store.load(load).await.expect("the tip loads").run.map(|run| run.status)
}

/// A run's end that names fewer answers than are stored is refused; sent again after it was written, it is accepted.
pub async fn late_answer_refuses_the_end(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    line.apply(line.next().with_run(RunWrite::Begin(line.run("r", RunStatus::Open))).build()).await;
    let (first, second) = (line.ask(0, "delete?").await, line.ask(1, "send?").await);
    let owner = line.clone();
    let end = |known: u64| Records {
        run: Some(owner.run("r", RunStatus::Interrupted)),
        expect_answers: Some(known),
        ..owner.append(Vec::new())
    };
    assert_refused(store.append(end(1)).await, ErrorKind::Conflict, Subject::Pending);
    store.append(line.answer(&first, "yes")).await.expect("in time");
    assert_refused(store.append(end(0)).await, ErrorKind::Conflict, Subject::Pending);
    assert_eq!(status(&line).await, Some(RunStatus::Open));
    store.append(end(1)).await.expect("it knows them all");
    store.append(line.answer(&second, "yes")).await.expect("after the end");
    store.append(end(1)).await.expect("the same end, sent again");
    assert_eq!(status(&line).await, Some(RunStatus::Interrupted));
    let mut later = end(1);
    later.run = Some(line.run("r", RunStatus::Failed));
    assert_refused(store.append(later).await, ErrorKind::Conflict, Subject::Pending);
    line.apply(line.claim()).await;
    let mut late = end(2);
    late.run = Some(line.run("r", RunStatus::Failed));
    assert_refused(store.append(late).await, ErrorKind::Fenced, Subject::Branch);
}

/// Of answers and an end sent at once every one that was acknowledged before the end is counted by it.
pub async fn end_and_answers_at_once_are_ordered(env: &dyn StoreEnv) {
    const QUESTIONS: u64 = 6;
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    line.apply(line.next().with_run(RunWrite::Begin(line.run("r", RunStatus::Open))).build()).await;
    let asked = join_all((0..QUESTIONS).map(|task| line.ask(task, "go on?"))).await;
    let end = Records {
        run: Some(line.run("r", RunStatus::Interrupted)),
        expect_answers: Some(0),
        ..line.append(Vec::new())
    };
    let answers = async { join_all(asked.iter().map(|question| store.append(line.answer(question, "yes")))).await };
    let (answered, ended) = futures_util::future::join(answers, store.append(end)).await;
    assert!(answered.iter().all(Result::is_ok), "{answered:?}");
    let expected = if ended.is_ok() { RunStatus::Interrupted } else { RunStatus::Open };
    assert!(ended.as_ref().err().is_none_or(|error: &Error| error.is(ErrorKind::Conflict, Subject::Pending)));
    assert_eq!(status(&line).await, Some(expected));
    assert_eq!(line.read().await.pending.len() as u64, 2 * QUESTIONS);
}

/// Of many answers to one question sent at once one is stored; the others are told so.
pub async fn one_of_many_answers_wins(env: &dyn StoreEnv) {
    let (store, other) = (env.fresh().await, env.reopen().await);
    let line = Line::born(&store, "t").await;
    let asked = line.ask(0, "how many?").await;
    let calls = (0..12).map(|number| {
        let store = if number % 2 == 0 { &store } else { &other };
        store.append(line.answer(&asked, &number.to_string()))
    });
    let answers = join_all(calls).await;
    let (stored, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(stored.len(), 1);
    for answer in refused {
        assert_refused(answer, ErrorKind::Exists, Subject::Pending);
    }
    assert_eq!(line.read().await.pending.len(), 2);
}

async fn waiting(store: &dyn CheckpointStore, scope: &str, limit: u32) -> Vec<ThreadEntry> {
    let mut query = ThreadQuery { scope: scope.into(), after: None, limit, waiting: true };
    let mut found = Vec::new();
    loop {
        let page = store.threads(query.clone()).await.expect("the store answers");
        found.extend(page.threads);
        match page.next {
            Some(name) if found.len() < 50 => query.after = Some(name),
            _ => return found,
        }
    }
}

/// A listing of what waits has the threads with questions on a tip, their branches by creation, and all rows of these.
pub async fn waiting_branches_are_listed(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    assert!(waiting(&*store, "", 5).await.is_empty());
    let mut lines = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        lines.push(Line::grown(&store, name, 1).await);
    }
    let asked = [lines[1].ask(0, "delete?").await, lines[1].ask(1, "send?").await];
    store.append(lines[1].answer(&asked[0], "yes")).await.expect("one of them is answered");
    let side = lines[3].forked(Some("side")).await;
    let on_side = side.ask(0, "buy?").await;
    lines[4].ask(0, "dead").await;
    lines[4].step().await;
    lines[2].store.append(lines[2].flush(0, "no question")).await.expect("the owner flushes");
    let mut elsewhere = Line::unborn(&store, "acme", "b");
    elsewhere.apply(elsewhere.birth().build()).await;
    elsewhere.ask(0, "another scope").await;

    for limit in [0, 1, 2, 5] {
        let found = waiting(&*store, "", limit).await;
        let names: Vec<_> = found.iter().map(|entry| entry.thread.name.as_str()).collect();
        assert_eq!(names, ["b", "d"], "pages of {limit}");
        assert_eq!(found[0].waiting.len(), 1);
        assert_eq!(found[0].waiting[0].branch.row, lines[1].branch);
        assert_eq!(found[0].waiting[0].rows, lines[1].read().await.pending);
        assert_eq!(found[1].tip, lines[3].branch.tip, "the entry has the head's tip");
        assert_eq!(found[1].waiting.len(), 1);
        assert_eq!(found[1].waiting[0].branch.name.as_deref(), Some("side"));
        assert_eq!(found[1].waiting[0].rows, std::slice::from_ref(&on_side));
    }
    let all = ThreadQuery { scope: String::new(), after: None, limit: 9, waiting: false };
    let all = store.threads(all).await.expect("the store answers").threads;
    assert!(all.len() == 5 && all.iter().all(|entry| entry.waiting.is_empty()));
    store.delete_thread(lines[1].thread.uid).await.expect("the thread is known");
    lines[3].ask(0, "on the head").await;
    let found = waiting(&*store, "", 5).await.remove(0);
    let branches: Vec<_> = found.waiting.iter().map(|waiting| waiting.branch.row.id).collect();
    assert_eq!(branches, [lines[3].branch.id, side.branch.id]);
}
