//! A chart of the cost per child against the number of children.

use std::fmt::Write;

use crate::{
    measure::Row,
    question::{OURS, RAW},
};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 470.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 230.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 56.0;

/// Colours that differ in brightness too.
const COLOURS: &[(&str, &str)] = &[
    (OURS, "#c2410c"),
    (RAW, "#1d4ed8"),
    ("StaticExecutor", "#60a5fa"),
    ("tokio JoinSet", "#047857"),
    ("tokio TaskTracker+Token", "#34d399"),
    ("FuturesUnordered", "#6d28d9"),
    ("moro", "#a16207"),
    ("rayon::scope", "#64748b"),
];

/// Draws the rows of a question: both axes logarithmic, a line per peer.
pub fn draw(rows: &[Row], title: &str, subtitle: &str) -> String {
    let lines: Vec<_> = COLOURS
        .iter()
        .map(|&(peer, colour)| {
            let points = rows.iter().filter(|row| row.peer == peer);
            let points: Vec<_> = points.map(|row| (row.n as f64, row.median)).collect();
            (peer, colour, points)
        })
        .filter(|(_, _, points)| !points.is_empty())
        .collect();
    let all = || lines.iter().flat_map(|(_, _, points)| points.iter());
    let least = all().map(|point| point.1).fold(f64::MAX, f64::min);
    let most = all().map(|point| point.1).fold(0.0, f64::max);
    let widest = all().map(|point| point.0).fold(1.0, f64::max).max(10.0);
    let bounds = ((least * 0.8).log10(), (most * 1.2).log10());
    let x = |n: f64| LEFT + n.log10() / widest.log10() * (WIDTH - LEFT - RIGHT);
    let y = |cost: f64| {
        let share = (cost.log10() - bounds.0) / (bounds.1 - bounds.0);
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    };

    let mut svg = String::new();
    let mut put = |text: std::fmt::Arguments<'_>| {
        svg.write_fmt(text).expect("strings do not fail");
        svg.push('\n');
    };
    put(format_args!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\">"
    ));
    put(format_args!(
        "<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>"
    ));
    put(format_args!(
        "<text x=\"{LEFT}\" y=\"24\" font-size=\"16\" font-weight=\"600\" fill=\"#0f172a\">{title}</text>"
    ));
    put(format_args!(
        "<text x=\"{LEFT}\" y=\"42\" fill=\"#475569\">{subtitle}</text>"
    ));
    for cost in ticks(least * 0.8, most * 1.2) {
        let (y, right) = (y(cost), WIDTH - RIGHT);
        put(format_args!(
            "<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#e2e8f0\"/><text x=\"{:.1}\" y=\"{:.1}\" \
             text-anchor=\"end\" fill=\"#475569\">{cost} ns</text>",
            LEFT - 8.0,
            y + 4.0
        ));
    }
    let mut n = 1.0;
    while n <= widest {
        put(format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#475569\">{}</text>",
            x(n),
            HEIGHT - BOTTOM + 20.0,
            short(n)
        ));
        n *= 10.0;
    }
    put(format_args!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#475569\">children</text>",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - BOTTOM + 42.0
    ));
    let mut labels = Vec::new();
    for (peer, colour, points) in &lines {
        let path = points
            .iter()
            .map(|&(n, cost)| format!("{:.1} {:.1}", x(n), y(cost)));
        let path: Vec<_> = path.collect();
        let width = if *peer == OURS { 3.5 } else { 1.8 };
        put(format_args!(
            "<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" \
             stroke-linejoin=\"round\"/>",
            path.join("L")
        ));
        for &(n, cost) in points {
            let (x, y) = (x(n), y(cost));
            put(format_args!(
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{width}\" fill=\"{colour}\"/>"
            ));
        }
        if let Some(last) = points.last() {
            labels.push((y(last.1), x(last.0), *peer, *colour, last.1));
        }
    }
    labels.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut lowest = 0.0_f64;
    for (y, x, peer, colour, cost) in labels {
        let at = (y + 4.0).max(lowest + 17.0);
        lowest = at;
        let weight = if peer == OURS { 700 } else { 400 };
        put(format_args!(
            "<text x=\"{:.1}\" y=\"{at:.1}\" fill=\"{colour}\" font-weight=\"{weight}\">{peer}, {cost:.0} ns</text>",
            x.max(LEFT) + 10.0
        ));
    }
    svg.push_str("</svg>\n");
    svg
}

/// Round numbers in a range: 1, 2 and 5 times the powers of ten.
fn ticks(from: f64, to: f64) -> Vec<f64> {
    let powers = (0..7).map(|power| 10_f64.powi(power));
    let ticks = powers.flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * power));
    ticks.filter(|tick| (from..to).contains(tick)).collect()
}

fn short(n: f64) -> String {
    match n {
        0.0..1e3 => format!("{n}"),
        1e3..1e6 => format!("{},000", n / 1e3),
        _ => format!("{} million", n / 1e6),
    }
}
