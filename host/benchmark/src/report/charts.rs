//! Plots as inline SVG: bars with intervals, boxes, lines, points. Colours come from the page's style: class `cN` is
//! the N-th target.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
/// Left of the plot: room for labels.
const LEFT: f64 = 150.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 30.0;
/// Height of a line of a horizontal plot.
const LINE: f64 = 24.0;
/// Below the plot: room for the axis.
const BOTTOM: f64 = 44.0;

/// A bar or box, and the index of its colour.
pub(super) struct Line<T> {
    pub(super) label: String,
    pub(super) colour: usize,
    pub(super) value: T,
}

/// A mean and its interval.
pub(super) struct Bar {
    pub(super) mean: f64,
    pub(super) ci95: [f64; 2],
}

/// A box: the middle half, the median, and whiskers to the extremes.
pub(super) struct Box {
    pub(super) min: f64,
    pub(super) p25: f64,
    pub(super) median: f64,
    pub(super) p75: f64,
    pub(super) p95: f64,
    pub(super) p99: f64,
}

/// Points of one colour, joined or not.
pub(super) struct Series {
    pub(super) label: String,
    pub(super) colour: usize,
    pub(super) points: Vec<(f64, f64)>,
}

/// Escapes text for HTML, including attributes.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// About five round numbers at equal distances that span `low` to `high`.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let span = if high > low { high - low } else { high.abs().max(1.0) };
    let power = 10f64.powf((span / 5.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| span / step <= 5.5);
    let step = step.unwrap_or(10.0 * power);
    let first = (low / step).floor();
    let count = ((low + span) / step - first).ceil() as usize;
    (0..=count).map(|index| (first + index as f64) * step).collect()
}

fn number(value: f64) -> String {
    let digits = if value.abs() >= 10.0 || value == value.trunc() {
        0
    } else if value.abs() >= 1.0 {
        1
    } else {
        3
    };
    format!("{value:.digits$}")
}

/// The position of a value on an axis.
struct Axis {
    ticks: Vec<f64>,
    start: f64,
    length: f64,
}

impl Axis {
    fn new(values: impl Iterator<Item = f64> + Clone, from_zero: bool, start: f64, length: f64) -> Self {
        let finite = values.filter(|value| value.is_finite());
        let high = finite.clone().fold(f64::NEG_INFINITY, f64::max);
        let low = if from_zero { 0.0 } else { finite.fold(f64::INFINITY, f64::min) };
        let ticks = if high >= low { ticks(low, high) } else { vec![0.0, 1.0] };
        Axis { ticks, start, length }
    }

    fn at(&self, value: f64) -> f64 {
        let (low, high) = (self.ticks[0], self.ticks[self.ticks.len() - 1]);
        self.start + (value - low) / (high - low) * self.length
    }
}

fn open(title: &str, height: f64) -> String {
    format!(
        "<figure><svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{0}\"><text x=\"0\" y=\"16\" \
         class=\"title\">{0}</text>\n",
        escaped(title)
    )
}

fn horizontal<T>(
    title: &str,
    unit: &str,
    lines: &[Line<T>],
    values: impl Iterator<Item = f64> + Clone,
    draw: impl Fn(&mut String, &Axis, f64, &T),
) -> String {
    if lines.is_empty() {
        return no_data(title);
    }
    let bottom = TOP + LINE * lines.len() as f64;
    let mut svg = open(title, bottom + BOTTOM);
    let axis = Axis::new(values, true, LEFT, WIDTH - LEFT - RIGHT);
    for &tick in &axis.ticks {
        let x = axis.at(tick);
        let _ =
            writeln!(svg, "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>");
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{}\" class=\"middle\">{}</text>",
            bottom + 16.0,
            number(tick)
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" class=\"middle\">{}</text>",
        LEFT + axis.length / 2.0,
        bottom + 34.0,
        escaped(unit)
    );
    for (index, line) in lines.iter().enumerate() {
        let middle = TOP + LINE * (index as f64 + 0.5);
        let _ = writeln!(svg, "<g class=\"c{}\">", line.colour);
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\" class=\"end\">{}</text>",
            LEFT - 8.0,
            middle + 4.0,
            escaped(&line.label)
        );
        draw(&mut svg, &axis, middle, &line.value);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg></figure>\n");
    svg
}

/// Bars of means, with their intervals as whiskers.
pub(super) fn bars(title: &str, unit: &str, lines: &[Line<Bar>]) -> String {
    let values = lines.iter().map(|line| line.value.ci95[1].max(line.value.mean));
    horizontal(title, unit, lines, values, |svg, axis, y, Bar { mean, ci95: [low, high] }| {
        let (start, end, low, high) = (axis.at(0.0), axis.at(*mean), axis.at(*low), axis.at(*high));
        let _ = writeln!(
            svg,
            "<rect x=\"{start:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"14\"><title>{mean}</title></rect>\
             <path class=\"whisker\" d=\"M{low:.1} {:.1}v8M{low:.1} {y:.1}H{high:.1}M{high:.1} {:.1}v8\"/>",
            y - 7.0,
            end - start,
            y - 4.0,
            y - 4.0
        );
    })
}

