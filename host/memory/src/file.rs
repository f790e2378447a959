//! The bytes of a model file: mapped, or copied.

use crate::pages::{self, HUGE_PAGE, huge_bytes};
use memmap2::{Mmap, MmapMut};
use std::fmt;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Read as _};

/// The bytes of a file, mapped read-only.
#[derive(Debug)]
pub struct MappedFile(Mmap);

impl MappedFile {
    /// Maps `file`.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn new(file: &File) -> io::Result<Self> {
        // SAFETY: the mapping is private and read-only, and every byte value is a valid u8. What no program
        // can rule out is that another one shortens the file meanwhile. EdgeLLM never does: it writes a draft
        // and renames it, and then the mapping keeps the old file.
        Ok(MappedFile(unsafe { Mmap::map(file) }?))
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Where the bytes of a model file shall be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// Mapped where the page cache has the file in huge pages. Where it has not, copied into huge pages if the system
    /// gives some and memory is ample, mapped otherwise.
    #[default]
    Auto,
    /// In the page cache, which all processes share and the system can take back: no copy.
    Mapped,
    /// In memory of the process.
    Copied,
}

/// The bytes of a model file, and why they are where they are.
#[derive(Debug)]
pub struct ModelBytes {
    memory: Memory,
    reason: Reason,
}

#[derive(Debug)]
enum Memory {
    Mapped(MappedFile),
    Copied(Copied),
}

/// Why memory is where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Asked,
    HugeInPageCache,
    SmallInPageCache,
    NoHugePages,
    MemoryScarce { available: Option<u64> },
}

impl ModelBytes {
    /// The bytes of `file`, placed as wanted.
    ///
    /// # Errors
    /// If the file cannot be read or mapped, or there is no memory for a copy that was asked for.
    pub fn load(file: &File, placement: Placement) -> io::Result<Self> {
        if placement == Placement::Copied {
            return Ok(ModelBytes { memory: Memory::Copied(Copied::read(file)?), reason: Reason::Asked });
        }
        let map = MappedFile::new(file)?;
        ask_for_huge_pages(&map.0);
        let reason = if placement == Placement::Mapped {
            Reason::Asked
        } else if !pages::to_be_had() {
            Reason::NoHugePages
        } else if lies_in_huge_pages(map.as_ref()) {
            Reason::HugeInPageCache
        } else {
            let available = available_memory();
            // Half of what is left then still holds the context of any but the longest conversations.
            if available.is_some_and(|available| map.0.len() as u64 <= available / 4) {
                // Parts of the file that the map has brought in would count as this process's beside the copy.
                drop(map);
                let (memory, reason) = match Copied::read(file) {
                    Ok(copy) => (Memory::Copied(copy), Reason::SmallInPageCache),
                    // Without memory after all, a map will do.
                    Err(_) => (Memory::Mapped(MappedFile::new(file)?), Reason::MemoryScarce { available }),
                };
                return Ok(ModelBytes { memory, reason });
            }
            Reason::MemoryScarce { available }
        };
        Ok(ModelBytes { memory: Memory::Mapped(map), reason })
    }

    /// Whether this is a copy in the process's own memory.
    pub fn is_copy(&self) -> bool {
        matches!(self.memory, Memory::Copied(_))
    }
}

impl AsRef<[u8]> for ModelBytes {
    fn as_ref(&self) -> &[u8] {
        match &self.memory {
            Memory::Mapped(map) => map.as_ref(),
            Memory::Copied(copy) => copy.as_ref(),
        }
    }
}

/// One line for people, such as `mapped, 96 of 98 MB in huge pages (the page cache has the file so)`.
impl fmt::Display for ModelBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.as_ref();
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        let place = if self.is_copy() { "copied" } else { "mapped" };
        let (huge, all) = (megabytes(huge_bytes(bytes)), megabytes(bytes.len() as u64));
        write!(f, "{place}, {huge:.0} of {all:.0} MB in huge pages (")?;
        match self.reason {
            Reason::Asked => write!(f, "as asked for")?,
            Reason::HugeInPageCache => write!(f, "the page cache has the file in them")?,
            Reason::SmallInPageCache => {
                write!(f, "the page cache has the file in small pages, and memory is ample")?;
            }
            Reason::NoHugePages => write!(f, "the system gives none to those who ask")?,
            Reason::MemoryScarce { available: Some(available) } => {
                let available = megabytes(available);
                write!(f, "a copy would take more than a quarter of {available:.0} MB available")?;
            }
            Reason::MemoryScarce { available: None } => write!(f, "how much memory is available is unknown")?,
        }
        write!(f, ")")
    }
}

