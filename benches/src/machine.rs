//! Where and when the figures were measured.

use std::{
    fs,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

/// The date, the machine and the compiler, in a line.
pub fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find(|line| line.starts_with("model name"));
    let cpu = cpu
        .and_then(|line| line.split(':').nth(1))
        .unwrap_or("unknown processor")
        .trim();
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let rustc = rustc.unwrap_or_else(|_| "an unknown compiler".into());
    format!("{}; {cores} virtual cores, {cpu}; {rustc}", today())
}

/// A warning, if others keep the machine busy. To be asked before anything is measured.
pub fn warn() -> Option<String> {
    // What a desktop does by itself is less.
    const BUSY: f64 = 0.3;

    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = fs::read_to_string("/proc/loadavg").ok()?;
    let load: f64 = load.split_whitespace().next()?.parse().ok()?;
    (load > BUSY).then(|| {
        format!(
            "The machine was busy with other things before the run: a load of {load:.1} on {cores} \
             cores. Trust none of the figures, and the ratios a little."
        )
    })
}

/// The date, as in 2026-01-31.
pub fn today() -> String {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_secs());
    // Days to a date, counting years from the first of March, so that leap days come last.
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}
