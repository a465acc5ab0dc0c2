//! The futures of channels, by name.

pub use super::{
    broadcast::BroadcastReceived,
    oneshot::OneshotClosed,
    receiver::Received,
    sender::{Closed, Reserved, ReservedOwned, Sent},
    watch::{Changed, WatchedUntil},
};