/// Hint: where the page cache does not have the file yet, it is read in huge pages if the file system can (ext4
/// and XFS of Linux 6.16 can), and whoever maps it later finds them too.
fn ask_for_huge_pages(map: &Mmap) {
    #[cfg(target_os = "linux")]
    // Refused where the kernel knows no huge pages: then there are none.
    drop(map.advise(memmap2::Advice::HugePage));
    #[cfg(not(target_os = "linux"))]
    let _ = map;
}

/// Whether nearly all of a mapped file is reached through huge pages. Touches a byte in each, which on a cold
/// cache reads the file; it will be verified anyway.
fn lies_in_huge_pages(map: &[u8]) -> bool {
    map.iter().step_by(HUGE_PAGE).for_each(|byte| {
        black_box(*byte);
    });
    let whole = map.len() / HUGE_PAGE * HUGE_PAGE;
    huge_bytes(map) >= whole as u64 / 8 * 7
}

/// A file's bytes in private memory that begins at a huge page.
#[derive(Debug)]
struct Copied {
    memory: Mmap,
    start: usize,
    len: usize,
}

impl Copied {
    fn read(mut file: &File) -> io::Result<Self> {
        let len = usize::try_from(file.metadata()?.len()).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut memory = MmapMut::map_anon(len.checked_add(HUGE_PAGE).ok_or(io::ErrorKind::OutOfMemory)?)?;
        let start = memory.as_ptr().align_offset(HUGE_PAGE);
        // The last page too: it takes at most 2 MiB for less.
        #[cfg(target_os = "linux")]
        drop(memory.advise_range(memmap2::Advice::HugePage, start, memory.len() - start));
        io::Seek::rewind(&mut file)?;
        file.read_exact(&mut memory[start..start + len])?;
        Ok(Copied { memory: memory.make_read_only()?, start, len })
    }
}

impl AsRef<[u8]> for Copied {
    fn as_ref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }
}

/// Memory that programs can have without anything being taken from them: the system's, or what the limit of
/// the process's group (a container's, mostly) leaves.
fn available_memory() -> Option<u64> {
    let system = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
    })?;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let number = |name: &str| -> Option<u64> {
        fs::read_to_string(format!("/sys/fs/cgroup{own}/{name}")).ok()?.trim().parse().ok()
    };
    let group = number("memory.max").map(|max| max.saturating_sub(number("memory.current").unwrap_or(0)));
    Some(group.map_or(system, |group| group.min(system)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn file(len: usize) -> (File, Vec<u8>) {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        file.write_all(&bytes).unwrap();
        (file, bytes)
    }

    #[test]
    fn all_placements_have_the_same_bytes() {
        for len in [1, 4096, HUGE_PAGE - 1, HUGE_PAGE, 3 * HUGE_PAGE + 5] {
            let (file, bytes) = file(len);
            for placement in [Placement::Auto, Placement::Mapped, Placement::Copied] {
                let model = ModelBytes::load(&file, placement).unwrap();
                assert!(model.as_ref() == bytes, "{len} {placement:?}");
                assert!(placement == Placement::Auto || model.is_copy() == (placement == Placement::Copied));
            }
        }
    }

    #[test]
    fn copies_begin_at_a_huge_page_and_say_so() {
        let (file, _) = file(5 * HUGE_PAGE);
        let model = ModelBytes::load(&file, Placement::Copied).unwrap();
        assert!(model.as_ref().as_ptr().addr().is_multiple_of(HUGE_PAGE));
        let huge = huge_bytes(model.as_ref());
        println!("{huge} bytes in huge pages, setting {:?}: {model}", pages::setting());
        assert!(pages::to_be_had() || huge == 0);
        assert!(model.to_string().starts_with("copied, "));
    }

    #[test]
    fn an_empty_file_is_an_error_or_empty() {
        let (file, _) = file(0);
        for placement in [Placement::Auto, Placement::Mapped, Placement::Copied] {
            assert!(ModelBytes::load(&file, placement).is_ok_and(|model| model.as_ref().is_empty()));
        }
    }
}
