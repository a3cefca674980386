//! How does a thread move to another store between two processes?
//!
//! Through a file, as an operator moves it; on the way it is looked through, and copied.

use stepmark::store::{CheckpointStore, ErrorKind, Subject};
use stepmark::upkeep::{Error, ThreadAddress, copy_thread, export, import, verify};

use crate::process::THREAD;

/// Moves the thread. `false` where there is none yet.
pub(crate) async fn move_thread(from: &dyn CheckpointStore, to: &dyn CheckpointStore) -> Result<bool, String> {
    let name = |name: &str| ThreadAddress::Name { scope: String::new(), name: name.to_owned() };
    let mut file = Vec::new();
    match export(from, &[name(THREAD)], &mut file, &mut |_, _| {}).await {
        Err(Error::Store(error)) if error.is(ErrorKind::Missing, Subject::Thread) => return Ok(false),
        exported => exported.map_err(|error| format!("not exported: {error}"))?,
    };
    import(&mut &file[..], to, &mut |_, _| {}).await.map_err(|error| format!("not imported: {error}"))?;
    let mut again = Vec::new();
    export(to, &[name(THREAD)], &mut again, &mut |_, _| {}).await.map_err(|error| format!("not exported: {error}"))?;
    if again != file {
        return Err("a thread that moved has another file".to_owned());
    }
    copy_thread(to, &name(THREAD), "copy").await.map_err(|error| format!("not copied: {error}"))?;
    for name in [name(THREAD), name("copy")] {
        let report = verify(to, &name).await.map_err(|error| format!("not verified: {error}"))?;
        if let Some(finding) = report.findings.first() {
            return Err(format!("found in {name}: {finding}"));
        }
    }
    Ok(true)
}
