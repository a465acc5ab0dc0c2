//! Where calls go that block their thread: where the runtime of the peer has them.

use crate::{on_tokio, peer::Peer};

/// Runs a call that blocks.
pub(crate) async fn unblock<T, F>(call: F) -> T
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    match Peer::current() {
        Peer::Headcount => headcount::unblock(call).await,
        Peer::Smol | Peer::SmolLazy => smol::unblock(call).await,
        Peer::Tokio | Peer::TokioLazy => on_tokio::whole(tokio::task::spawn_blocking(call).await),
    }
}
