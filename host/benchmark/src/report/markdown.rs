//! The report as a page of Markdown.

use super::{Report, Row};
use crate::statistics::Figure;
use std::fmt::Write as _;

/// Explains the columns of [`resources`].
pub(super) const RESOURCE_HEADS: [&str; 8] =
    ["target", "threads", "cold start ms", "load ms", "steady MiB", "CPU %", "bandwidth used", "J / token"];

/// Explains the rates.
pub(super) const RATES: &str = "Rates: mean (95 % bootstrap interval), median. \"to first\": ratio of medians of decoding to \
                                the first target with as many threads and as long a prompt.";

/// Cells of one row of the main table, and their headers.
pub(super) const HEADS: [&str; 13] = [
    "target",
    "variant",
    "kernel",
    "threads",
    "prompt",
    "decode tok/s",
    "to first",
    "prefill tok/s",
    "TTFT ms",
    "p50 / p95 / p99 / max ms",
    "jitter ms",
    "peak MiB",
    "n",
];

/// The report as Markdown.
pub fn markdown(report: &Report) -> String {
    let mut text =
        format!("# {} on {}\n\n", report.model.name, report.machine.cpu.as_deref().unwrap_or("this machine"));
    for line in facts(report) {
        let _ = writeln!(text, "- {line}");
    }
    let _ = writeln!(text, "\n| {} |\n|{}", HEADS.join(" | "), "---|".repeat(HEADS.len()));
    for row in &report.rows {
        let _ = writeln!(text, "| {} |", cells(report, row).join(" | "));
    }
    let _ = writeln!(text, "\n{RATES}\n");
    let heads = RESOURCE_HEADS;
    let _ = writeln!(text, "| {} |\n|{}", heads.join(" | "), "---|".repeat(heads.len()));
    for row in first_of_each_worker(report) {
        let _ = writeln!(text, "| {} |", resources(row).join(" | "));
    }
    text
}

/// One row for each target and number of threads: the longest prompt's, whose memory is the largest.
pub(super) fn first_of_each_worker(report: &Report) -> Vec<&Row> {
    let longest = report.settings.prompt_lengths.iter().max();
    report.rows.iter().filter(|row| Some(&row.prompt_tokens) == longest).collect()
}

/// Notes for the reader, one per line.
pub(super) fn facts(report: &Report) -> Vec<String> {
    let Report { machine, model, settings, .. } = report;
    let or_unknown = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_string());
    let mut facts = vec![
        format!(
            "EdgeLLM {}, commit {}, {}{}",
            report.version,
            or_unknown(&report.commit),
            report.started,
            if report.interrupted { "; interrupted: what was measured until then" } else { "" }
        ),
        format!("{} cores, {}, kernel {}", machine.cores, machine.system, or_unknown(&machine.kernel)),
        format!("{} {}, {} bytes, sha256 {}", model.name, model.format, model.bytes, model.sha256),
        format!(
            "at most {} runs after {} warm-up runs, {} tokens generated in each, greedy, answers checked",
            settings.iterations, settings.warmup, settings.generate
        ),
    ];
    if let Some(peer) = &model.peer_file {
        facts.push(format!("peers read {}, {} bytes, sha256 {}", peer.file, peer.bytes, peer.sha256));
    }
    for bandwidth in &machine.bandwidth {
        facts.push(format!(
            "memory read at {:.1} GB/s by {} thread(s), over {} MB",
            bandwidth.gigabytes_per_second,
            bandwidth.threads,
            bandwidth.bytes / 1_000_000
        ));
    }
    facts.push(match machine.temperature_celsius {
        Some([before, after]) => format!("temperature {before:.0} °C before, {after:.0} °C after"),
        None => "temperature: not measured".to_string(),
    });
    facts.push(match machine.throttle_events {
        Some(events) => format!("{events} thermal throttling events"),
        None => "thermal throttling: not measured".to_string(),
    });
    facts.push(match &machine.energy_meter {
        Some(meter) => format!("energy by {}", meter.0),
        None => "energy: not measured".to_string(),
    });
    for absent in &report.absent {
        facts.push(format!("{}: not measured, {}", absent.target, absent.reason));
    }
    facts
}

/// A row of the main table.
pub(super) fn cells(report: &Report, row: &Row) -> [String; 13] {
    let first = report.rows.iter().find(|first| {
        (first.threads, first.prompt_tokens) == (row.threads, row.prompt_tokens)
            && first.decode_tokens_per_second.is_some()
    });
    let ratio = || Some(row.decode_tokens_per_second?.median / first?.decode_tokens_per_second?.median);
    let gaps =
        row.inter_token_ms.map(|f| format!("{:.2} / {:.2} / {:.2} / {:.2}", f.p50, f.p95, f.p99, f.max));
    let decode = match &row.problem {
        Some(problem) => problem.clone(),
        None => rate(row.decode_tokens_per_second),
    };
    [
        row.target.clone(),
        row.variant.clone(),
        row.kernel.clone(),
        row.threads.to_string(),
        row.prompt_tokens.to_string(),
        decode,
        ratio().map_or_else(String::new, |ratio| format!("{ratio:.2}")),
        rate(row.prefill_tokens_per_second),
        spread(row.ttft_ms),
        gaps.unwrap_or_default(),
        row.jitter_ms.map_or_else(String::new, |jitter| format!("{jitter:.2}")),
        mebibytes(row.peak_rss_bytes),
        row.ttft_ms.map_or_else(String::new, |figure| figure.n.to_string()),
    ]
}

/// A row of the table of resources.
pub(super) fn resources(row: &Row) -> [String; 8] {
    [
        row.target.clone(),
        row.threads.to_string(),
        spread(row.cold_start_ms),
        spread(row.load_ms),
        mebibytes(row.steady_rss_bytes),
        row.cpu_percent.map_or_else(|| "not measured".to_string(), |figure| format!("{:.0}", figure.mean)),
        row.bandwidth_share.map_or_else(String::new, |share| format!("{:.0} %", share * 100.0)),
        row.joules_per_token.map_or_else(
            || "not measured".to_string(),
            |figure| format!("{:.4} (n = {})", figure.mean, figure.n),
        ),
    ]
}

fn rate(figure: Option<Figure>) -> String {
    figure.map_or_else(String::new, |f| {
        format!("{:.1} ({:.1} to {:.1}), {:.1}", f.mean, f.ci95[0], f.ci95[1], f.median)
    })
}

fn spread(figure: Option<Figure>) -> String {
    figure.map_or_else(String::new, |f| format!("{:.1} ({:.1} to {:.1})", f.median, f.p25, f.p75))
}

fn mebibytes(figure: Option<Figure>) -> String {
    figure.map_or_else(|| "not measured".to_string(), |f| format!("{:.0}", f.max / f64::from(1 << 20)))
}
