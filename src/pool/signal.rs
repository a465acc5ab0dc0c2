//! Something that is said once, and heard by everybody who waits for it.

use std::sync::atomic::{AtomicBool, Ordering};

use event_listener::{Event, listener};

/// Something that is said once, to whoever waits for it and whoever asks later.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    is_sent: AtomicBool,
    sent: Event,
}

impl Signal {
    pub(crate) fn send(&self) {
        // Release: pairs with the Acquire in `is_sent`.
        self.is_sent.store(true, Ordering::Release);
        self.sent.notify(usize::MAX);
    }

    pub(crate) fn is_sent(&self) -> bool {
        self.is_sent.load(Ordering::Acquire)
    }

    /// Waits until it is sent.
    pub(crate) async fn sent(&self) {
        while !self.is_sent() {
            listener!(self.sent => sent);
            // Looked at again: it may have been sent before the listener was there.
            if !self.is_sent() {
                sent.await;
            }
        }
    }
}
