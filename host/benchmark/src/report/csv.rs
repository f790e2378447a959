//! The report as a table for other programs: one line per row and figure.

use super::Report;
use std::fmt::Write as _;

/// The report's rows as CSV (RFC 4180).
pub fn csv(report: &Report) -> String {
    let mut text = String::from(
        "target,engine,variant,kernel,threads,prompt_tokens,figure,n,mean,ci95_low,ci95_high,stddev,min,p25,median,p75,\
         p95,p99,max\n",
    );
    for row in &report.rows {
        let beginning =
            [&row.target, &row.engine, &row.variant, &row.kernel].map(|field| quoted(field)).join(",");
        for (name, figure) in row.figures() {
            let Some(f) = figure else { continue };
            let numbers =
                [f.mean, f.ci95[0], f.ci95[1], f.stddev, f.min, f.p25, f.median, f.p75, f.p95, f.p99, f.max];
            let numbers = numbers.map(|number| number.to_string()).join(",");
            let (threads, tokens) = (row.threads, row.prompt_tokens);
            let _ = writeln!(text, "{beginning},{threads},{tokens},{name},{},{numbers}", f.n);
        }
    }
    text
}

fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_string()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn separators_are_quoted() {
        assert_eq!(super::quoted("int4, int4 head"), "\"int4, int4 head\"");
        assert_eq!(super::quoted("a \"b\""), "\"a \"\"b\"\"\"");
        assert_eq!(super::quoted("int4"), "int4");
    }
}
