//! Is a plain function a durable program?

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stepmark::functional::{Call, Entry, Final, entrypoint};
use stepmark::{App, Ctx, Durability, ErrorKind, MemoryStore, NodeError, NodeResult, OnPending, Question};
use stepmark_conformance::fault::{Counted, Fault, FaultPlan, FaultStore, When};

#[derive(Question, Serialize, Deserialize)]
#[question(answer = bool)]
struct Approve;

/// Who was called how often, and who fails next.
#[derive(Clone, Default)]
struct Lab(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    calls: BTreeMap<String, u32>,
    fails: Option<String>,
}

impl Lab {
    async fn work(&self, name: String) -> NodeResult<usize> {
        let fails = {
            let mut counts = self.0.lock().expect("nobody panicked");
            *counts.calls.entry(name.clone()).or_default() += 1;
            counts.fails.take_if(|fails| *fails == name).is_some()
        };
        // While it waits, what ended before it is stored.
        tokio::task::yield_now().await;
        if fails { Err(NodeError::new(format!("{name} fails once"))) } else { Ok(name.len()) }
    }

    fn fail_once(&self, name: &str) {
        self.0.lock().expect("nobody panicked").fails = Some(name.to_owned());
    }

    fn calls(&self) -> Vec<u32> {
        self.0.lock().expect("nobody panicked").calls.values().copied().collect()
    }
}

