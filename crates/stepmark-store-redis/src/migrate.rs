//! May this server hold the store, and does this program know what is in it?
//!
//! A key names the version of the keys and rows of a prefix. There is one version so far; a later one moves data and number
//! together, one version after the other.

use stepmark_core::error::{Error, Result, Subject};

use crate::bag::{Odd, optional};
use crate::link::Link;

/// The version of keys and rows that this program reads and writes.
pub(crate) const LAYOUT_VERSION: u32 = 1;

/// Looks at the server and marks a fresh prefix, or says why it cannot be used.
pub(crate) async fn migrate(link: &Link) -> Result<()> {
    refuse_eviction(link).await?;
    let key = link.keys.format();
    link.send(redis::cmd("SET").arg(&key).arg(LAYOUT_VERSION).arg("NX")).await?;
    let answer = link.send(redis::cmd("GET").arg(&key)).await?;
    let stored = optional(answer).map_err(|Odd| link.unreadable())?.unwrap_or_default();
    match std::str::from_utf8(&stored).ok().and_then(|digits| digits.parse().ok()) {
        Some(LAYOUT_VERSION) => Ok(()),
        Some(version @ 0u32..) => {
            let reason =
                format!("its layout is version {version}, this program knows {LAYOUT_VERSION}; update stepmark");
            Err(Error::unsupported(Subject::Store, &link.place, reason))
        }
        None => {
            let reason = "another program uses this prefix; choose another one";
            Err(Error::unsupported(Subject::Store, &link.place, reason))
        }
    }
}

/// A server that makes room by itself takes away half of a thread without a word. One that does not tell is believed.
async fn refuse_eviction(link: &Link) -> Result<()> {
    let Ok(answer) = link.send(redis::cmd("INFO").arg("memory")).await else { return Ok(()) };
    let text = match answer {
        redis::Value::BulkString(text) => String::from_utf8_lossy(&text).into_owned(),
        redis::Value::VerbatimString { text, .. } => text,
        _ => return Ok(()),
    };
    let field = |name: &str| text.lines().find_map(|row| row.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let policy = field("maxmemory_policy").unwrap_or("noeviction");
    if field("maxmemory").is_none_or(|bytes| bytes == "0") || policy == "noeviction" {
        return Ok(());
    }
    let reason =
        format!("it takes keys away when its memory is full; set maxmemory-policy to noeviction, not {policy}");
    Err(Error::unsupported(Subject::Store, &link.place, reason))
}
