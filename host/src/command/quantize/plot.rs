//! The curve as an SVG file: size across, expected loss upwards on a logarithmic scale.

use crate::output::human_bytes;
use edgellm::text::printable;
use edgellm_quantize::Allocation;
use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 60.0;
/// What is less is drawn as this, nats: a logarithm has no 0.
const LEAST: f64 = 1e-9;
/// Longest name in the title.
const LONGEST_TITLE: usize = 60;
const CURVE: &str = "#1f5fa8";
const TARGET: &str = "#b3261e";

/// From values to places.
struct Axis {
    low: f64,
    high: f64,
    start: f64,
    end: f64,
}

impl Axis {
    fn at(&self, value: f64) -> f64 {
        self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)
    }
}

/// Draws the curve of a model.
pub(super) fn svg(name: &str, points: &[Allocation], fit: Option<&Allocation>) -> String {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let all = || points.iter().chain(fit);
    let most = all().map(|point| point.bytes.max(point.limit)).max().unwrap_or(0).max(1);
    let (unit, unit_bytes) = match most {
        0..1_000_000 => ("kB", 1e3),
        1_000_000..1_000_000_000 => ("MB", 1e6),
        _ => ("GB", 1e9),
    };
    let size = |bytes: u64| bytes as f64 / unit_bytes;
    let loss = |point: &Allocation| point.divergence.max(LEAST).log10();
    let step = round_step(size(most) / 8.0);
    let ticks = (size(most) / step).ceil();
    let across = Axis { low: 0.0, high: ticks * step, start: LEFT, end: right };
    let (low, high) = all().map(loss).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), loss| {
        (low.min(loss.floor()), high.max(loss.ceil()))
    });
    let (low, high) = if low.is_finite() { (low, high.max(low + 1.0)) } else { (-1.0, 0.0) };
    let up = Axis { low, high, start: bottom, end: TOP };

    let title = escaped(&printable(name, LONGEST_TITLE));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         role=\"img\" font-family=\"sans-serif\" font-size=\"13\">\n<title>Expected loss of {title} by size</title>\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"28\" font-size=\"16\" font-weight=\"bold\">{title}: expected loss by size</text>\n"
    );
    for tick in 0..=ticks as usize {
        let value = tick as f64 * step;
        let x = across.at(value);
        grid(&mut svg, [x, TOP, x, bottom]);
        label(&mut svg, [x, bottom + 18.0], "middle", &format!("{}", (value * 1e6).round() / 1e6));
    }
    // At most about eight powers of ten.
    let powers = ((high - low) / 8.0).ceil().max(1.0) as usize;
    for power in (low as i32..=high as i32).step_by(powers) {
        let y = up.at(f64::from(power));
        grid(&mut svg, [LEFT, y, right, y]);
        let text =
            if (-4..=4).contains(&power) { format!("{}", 10_f64.powi(power)) } else { format!("1e{power}") };
        label(&mut svg, [LEFT - 8.0, y + 4.0], "end", &text);
    }
    label(&mut svg, [(LEFT + right) / 2.0, HEIGHT - 16.0], "middle", &format!("size of the file, {unit}"));
    let middle = (TOP + bottom) / 2.0;
    let _ = writeln!(
        svg,
        "<text x=\"20\" y=\"{middle}\" text-anchor=\"middle\" transform=\"rotate(-90 20 {middle})\">expected KL divergence, nats a \
         token</text>"
    );
    let place = |point: &Allocation| (across.at(size(point.bytes)), up.at(loss(point)));
    let line: Vec<String> = points.iter().map(place).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let line = line.join(" ");
    let _ =
        writeln!(svg, "<polyline points=\"{line}\" fill=\"none\" stroke=\"{CURVE}\" stroke-width=\"2\"/>");
    for point in points {
        dot(&mut svg, place(point), CURVE, point);
    }
    if let Some(fit) = fit {
        let limit = across.at(size(fit.limit));
        let _ = writeln!(
            svg,
            "<line x1=\"{limit:.1}\" y1=\"{TOP}\" x2=\"{limit:.1}\" y2=\"{bottom}\" stroke=\"{TARGET}\" stroke-dasharray=\"5 4\"/>"
        );
        dot(&mut svg, place(fit), TARGET, fit);
        // On the side that has room.
        let (anchor, shift) = if limit > (LEFT + right) / 2.0 { ("end", -8.0) } else { ("start", 8.0) };
        label(&mut svg, [limit + shift, TOP + 14.0], anchor, &format!("target {}", human_bytes(fit.limit)));
    }
    svg.push_str("</svg>\n");
    svg
}

/// A round number that is at least this.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let rounds = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    rounds.into_iter().find(|step| *step >= least).unwrap_or(10.0 * power)
}

fn grid(svg: &mut String, [x1, y1, x2, y2]: [f64; 4]) {
    let _ = writeln!(
        svg,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#d5d5d5\"/>"
    );
}

fn label(svg: &mut String, [x, y]: [f64; 2], anchor: &str, text: &str) {
    let text = escaped(text);
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
}

/// A point, which says what it is when it is pointed at.
fn dot(svg: &mut String, (x, y): (f64, f64), colour: &str, point: &Allocation) {
    let (size, loss) = (human_bytes(point.bytes), point.divergence);
    let text = escaped(&format!("{size}, expected KL {loss:.3e}: {point}"));
    let _ = writeln!(
        svg,
        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"><title>{text}</title></circle>"
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
