//! Panics that nobody needs to see.

use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

thread_local! {
    /// Whether panics of this thread are kept from being printed.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` without a word from the panic hook: a failing schedule is run again many times while a
/// smaller one is looked for, and only the last of them is to be read.
pub(super) fn quietly<T>(f: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();

    HOOK.call_once(|| {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                hook(info);
            }
        }));
    });
    let before = QUIET.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(f));
    QUIET.set(before);
    match result {
        Ok(value) => value,
        Err(panic) => panic::resume_unwind(panic),
    }
}
