//! The report as one self-contained page: tables, plots, and the JSON itself.

use super::charts::{self, Bar, Box, Line, Series, escaped};
use super::markdown::{HEADS, RATES, RESOURCE_HEADS, cells, facts, first_of_each_worker, resources};
use super::{Report, Row};
use crate::statistics::Figure;
use std::fmt::Write as _;

const STYLE: &str = include_str!("page.css");

/// The report as HTML.
pub fn html(report: &Report) -> String {
    let title = format!("{} {}", report.model.name, report.model.format);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><link rel=\"icon\" href=\"data:,\"><title>Benchmark: {0}</title><style>{STYLE}</style></head>\n\
         <body><h1>Benchmark: {0}</h1>\n<ul>\n",
        escaped(&title)
    );
    for fact in facts(report) {
        let _ = writeln!(page, "<li>{}</li>", escaped(&fact));
    }
    page.push_str("</ul>\n<h2>Speed</h2>\n");
    table(&mut page, &HEADS, report.rows.iter().map(|row| cells(report, row)));
    let _ = writeln!(page, "<p>{RATES}</p>");
    plots(&mut page, report);
    page.push_str("<h2>Resources</h2>\n");
    table(&mut page, &RESOURCE_HEADS, first_of_each_worker(report).into_iter().map(resources));
    page.push_str("<h2>All figures</h2>\n<details><summary>every figure in full</summary>\n");
    all_figures(&mut page, report);
    // In a script, only `<` could end the element.
    let json = serde_json::to_string(report).unwrap_or_default().replace('<', "\\u003c");
    let _ = write!(
        page,
        "</details>\n<script type=\"application/json\" id=\"report\">{json}</script>\n</body></html>\n"
    );
    page
}

