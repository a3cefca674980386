//! The process that the tests in this directory kill, stop and run beside each other.

#[cfg(unix)]
mod graphs;
#[cfg(unix)]
mod journal;
#[cfg(unix)]
mod journal_file;
#[cfg(unix)]
mod letters;
#[cfg(unix)]
mod orders;
#[cfg(unix)]
mod place;
#[cfg(unix)]
mod send;

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    use orders::Work;

    let orders = std::env::args().nth(1).ok_or("the tests of `stepmark` start this program with their orders")?;
    let orders: orders::Orders = serde_json::from_str(&orders)?;
    let store = orders.place.open().await?;
    match orders.work {
        Work::Drive(drive) => drive_threads(store, drive).await?,
        Work::Share(orders) => send::send_inputs(&letters::app().with(watched(store)), &orders).await?,
    }
    Ok(())
}

#[cfg(unix)]
type Store = std::sync::Arc<dyn stepmark::store::CheckpointStore>;

#[cfg(unix)]
async fn drive_threads(store: Store, orders: orders::Drive) -> stepmark::Result<()> {
    use journal::{Event, Journal};
    use journal_file::FilePages;
    use stepmark_conformance::WitnessStore;

    let journal = Journal::new(FilePages::append_to(&orders.journal), orders.trap);
    let store = WitnessStore::new(store, journal.clone());
    let app = orders.setup.app(journal.clone()).with(store);
    journal.note(&Event::Began);
    #[expect(clippy::print_stdout, reason = "the parent waits for it")]
    {
        println!("ready");
    }
    for number in orders.from..orders.until.unwrap_or(u32::MAX) {
        let thread = format!("thread-{number}");
        journal.note(&Event::Turned { thread: thread.clone() });
        orders.setup.drive(&app, &thread).await?;
        journal.note(&Event::Done { thread });
    }
    Ok(())
}

/// The store behind a witness that says on standard output what no writer should ever hear.
#[cfg(unix)]
fn watched(store: Store) -> stepmark_conformance::WitnessStore<Alarm> {
    stepmark_conformance::WitnessStore::new(store, Alarm)
}

#[cfg(unix)]
#[derive(Debug)]
struct Alarm;

#[cfg(unix)]
impl stepmark_conformance::Witness for Alarm {
    fn sent(&self, _sight: &stepmark_conformance::Sight) {}

    fn answered(
        &self,
        sight: &stepmark_conformance::Sight,
        answer: Result<&stepmark_conformance::call::Reply, &stepmark_core::error::Error>,
    ) {
        use stepmark_core::error::ErrorKind::{Conflict, Exists, Fenced, Missing};

        let Err(error) = answer else { return };
        if !matches!(error.kind(), Conflict | Exists | Fenced | Missing) {
            #[expect(clippy::print_stdout, reason = "the parent reads it")]
            {
                println!("{:?}: {error} ({:?})", sight.kind, std::error::Error::source(error));
            }
        }
    }
}