/// Adds up the lengths of the words, a task for each.
fn adding(lab: &Lab) -> App<Entry<Vec<String>, usize>> {
    let lab = lab.clone();
    let add = move |call: Call<Vec<String>, usize>, words: Vec<String>| {
        let lab = lab.clone();
        async move {
            let mut sum = call.previous().unwrap_or(0);
            for word in words {
                sum += call.task("length", || lab.work(word.clone())).await?;
            }
            Ok(sum)
        }
    };
    entrypoint("adding", add).expect("valid")
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

#[tokio::test]
async fn a_function_is_a_graph_of_one_node() {
    let app = adding(&Lab::default()).with(MemoryStore::new());
    assert_eq!(app.graph().nodes.iter().map(|node| &*node.name).collect::<Vec<_>>(), ["adding"]);
    let thread = app.thread("t");
    let outcome = thread.call(words("one two")).run_id("first").await.expect("runs");
    assert_eq!(outcome.value(), Some(&6));
    let history = thread.history().await.expect("readable");
    assert_eq!(history.len(), 2, "the input, and what was returned");
    let again = thread.call(words("one two")).run_id("first").await.expect("the same call");
    assert_eq!((again.value(), again.stats().steps), (Some(&6), 0));
    assert_eq!(
        adding(&Lab::default()).run_in_memory(|entry| entry.call(words("four"))).await.expect("runs").value(),
        Some(&4)
    );
}

#[tokio::test]
async fn finished_tasks_are_not_run_again_after_a_failure() {
    let (store, lab) = (MemoryStore::new(), Lab::default());
    lab.fail_once("three");
    let error = adding(&lab).with(store.clone()).thread("t").call(words("one two three four")).await;
    assert_eq!(error.expect_err("it fails once").kind(), ErrorKind::NodeFailed);
    let outcome = adding(&lab).with(store).thread("t").resume().await.expect("goes on");
    assert_eq!(outcome.value(), Some(&15));
    assert_eq!(lab.calls(), [1, 1, 2, 1], "by name: four, one, three, two");
    assert_eq!(outcome.stats().memos_returned, 2);
}

/// The process dies at each of its writes in turn; another one goes on.
#[tokio::test]
async fn a_killed_function_goes_on_wherever_it_was() {
    let mut kept = Vec::new();
    for nth in 0.. {
        let (store, first, second) = (MemoryStore::new(), Lab::default(), Lab::default());
        let plan = FaultPlan { of: Counted::Writes, when: When::Nth(nth, Fault::CrashAfter) };
        let dying = adding(&first).with(FaultStore::new(Arc::new(store.clone()), plan)).linger(Duration::ZERO);
        let died = dying.thread("t").call(words("a bb ccc")).await.is_err();
        let outcome = adding(&second).with(store).thread("t").resume().await.expect("its first write had the input");
        assert_eq!(outcome.value(), Some(&6), "killed at write {nth}");
        kept.push(outcome.stats().memos_returned);
        let calls = first.calls().len() + second.calls().len();
        assert!(calls <= 4, "killed at write {nth}: more than the running task was repeated");
        if !died {
            break;
        }
    }
    assert_eq!(kept, [0, 1, 2, 0, 0], "input, first and second task, return, and no kill");
}

#[tokio::test]
async fn previous_is_what_the_last_call_saved() {
    let (store, lab) = (MemoryStore::new(), Lab::default());
    let thread = adding(&lab).with(store.clone()).thread("t");
    assert_eq!(thread.call(words("one")).await.expect("runs").value(), Some(&3));
    lab.fail_once("bad");
    thread.call(words("bad")).await.expect_err("fails");
    let next = thread.call(words("four")).on_pending(OnPending::Discard).await.expect("runs");
    assert_eq!(next.value(), Some(&7), "a call that failed saved nothing");
    let elsewhere = adding(&lab).with(store).thread("t");
    assert_eq!(elsewhere.state().await.expect("readable").state().saved(), Some(&7));
    let first = elsewhere.at_step(1).await.expect("it is there");
    let branch = first.input(|entry| entry.call(words("xx"))).await.expect("runs");
    assert_eq!(branch.value(), Some(&5), "on another branch it is what that branch saved");
}

#[tokio::test]
async fn one_value_is_returned_and_another_saved() {
    type Told = Final<String, Vec<u32>>;
    async fn tell(call: Call<u32, Told>, number: u32) -> NodeResult<Told> {
        let mut numbers = call.previous().unwrap_or_default();
        let value = format!("{number} after {numbers:?}");
        numbers.push(number);
        Ok(Final { value, save: numbers })
    }
    for durability in [Durability::Sync, Durability::ASYNC, Durability::Exit] {
        let store = MemoryStore::new();
        let app = || entrypoint("tell", tell).expect("valid").with(store.clone()).durability(durability);
        assert_eq!(app().thread("t").call(1).await.expect("runs").value().map(String::as_str), Some("1 after []"));
        let outcome = app().thread("t").call(2).await.expect("runs");
        assert_eq!(outcome.value().map(String::as_str), Some("2 after [1]"), "{durability:?}");
        let stored = app().thread("t").state().await.expect("readable");
        assert_eq!(stored.state().value(), outcome.value());
        assert_eq!(stored.state().saved(), Some(&vec![1, 2]));
    }
}

#[tokio::test]
async fn a_function_that_returns_nothing_has_returned_it_for_every_process() {
    async fn nothing(call: Call<Option<u8>, Option<()>>, input: Option<u8>) -> NodeResult<Option<()>> {
        assert_eq!(input, None);
        Ok(call.previous().flatten())
    }
    let store = MemoryStore::new();
    let app = || entrypoint("nothing", nothing).expect("valid").with(store.clone());
    assert_eq!(app().thread("t").call(None).await.expect("runs").value(), Some(&None));
    assert_eq!(app().thread("t").state().await.expect("readable").state().value(), Some(&None));
    assert_eq!(app().thread("t").call(None).await.expect("runs").value(), Some(&None));
}

#[tokio::test]
async fn an_interrupt_waits_in_the_middle_and_tasks_before_it_are_kept() {
    let lab = Lab::default();
    let inner = lab.clone();
    let ask = move |call: Call<String, String>, topic: String| {
        let lab = inner.clone();
        async move {
            // Both at once.
            let (first, second) = tokio::join!(
                call.task("first", || lab.work(format!("{topic} a"))),
                call.task("second", || lab.work(format!("{topic} bb"))),
            );
            let sum = first? + second?;
            let approved = call.interrupt(Approve).await?;
            Ok(format!("{sum} {approved}"))
        }
    };
    let app = entrypoint("ask", ask).expect("valid").with(MemoryStore::new());
    let thread = app.thread("t");
    let waiting = thread.call("x".to_owned()).await.expect("asks");
    assert_eq!((waiting.is_interrupted(), waiting.value()), (true, None));
    let done = thread.answer(waiting.question::<Approve>().expect("open"), true).run().await.expect("goes on");
    assert_eq!(done.value().map(String::as_str), Some("7 true"));
    assert_eq!(lab.calls(), [1, 1]);
    let waiting = thread.call("yy".to_owned()).await.expect("asks");
    assert_eq!(waiting.value(), None, "not what the last call returned");
}

#[tokio::test]
async fn closures_and_context_need_no_types_twice() {
    struct Tenant(&'static str);
    let greet = entrypoint("greet", |call, name: String| async move {
        let call: Call<String, String> = call;
        let tenant: Ctx<Tenant> = call.extract()?;
        Ok(format!("{} greets {name}", tenant.0))
    });
    let app = greet.expect("valid").with(MemoryStore::new());
    let outcome = app.thread("t").call("bob".to_owned()).context(Tenant("ada")).await.expect("runs");
    assert_eq!(outcome.value().map(String::as_str), Some("ada greets bob"));
}

#[tokio::test]
async fn a_call_without_an_input_fails_by_name() {
    let app = adding(&Lab::default()).with(MemoryStore::new());
    let error = app.thread("t").input(|_| ()).await.expect_err("nothing was given");
    assert!(error.to_string().contains("without an input"), "{error}");
    assert_eq!(
        entrypoint("", |_: Call<u8, u8>, number| async move { Ok(number) }).err().map(|error| error.kind()),
        Some(ErrorKind::InvalidGraph)
    );
}
