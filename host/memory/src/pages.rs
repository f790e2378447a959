//! The system's settings for huge pages. Only Linux provides them on request; elsewhere there are none.

use std::fs;

/// Bytes of a huge page on x86-64 and on aarch64 with pages of 4 KiB.
pub const HUGE_PAGE: usize = 2 << 20;

/// The system's setting for transparent huge pages: `always`, `madvise` or `never`; `None` if it has none.
pub fn setting() -> Option<String> {
    let text = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").ok()?;
    Some(text.split_once('[')?.1.split_once(']')?.0.to_string())
}

/// Whether huge pages are available on request.
pub(crate) fn available() -> bool {
    setting().is_some_and(|setting| setting != "never")
}

/// How many bytes of `memory` are in huge pages. Pages that the process has not touched yet do not count.
pub fn huge_bytes(memory: &[u8]) -> u64 {
    let range = memory.as_ptr_range();
    fs::read_to_string("/proc/self/smaps").map_or(0, |text| {
        let bytes = huge_bytes_of(&text, range.start as u64, range.end as u64);
        bytes.min(memory.len() as u64)
    })
}

/// The bytes in huge pages of the areas in `/proc/self/smaps` that overlap `start..end`.
fn huge_bytes_of(smaps: &str, start: u64, end: u64) -> u64 {
    let (mut inside, mut kibibytes) = (false, 0);
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(first), second) = (words.next(), words.next()) else { continue };
        match first {
            "AnonHugePages:" | "FilePmdMapped:" | "ShmemPmdMapped:" if inside => {
                kibibytes += second.and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
            }
            _ if first.ends_with(':') => {}
            _ => {
                let bound = |text: &str| u64::from_str_radix(text, 16).unwrap_or(0);
                inside =
                    first.split_once('-').is_some_and(|(from, to)| bound(from) < end && start < bound(to));
            }
        }
    }
    kibibytes * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_told_apart() {
        let smaps = "7f0000000000-7f0000400000 r--p 00000000 fe:00 12 /models/a.bin\n\
                     Rss:                4096 kB\n\
                     AnonHugePages:         0 kB\n\
                     FilePmdMapped:      2048 kB\n\
                     VmFlags: rd mr\n\
                     7f0000400000-7f0000800000 rw-p 00000000 00:00 0\n\
                     AnonHugePages:      4096 kB\n\
                     FilePmdMapped:         0 kB\n";
        assert_eq!(huge_bytes_of(smaps, 0x7f00_0000_0000, 0x7f00_0040_0000), 2 << 20);
        assert_eq!(huge_bytes_of(smaps, 0x7f00_0040_0000, 0x7f00_0040_0001), 4 << 20);
        assert_eq!(huge_bytes_of(smaps, 0x7f00_0000_1000, 0x7f00_0080_0000), 6 << 20);
        assert_eq!(huge_bytes_of(smaps, 0, 0x7f00_0000_0000), 0);
    }
}
