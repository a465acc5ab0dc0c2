//! Where calls go that block their thread, such as those that read files.

pub(crate) use headcount::unblock;
