//! Asks all questions, or those named, and writes the table and the chart.
//!
//! ```text
//! cargo run --release --bin compare -- [--quick] [--out DIRECTORY] [W1 W2 …]
//! ```
//!
//! The table is printed as it grows; at the end, what is aimed at and whether it is reached. With `--out`, `benchmarks.csv`, `benchmarks.md` and, if W1 was
//! asked, `cost.svg` go there.

use std::{env, fs, path::PathBuf, time::Instant};

use headcount_benches::{
    aims, chart, machine,
    measure::{self, Effort},
    memory::{self, Counting},
    python, questions, report,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let mut quick = false;
    let mut out = None;
    let mut wanted = Vec::new();
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match &*argument {
            "--quick" => quick = true,
            "--out" => out = arguments.next().map(PathBuf::from),
            _ => wanted.push(argument),
        }
    }
    let is_wanted = |id: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == id);
    let effort = if quick {
        Effort::quick()
    } else {
        Effort::full()
    };

    let begun = Instant::now();
    let mut heading = machine::describe();
    if let Some(warning) = machine::warn() {
        heading = format!("{heading}\n\n{warning}");
    }
    println!("{heading}");
    // First: what the questions leave behind is given back at some time, on other threads.
    let footprints = if is_wanted("W9") {
        memory::measure()
    } else {
        Vec::new()
    };
    let mut rows = Vec::new();
    for question in questions::all() {
        if !is_wanted(question.id) {
            continue;
        }
        let mut of_question = measure::measure(&question, effort);
        of_question.extend(python::measure(&question, quick));
        print!("{}", report::markdown(&of_question, &[]));
        rows.append(&mut of_question);
    }
    print!("{}", report::markdown(&[], &footprints));
    let aims = aims::markdown(&rows, &footprints);
    print!("{aims}");
    println!("\n{:.0} s", begun.elapsed().as_secs_f64());

    if let Some(out) = out {
        let write = |name: &str, text: String| {
            let written = fs::create_dir_all(&out).and_then(|()| fs::write(out.join(name), text));
            written.unwrap_or_else(|error| panic!("cannot write {name}: {error}"));
        };
        write("benchmarks.csv", report::csv(&rows, &footprints));
        let table = report::markdown(&rows, &footprints);
        write("benchmarks.md", format!("{heading}\n{table}{aims}"));
        rows.retain(|row| row.id == "W1");
        if !rows.is_empty() {
            let title = "What a child costs: spawn n, wait for all";
            let subtitle = format!("nanoseconds per child, 2 cores, {}", machine::today());
            write("cost.svg", chart::draw(&rows, title, &subtitle));
        }
    }
}
