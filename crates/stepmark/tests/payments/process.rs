//! What is a process of these tests?

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use stepmark::App;
use stepmark::clock::{IdGen, SystemClock};
use stepmark::store::CheckpointStore;
use stepmark_conformance::call::{Call, Intercept, Intercepted, Reply};
use stepmark_core::error::Result;

use crate::agent::{self, Desk, Manner};
use crate::air::Air;
use crate::book::Book;
use crate::fate::{Fate, Moment, Trap};
use crate::till::{Deed, Till};

/// What all processes of a seed share.
#[derive(Clone, Debug)]
pub(crate) struct Town {
    pub(crate) store: Arc<dyn CheckpointStore>,
    pub(crate) service: SocketAddr,
    pub(crate) book: Book,
    pub(crate) air: Air,
    /// What counts calls of the store, where the operating system is waited for.
    pub(crate) store_air: Air,
    pub(crate) ids: Arc<dyn IdGen>,
    pub(crate) manner: Manner,
}

/// An application that may die or stop.
#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) app: Arc<App<Desk>>,
    pub(crate) fate: Fate,
    pub(crate) deed: Deed,
}

impl Town {
    pub(crate) fn process(&self, trap: Option<Trap>) -> Process {
        let (fate, deed) = (Fate::new(trap), Deed::default());
        let Self { service, book, air, .. } = self.clone();
        let teller = Teller { fate: fate.clone(), book: book.clone(), air: self.store_air.clone(), deed: deed.clone() };
        let till = Till { service, fate: fate.clone(), book, air, deed: deed.clone() };
        let app = agent::app(self.manner).provide(till).with_sources(Arc::new(SystemClock), Arc::clone(&self.ids));
        let app = Arc::new(app.with(Intercepted::around(Arc::clone(&self.store), teller)));
        Process { app, fate, deed }
    }
}

/// What stands between a process and the store.
#[derive(Debug)]
struct Teller {
    fate: Fate,
    book: Book,
    air: Air,
    deed: Deed,
}

#[async_trait]
impl Intercept for Teller {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let (writes, process) = (call.kind().writes(), self.deed.number());
        if writes {
            self.fate.pass(Moment::BeforeWrite).await;
        }
        let reply = {
            let _flight = self.air.fly();
            call.clone().run(store).await
        };
        if let Ok(reply) = &reply {
            self.book.hear(process, &call, reply);
        }
        if writes {
            self.fate.pass(Moment::AfterWrite).await;
        }
        reply
    }
}