/// Boxes from the 25th to the 75th percentile, whiskers from the least to the 95th, a dot at the 99th. The
/// maximum, which a single hiccup of the machine decides, is only in the table.
pub(super) fn boxes(title: &str, unit: &str, lines: &[Line<Box>]) -> String {
    let values = lines.iter().map(|line| line.value.p99);
    horizontal(title, unit, lines, values, |svg, axis, y, value| {
        let Box { min, p25, median, p75, p95, p99 } = *value;
        let [min, p25, middle, p75, p95, p99] = [min, p25, median, p75, p95, p99].map(|value| axis.at(value));
        let _ = writeln!(
            svg,
            "<path class=\"whisker\" d=\"M{min:.1} {y:.1}H{p25:.1}M{p75:.1} {y:.1}H{p95:.1}\"/>\
             <rect x=\"{p25:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"14\"><title>{median}</title></rect>\
             <path class=\"whisker\" d=\"M{middle:.1} {:.1}v14\"/><circle cx=\"{p99:.1}\" cy=\"{y:.1}\" r=\"2.5\"/>",
            y - 7.0,
            (p75 - p25).max(1.0),
            y - 7.0
        );
    })
}

/// Points in a plane, joined to lines or, as `joined` says, each with its label.
pub(super) fn plane(title: &str, x_unit: &str, y_unit: &str, series: &[Series], joined: bool) -> String {
    /// Height of the plot.
    const HEIGHT: f64 = 260.0;
    let points = || series.iter().flat_map(|series| series.points.iter());
    if points().next().is_none() {
        return no_data(title);
    }
    let legend = if joined { 18.0 * series.len().div_ceil(4) as f64 } else { 0.0 };
    let bottom = TOP + HEIGHT;
    let mut svg = open(title, bottom + BOTTOM + legend);
    let x = Axis::new(points().map(|point| point.0), joined, 60.0, WIDTH - 60.0 - 100.0);
    let y = Axis::new(points().map(|point| point.1), true, bottom, -HEIGHT);
    for &tick in &x.ticks {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" class=\"middle\">{}</text>",
            x.at(tick),
            bottom + 16.0,
            number(tick)
        );
    }
    for &tick in &y.ticks {
        let (at, end) = (y.at(tick), x.start + x.length);
        let _ = writeln!(svg, "<line class=\"grid\" x1=\"60\" x2=\"{end}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>");
        let _ = writeln!(svg, "<text x=\"54\" y=\"{:.1}\" class=\"end\">{}</text>", at + 4.0, number(tick));
    }
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" class=\"middle\">{}</text>",
        x.start + x.length / 2.0,
        bottom + 34.0,
        escaped(x_unit)
    );
    let _ = writeln!(svg, "<text x=\"{}\" y=\"16\" class=\"end\">{}</text>", WIDTH - RIGHT, escaped(y_unit));
    for (index, series) in series.iter().enumerate() {
        let _ = writeln!(svg, "<g class=\"c{}\">", series.colour);
        let label = escaped(&series.label);
        if joined {
            let path: Vec<String> =
                series.points.iter().map(|&(a, b)| format!("{:.1} {:.1}", x.at(a), y.at(b))).collect();
            let _ = writeln!(svg, "<path class=\"trace\" d=\"M{}\"/>", path.join("L"));
            let (left, top) = (60.0 + 160.0 * (index % 4) as f64, bottom + 50.0 + 18.0 * (index / 4) as f64);
            let _ = writeln!(
                svg,
                "<circle cx=\"{left}\" cy=\"{}\" r=\"4\"/><text x=\"{}\" y=\"{top}\">{label}</text>",
                top - 4.0,
                left + 8.0
            );
        } else {
            for &(a, b) in &series.points {
                let (left, top) = (x.at(a), y.at(b));
                let _ = writeln!(
                    svg,
                    "<circle cx=\"{left:.1}\" cy=\"{top:.1}\" r=\"5\"><title>{a}, {b}</title></circle>"
                );
                let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\">{label}</text>", left + 8.0, top + 4.0);
            }
        }
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg></figure>\n");
    svg
}

fn no_data(title: &str) -> String {
    format!("{}<text x=\"{LEFT}\" y=\"50\">no data</text></svg></figure>\n", open(title, 70.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_span_the_values() {
        assert_eq!(ticks(0.0, 97.0), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(ticks(3.0, 3.0).first(), Some(&3.0));
        let ticks = ticks(0.013, 0.072);
        assert!(ticks[0] <= 0.013 && ticks[ticks.len() - 1] >= 0.072 && ticks.len() <= 8, "{ticks:?}");
    }

    #[test]
    fn labels_cannot_break_out() {
        let line =
            Line { label: "<script>\"".to_string(), colour: 0, value: Bar { mean: 1.0, ci95: [0.9, 1.1] } };
        let svg = bars("a & b", "s", &[line]);
        assert!(
            svg.contains("&lt;script&gt;&quot;") && svg.contains("a &amp; b") && !svg.contains("<script>")
        );
        assert!(bars("nothing", "s", &[]).contains("no data"));
    }
}
