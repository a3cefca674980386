//! What tells a process of another system than Unix to end?

use std::future::Future;
use std::io;

/// Listens from the first poll on; ends at the first Ctrl-C.
#[expect(clippy::unnecessary_wraps, reason = "it is as on Unix")]
pub(super) fn told_to_end() -> io::Result<impl Future<Output = ()> + Send> {
    Ok(async {
        // Where it cannot be listened to, nobody tells.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
