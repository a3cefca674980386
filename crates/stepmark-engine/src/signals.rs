//! How does a process stop in good order when it is told to?

use std::future::Future;
use std::io;

use crate::app::App;
use crate::state::State;

#[cfg(not(unix))]
#[path = "signals/console.rs"]
mod system;
#[cfg(unix)]
#[path = "signals/unix.rs"]
mod system;

impl<S: State> App<S> {
    /// Drains the application when the process is told to end, by SIGTERM or SIGINT; elsewhere than on Unix, by Ctrl-C. The
    /// future that is returned ends when the runs have ended: spawn it, or await it as the last thing that `main` does.
    ///
    /// The signals are listened to from this call on, for the rest of the process: they do not end it any more by
    /// themselves, also a second one does not.
    ///
    /// ```text
    /// let drained = tokio::spawn(app.drain_on_signals()?);
    /// let outcome = app.thread("t").resume().run().await?; // ends `Drained` where a signal came
    /// ```
    ///
    /// # Errors
    /// The system's, where it does not let the process listen.
    ///
    /// # Panics
    /// Outside of a tokio runtime whose input and output is enabled.
    pub fn drain_on_signals(&self) -> io::Result<impl Future<Output = ()> + Send + use<S>> {
        let (told, app) = (system::told_to_end()?, self.clone());
        Ok(async move {
            told.await;
            app.drain().ended().await;
        })
    }
}
