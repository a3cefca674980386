//! Can a run wait for people, and go on from what they say? Through the public interface.

/// Runs each promise on each store.
macro_rules! on_every_store {
    ($($promise:ident,)*) => {
        mod in_memory {
            $(#[tokio::test]
            async fn $promise() {
                super::$promise(&crate::bench::Bench::in_memory()).await;
            })*
        }

        mod on_sqlite {
            $(#[tokio::test]
            async fn $promise() {
                super::$promise(&crate::bench::Bench::on_sqlite()).await;
            })*
        }

        mod sealed {
            $(#[tokio::test]
            async fn $promise() {
                super::$promise(&crate::bench::Bench::sealed()).await;
            })*
        }
    };
}

mod bench;
#[path = "../common/sealed.rs"]
mod sealed;

mod answering;
mod asking;
mod basic;
mod branches;
mod faults;
mod inbox;
mod reuse;
#[cfg(feature = "schemars")]
mod schema;
mod siblings;
mod stops;
