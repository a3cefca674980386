//! Is everything told that the documentation lists, and no secret with it?

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key as Named, KeyName, Metadata, Unit};
use stepmark::Sqlite;
use stepmark::store::CheckpointStore;
use stepmark_codec::{Codec, Key, MasterKeys};
use stepmark_conformance::make::{Line, full};
use stepmark_conformance::{Fault, FaultPlan, FaultStore};
use stepmark_core::meter::{self, Metered};
use tracing::field::{Field, Visit};
use tracing::span;

use crate::case::{CANARY, Lab, answer, app, begin, canary};

/// All that was told so far, by name; and all labels.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<(BTreeMap<String, f64>, String)>>);

impl Told {
    fn add(&self, name: &str, amount: f64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).0.entry(name.to_owned()).or_default() += amount;
    }

    fn named(&self, key: &Named) -> Arc<One> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.push_str(&labels.join(" "));
        Arc::new(One { name: key.name().to_owned(), told: self.clone() })
    }
}

struct One {
    name: String,
    told: Told,
}

impl CounterFn for One {
    fn increment(&self, value: u64) {
        self.told.add(&self.name, f64::from(u32::try_from(value).expect("a small count")));
    }

    fn absolute(&self, _: u64) {}
}

impl GaugeFn for One {
    fn increment(&self, _: f64) {}

    fn decrement(&self, _: f64) {}

    fn set(&self, value: f64) {
        self.told.add(&self.name, value);
    }
}

impl HistogramFn for One {
    fn record(&self, value: f64) {
        self.told.add(&self.name, value);
    }
}

impl metrics::Recorder for Told {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: metrics::SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: metrics::SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: metrics::SharedString) {}

    fn register_counter(&self, key: &Named, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.named(key))
    }

    fn register_gauge(&self, key: &Named, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.named(key))
    }

    fn register_histogram(&self, key: &Named, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.named(key))
    }
}

/// Writes down every span and field of ours.
#[derive(Clone, Default)]
struct Spans(Arc<(AtomicU64, Mutex<String>)>);

impl Visit for Spans {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = self.0.1.lock().unwrap_or_else(PoisonError::into_inner);
        write!(text, " {field}={value:?}").expect("a string takes all");
    }
}

impl tracing::Subscriber for Spans {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("stepmark")
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        let mut told = self.0.1.lock().unwrap_or_else(PoisonError::into_inner);
        told.push('\n');
        told.push_str(span.metadata().name());
        drop(told);
        span.record(&mut self.clone());
        span::Id::from_u64(self.0.0.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// The names in the table of the documentation.
fn listed() -> BTreeSet<String> {
    let text = include_str!("../../../../docs/operations.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `stepmark_")?.split('`').next());
    rows.map(|name| format!("stepmark_{name}")).collect()
}

#[tokio::test]
async fn everything_listed_is_told_and_no_secret_with_it() {
    let (told, spans) = (Told::default(), Spans::default());
    metrics::set_global_recorder(told.clone()).expect("no other test tells metrics");
    tracing::subscriber::set_global_default(spans.clone()).expect("no other test tells spans");

    let folder = tempfile::tempdir().expect("a folder");
    let file = Sqlite::open(folder.path().join("a.db")).expect("it opens");
    let sealing = Codec::new().compressed().sealed(MasterKeys::new(Key::new([7; 32])));
    let below = sealing.around(Metered::stored_bytes("sqlite", file));
    let plan = FaultPlan::nth_write(2, Fault::ErrorAfter);
    let failing: Arc<dyn CheckpointStore> = Arc::new(FaultStore::new(Arc::new(below), plan));
    let store: Arc<dyn CheckpointStore> = Arc::new(Metered::calls("sqlite", failing));

    let app = app(Arc::clone(&store), &Lab::default());
    assert!(begin(&app.thread("visit")).await.expect("it runs").is_interrupted());
    let done = answer(&app.thread("visit")).await.expect("it is answered");
    assert_eq!(done.state().receipt, canary("receipt"));

    // A writer that is late, and one that has lost its branch.
    let mut line = Line::unborn(&store, "", "t");
    line.apply(line.birth().named("main").packed("list", full(&["a"])).build()).await;
    let stale = line.next().build();
    line.step().await;
    store.commit(stale).await.expect_err("the tip has moved");
    let zombie = line.next().build();
    line.apply(line.claim()).await;
    store.commit(zombie).await.expect_err("the branch was claimed");

    let told = told.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let names: BTreeSet<_> = told.0.keys().cloned().collect();
    assert_eq!(names, listed());
    assert_eq!(names, meter::NAMES.map(str::to_owned).into());
    let at_least_one =
        [meter::LOADS, meter::CONFLICTS, meter::FENCED, meter::ERRORS, meter::RETRIES, meter::GROUP_SIZE];
    assert!(at_least_one.iter().all(|name| told.0[*name] >= 1.0), "{told:?}");
    assert!(told.0[meter::BYTES_LOGICAL] > 2.0 * told.0[meter::BYTES_STORED], "{told:?}");
    let spans = spans.0.1.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for part in
        ["\nstepmark_commit backend=\"sqlite\" thread=", " branch=", " step=1", " end=\"fenced\"", "stepmark_load"]
    {
        assert!(spans.contains(part), "{part}: {spans}");
    }
    assert!(!spans.contains(CANARY) && !told.1.contains(CANARY), "{spans}");
}
