//! Where calls go that block their thread: where the runtime of the peer has them.

use crate::peer::Peer;

/// Runs a call that blocks.
pub(crate) async fn unblock<T, F>(call: F) -> T
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    match Peer::current() {
        Peer::Headcount | Peer::Smol => smol::unblock(call).await,
        Peer::Tokio => {
            let called = tokio::task::spawn_blocking(call).await;
            called.expect("it neither panics nor is aborted")
        }
    }
}