fn table<const N: usize>(page: &mut String, heads: &[&str; N], rows: impl Iterator<Item = [String; N]>) {
    page.push_str("<div class=\"scroll\"><table><thead><tr>");
    for head in heads {
        let _ = write!(page, "<th>{}</th>", escaped(head));
    }
    page.push_str("</tr></thead><tbody>\n");
    for row in rows {
        page.push_str("<tr>");
        for cell in row {
            let _ = write!(page, "<td>{}</td>", escaped(&cell));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div>\n");
}

/// Every number of every figure, unrounded, so that the page has everything that the JSON has.
fn all_figures(page: &mut String, report: &Report) {
    let heads = ["row", "figure", "n", "mean", "ci95", "median", "p50", "p95", "p99", "max"];
    page.push_str("<div id=\"figures\">");
    let rows = report.rows.iter().enumerate().flat_map(|(index, row)| {
        row.figures().into_iter().filter_map(move |(name, figure)| {
            let Figure { n, mean, ci95: [low, high], median, p50, p95, p99, max, .. } = figure?;
            Some([
                format!("{index}: {}, {} tokens", row.label(), row.prompt_tokens),
                name.to_string(),
                n.to_string(),
                mean.to_string(),
                format!("{low} {high}"),
                median.to_string(),
                p50.to_string(),
                p95.to_string(),
                p99.to_string(),
                max.to_string(),
            ])
        })
    });
    table(page, &heads, rows);
    page.push_str("</div>\n");
}

fn plots(page: &mut String, report: &Report) {
    let mut names: Vec<&str> = Vec::new();
    for row in &report.rows {
        if !names.contains(&row.target.as_str()) {
            names.push(&row.target);
        }
    }
    let colour = |row: &Row| names.iter().position(|name| *name == row.target).unwrap_or(0) % 8;
    let lengths = &report.settings.prompt_lengths;
    for &length in lengths {
        let rows = || report.rows.iter().filter(move |row| row.prompt_tokens == length);
        let bars = |figure: fn(&Row) -> Option<Figure>| -> Vec<Line<Bar>> {
            let line = |row: &Row| {
                let Figure { mean, ci95, .. } = figure(row)?;
                Some(Line { label: row.label(), colour: colour(row), value: Bar { mean, ci95 } })
            };
            rows().filter_map(line).collect()
        };
        let _ = writeln!(page, "<h2>Prompt of {length} tokens</h2>\n<div class=\"plots\">");
        page.push_str(&charts::bars(
            "Decoding",
            "tokens per second",
            &bars(|row| row.decode_tokens_per_second),
        ));
        page.push_str(&charts::bars(
            "Prefill",
            "tokens per second",
            &bars(|row| row.prefill_tokens_per_second),
        ));
        page.push_str(&charts::bars("Time to first token", "milliseconds", &bars(|row| row.ttft_ms)));
        let boxes: Vec<_> = rows()
            .filter_map(|row| {
                let Figure { min, p25, median, p75, p95, p99, .. } = row.inter_token_ms?;
                let value = Box { min, p25, median, p75, p95, p99 };
                Some(Line { label: row.label(), colour: colour(row), value })
            })
            .collect();
        page.push_str(&charts::boxes("Time between tokens: quartiles, p95, p99", "milliseconds", &boxes));
        let traces: Vec<_> = rows()
            .filter(|row| !row.samples.trace_ms.is_empty())
            .map(|row| {
                let points =
                    row.samples.trace_ms.iter().enumerate().map(|(index, &gap)| (index as f64 + 2.0, gap));
                Series { label: row.label(), colour: colour(row), points: points.collect() }
            })
            .collect();
        page.push_str(&charts::plane(
            "Time between tokens, last run",
            "token",
            "milliseconds",
            &traces,
            true,
        ));
        page.push_str("</div>\n");
    }
    page.push_str("<h2>Memory and start</h2>\n<div class=\"plots\">\n");
    let of_workers = |value: fn(&Row) -> Option<Bar>| -> Vec<Line<Bar>> {
        let line = |row: &Row| Some(Line { label: row.label(), colour: colour(row), value: value(row)? });
        first_of_each_worker(report).into_iter().filter_map(line).collect()
    };
    let memory = of_workers(|row| {
        let peak = row.peak_rss_bytes?.max / f64::from(1 << 20);
        Some(Bar { mean: peak, ci95: [peak; 2] })
    });
    page.push_str(&charts::bars("Peak resident memory", "MiB", &memory));
    let cold = of_workers(|row| row.cold_start_ms.map(|figure| Bar { mean: figure.mean, ci95: figure.ci95 }));
    page.push_str(&charts::bars("Process start to first token", "milliseconds", &cold));
    page.push_str("</div>\n");
    quality(page, report);
}

/// Quality against size, and speed against quality, for the given evaluations.
fn quality(page: &mut String, report: &Report) {
    let perplexity = |evaluation: &serde_json::Value| evaluation.pointer("/perplexity/perplexity")?.as_f64();
    let size = |(index, evaluation): (usize, &serde_json::Value)| {
        let bytes = evaluation.pointer("/model/bytes")?.as_f64()?;
        let label = evaluation.pointer("/model/format").and_then(|format| format.as_str()).unwrap_or("?");
        let points = vec![(bytes / 1e6, perplexity(evaluation)?)];
        Some(Series { label: label.to_string(), colour: index % 8, points })
    };
    let sizes: Vec<_> = report.quality.iter().enumerate().filter_map(size).collect();
    // Only the speed of this report's model is known here.
    let own = report.quality.iter().find(|evaluation| {
        evaluation.pointer("/model/sha256").and_then(|hash| hash.as_str()) == Some(&report.model.sha256)
    });
    let speed = |row: &Row| {
        let points = vec![(row.decode_tokens_per_second?.median, perplexity(own?)?)];
        Some(Series { label: row.label(), colour: row.threads % 8, points })
    };
    let of_native = first_of_each_worker(report).into_iter().filter(|row| row.target == "native");
    let speeds: Vec<_> = of_native.filter_map(speed).collect();
    page.push_str("<h2>Quality</h2>\n<div class=\"plots\">\n");
    page.push_str(&charts::plane("Quality against size", "MB of the file", "perplexity", &sizes, false));
    page.push_str(&charts::plane("Speed against quality", "tokens per second", "perplexity", &speeds, false));
    page.push_str("</div>\n");
}
