//! A worker's memory and CPU time, including its children's, from the operating system.
//!
//! Linux only; elsewhere reports say "not measured".

use std::collections::HashMap;
use std::fs;

/// Clock ticks per second in /proc/PID/stat: always 100 as seen by programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process and its descendants, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Bytes resident now.
    pub rss_bytes: u64,
    /// Sum of the processes' peak resident bytes, each at its own time.
    pub peak_rss_bytes: u64,
    /// Seconds of CPU time, including ended children's.
    pub cpu_seconds: f64,
}

/// The usage of `pid` and its descendants; `None` if the system does not report it.
pub fn usage(pid: u32) -> Option<Usage> {
    let mut total = own(pid)?;
    let children = children();
    let mut pending = children.get(&pid).cloned().unwrap_or_default();
    while let Some(pid) = pending.pop() {
        // Skip one that has ended in the meantime.
        if let Some(usage) = own(pid) {
            total.rss_bytes += usage.rss_bytes;
            total.peak_rss_bytes += usage.peak_rss_bytes;
            total.cpu_seconds += usage.cpu_seconds;
        }
        pending.extend(children.get(&pid).into_iter().flatten());
    }
    Some(total)
}

fn own(pid: u32) -> Option<Usage> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let bytes = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
    };
    let fields = stat(pid)?;
    // utime, stime, cutime and cstime: fields 14 to 17, the command's name being field 2.
    let ticks: f64 = (11..15).filter_map(|index| fields.get(index)?.parse::<f64>().ok()).sum();
    Some(Usage {
        rss_bytes: bytes("VmRSS:").unwrap_or(0),
        peak_rss_bytes: bytes("VmHWM:").unwrap_or(0),
        cpu_seconds: ticks / TICKS_PER_SECOND,
    })
}

/// The fields of /proc/PID/stat from the third on: the second is a name in parentheses that may hold anything.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_string).collect())
}

/// The children of every process.
fn children() -> HashMap<u32, Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(parent) = stat(pid).and_then(|fields| fields.get(1)?.parse().ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    children
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_child_counts() {
        let alone = usage(std::process::id()).expect("this process is there");
        assert!(alone.rss_bytes > 0 && alone.peak_rss_bytes >= alone.rss_bytes / 2);
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().expect("cat starts");
        assert!(children().get(&std::process::id()).is_some_and(|pids| pids.contains(&child.id())));
        drop(child.stdin.take());
        child.wait().expect("cat ends");
        assert_eq!(usage(child.id()), None);
    }
}
