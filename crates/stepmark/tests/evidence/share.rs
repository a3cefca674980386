//! How do several processes send inputs to the same threads?

use stepmark::Sqlite;

use crate::orders::Share;

/// Later.
pub(crate) async fn send_inputs(_store: Sqlite, _orders: Share) -> stepmark::Result<()> {
    Ok(())
}
