//! How an audit is brought to its end, from wherever it stands: not begun, killed, waiting for answers, or finished.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use stepmark::run::Request;
use stepmark::{App, ErrorKind, Outcome, Sqlite, Thread};

use crate::approve::Notebook;
use crate::args::Args;
use crate::error::{Error, Result};
use crate::graph::{self, Audit, ReportDirectory};
use crate::meter::Meter;
use crate::people::Desk;
use crate::policy::PolicyText;
use crate::report::{self, Report};
use crate::thread::check_same_audit;
use crate::what_if;

/// What one command works with.
pub struct Session {
    pub app: App<Audit>,
    pub meter: Arc<Meter>,
    /// Where the report of this command goes.
    pub out: PathBuf,
    notebook: Notebook,
    args: Args,
}

impl Session {
    /// Opens the store and hands the nodes what they ask for.
    pub fn open(args: Args, out: PathBuf) -> Result<Self> {
        let store = Sqlite::open(&args.db).map_err(|source| Error::Open { path: args.db.clone(), source })?;
        let (meter, notebook) = (Arc::new(Meter::new(args.halt())), Notebook::new(store.clone()));
        let app = graph::draw()?
            .with(store)
            .provide(Arc::clone(&meter))
            .provide(notebook.clone())
            .provide(ReportDirectory(out.clone()))
            // With no linger an inspection makes room for the next one only when it is durable: a kill costs no more than
            // those under way.
            .linger(Duration::ZERO)
            .concurrency_max(args.concurrency.get());
        Ok(Self { app, meter, out, notebook, args })
    }

    /// Runs the audit of a thread until it is finished, or waits for people.
    pub async fn audit(&self, name: &str, start: Audit) -> Result<Outcome<Audit>> {
        let thread = self.app.thread(name);
        let request = match thread.state().await {
            Ok(snapshot) => {
                check_same_audit(name.to_owned(), snapshot.state(), &start)?;
                thread.resume()
            }
            Err(error) if error.kind() == ErrorKind::Missing => thread.input(|audit| {
                audit.manifest.set(start.manifest);
                audit.policy.set(start.policy);
            }),
            Err(error) => return Err(error.into()),
        };
        Box::pin(self.finish((name, &thread), request)).await
    }

    /// Runs the same audit under another policy, from where everything was inspected; returns also how its report differs.
    pub async fn fork(&self, name: &str, start: &Audit, other: &PolicyText) -> Result<(Outcome<Audit>, String)> {
        let thread = self.app.thread(name);
        let first = match thread.state().await {
            Err(error) if error.kind() == ErrorKind::Missing => return Err(self.no_audit(name.to_owned())),
            first => first?,
        };
        check_same_audit(name.to_owned(), first.state(), start)?;
        let branch = what_if::branch(&thread, other, &self.meter).await?;
        let branch = branch.ok_or_else(|| Error::NotJudged { thread: name.to_owned() })?;
        let outcome = Box::pin(self.finish((name, &branch), branch.resume())).await?;
        let second = branch.state().await?;
        let difference = report::difference(first.state(), second.state(), &first.diff(&second)?);
        Ok((outcome, difference))
    }

    /// That the thread is not there.
    pub fn no_audit(&self, thread: String) -> Error {
        Error::NoAudit { thread, db: self.args.db.clone() }
    }

    async fn finish(&self, place: (&str, &Thread<Audit>), request: Request<'_, Audit>) -> Result<Outcome<Audit>> {
        let ran = request.run().await;
        self.meter.clear();
        let Self { meter, notebook, args, .. } = self;
        let desk = Desk { name: place.0, thread: place.1, notebook, meter, args };
        let outcome = desk.answer(ran?).await?;
        if outcome.is_done() && outcome.stats().steps == 0 {
            // It was finished before, so no node has written the report now.
            Report::of(outcome.state()).write(&self.out)?;
        }
        Ok(outcome)
    }
}
