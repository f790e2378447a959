//! The bytes of a model file: memory-mapped or copied.

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
    /// If the system cannot map the file.
    pub fn new(file: &File) -> io::Result<Self> {
        // SAFETY: the mapping is private and read-only, and every byte value is a valid u8. No program can rule out that
        // another one truncates the file in the meantime. EdgeLLM never does: it writes a temporary file and renames it, and
        // the mapping keeps the old file. `ModelBytes` maps no file that other users can change.
        Ok(MappedFile(unsafe { Mmap::map(file) }?))
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Where to place the bytes of a model file. One that another user can change is copied in any case: what is mapped changes
/// with the file, and ends the program if the file is cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// Mapped if the page cache has the file in huge pages; otherwise copied into huge pages if the system provides them and
    /// memory is ample; otherwise mapped.
    #[default]
    Auto,
    /// Mapped: no copy, pages of the page cache, which processes share and the system can reclaim.
    Mapped,
    /// Copied into the process's own memory.
    Copied,
}

/// The bytes of a model file, and the reason for their placement.
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

/// The reason for a placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Asked,
    HugeInPageCache,
    SmallInPageCache,
    NoHugePages,
    MemoryScarce { available: Option<u64> },
    OthersCanChangeIt,
}

impl ModelBytes {
    /// Loads `file` with the given placement.
    ///
    /// # Errors
    /// If the file cannot be read or mapped, or there is no memory for a requested copy.
    pub fn load(file: &File, placement: Placement) -> io::Result<Self> {
        if placement == Placement::Copied {
            return Ok(ModelBytes { memory: Memory::Copied(Copied::read(file)?), reason: Reason::Asked });
        }
        if edgellm_files::others_can_change(&file.metadata()?) {
            let memory = Memory::Copied(Copied::read(file)?);
            return Ok(ModelBytes { memory, reason: Reason::OthersCanChangeIt });
        }
        // docs/experiments/huge-pages.md
        let map = MappedFile::new(file)?;
        request_huge_pages(&map.0);
        let reason = if placement == Placement::Mapped {
            Reason::Asked
        } else if !pages::available() {
            Reason::NoHugePages
        } else if is_in_huge_pages(map.as_ref()) {
            Reason::HugeInPageCache
        } else {
            let available = available_memory();
            // What is left then is enough for the KV cache of all but the longest conversations.
            if available.is_some_and(|available| map.0.len() as u64 <= available / 4) {
                // Unmap first: the resident pages of the map would count towards this process beside the copy.
                drop(map);
                let (memory, reason) = match Copied::read(file) {
                    Ok(copy) => (Memory::Copied(copy), Reason::SmallInPageCache),
                    // Not enough memory after all: map it.
                    Err(_) => (Memory::Mapped(MappedFile::new(file)?), Reason::MemoryScarce { available }),
                };
                return Ok(ModelBytes { memory, reason });
            }
            Reason::MemoryScarce { available }
        };
        Ok(ModelBytes { memory: Memory::Mapped(map), reason })
    }

    /// Whether the bytes were copied into the process's own memory.
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

/// One line such as `mapped, 96 of 98 MB in huge pages (the page cache has the file in them)`.
impl fmt::Display for ModelBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.as_ref();
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        let place = if self.is_copy() { "copied" } else { "mapped" };
        let (huge, all) = (megabytes(huge_bytes(bytes)), megabytes(bytes.len() as u64));
        write!(f, "{place}, {huge:.0} of {all:.0} MB in huge pages (")?;
        match self.reason {
            Reason::Asked => write!(f, "as requested")?,
            Reason::HugeInPageCache => write!(f, "the page cache has the file in them")?,
            Reason::SmallInPageCache => {
                write!(f, "the page cache has the file in small pages, and memory is ample")?;
            }
            Reason::NoHugePages => write!(f, "the system provides none on request")?,
            Reason::MemoryScarce { available: Some(available) } => {
                let available = megabytes(available);
                write!(f, "a copy would take more than a quarter of {available:.0} MB available")?;
            }
            Reason::OthersCanChangeIt => write!(f, "another user can change the file")?,
            Reason::MemoryScarce { available: None } => write!(f, "the available memory is unknown")?,
        }
        write!(f, ")")
    }
}

/// Hints that pages of the file that are not yet in the page cache be read as huge pages, if the file system supports it
/// (ext4 and XFS since Linux 6.16); later maps of the file benefit too.
fn request_huge_pages(map: &Mmap) {
    #[cfg(target_os = "linux")]
    // Fails on kernels without huge pages, which changes nothing.
    drop(map.advise(memmap2::Advice::HugePage));
    #[cfg(not(target_os = "linux"))]
    let _ = map;
}

/// Whether nearly all of a mapped file is in huge pages. Touches a byte in each, which reads a file that is not cached; it
/// will be verified anyway.
fn is_in_huge_pages(map: &[u8]) -> bool {
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
        // Including the last page, which wastes less than 2 MiB.
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

/// Memory available without swapping: the system's, or what the limit of the process's cgroup (usually a container's)
/// leaves.
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
        assert!(pages::available() || huge == 0);
        assert!(model.to_string().starts_with("copied, "));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_change_is_copied() {
        use std::os::unix::fs::PermissionsExt as _;
        let (file, bytes) = file(3 * 4096);
        file.set_permissions(fs::Permissions::from_mode(0o602)).unwrap();
        for placement in [Placement::Auto, Placement::Mapped] {
            let model = ModelBytes::load(&file, placement).unwrap();
            assert!(model.is_copy() && model.to_string().contains("another user"), "{model}");
            file.set_len(1).unwrap();
            assert!(model.as_ref() == bytes, "{placement:?}: the copy does not change with the file");
            std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
        }
    }

    #[test]
    fn an_empty_file_is_an_error_or_empty() {
        let (file, _) = file(0);
        for placement in [Placement::Auto, Placement::Mapped, Placement::Copied] {
            assert!(ModelBytes::load(&file, placement).is_ok_and(|model| model.as_ref().is_empty()));
        }
    }
}
