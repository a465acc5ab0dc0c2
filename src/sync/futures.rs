//! The futures of this module, by name.

pub use super::{
    barrier::Arrived,
    condition::{Notified, NotifiedUntil},
    event::Occurred,
    limiter::LimiterAcquired,
    mutex::Locked,
    once_cell::{Initialized, TryInitialized},
    rw_lock::{ReadLocked, WriteLocked},
    semaphore::{Acquired, AcquiredArc},
};
