//! The machine: cores, memory, the name of the processor. What cannot be determined is `None`.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::thread::available_parallelism;

/// Physical cores that this process may use: the default number of threads.
pub(crate) fn physical_cores() -> usize {
    let allowed = available_parallelism().map_or(1, usize::from);
    distinct_cores().map_or(allowed, |cores| cores.clamp(1, allowed))
}

/// Hardware threads this process may use.
pub(crate) fn logical_cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// On Linux, the number of different (package, core) pairs.
fn distinct_cores() -> Option<usize> {
    let mut cores = HashSet::new();
    for entry in fs::read_dir("/sys/devices/system/cpu").ok()?.flatten() {
        let topology = entry.path().join("topology");
        let read = |name| fs::read_to_string(topology.join(name)).ok();
        if let (Some(package), Some(core)) = (read("physical_package_id"), read("core_id")) {
            cores.insert((package, core));
        }
    }
    (!cores.is_empty()).then_some(cores.len())
}

/// Peak resident memory of this process, in bytes.
pub(crate) fn peak_rss_bytes() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// Total and available memory, in bytes.
pub(crate) fn memory_bytes() -> (Option<u64>, Option<u64>) {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    (kibibytes(&text, "MemTotal:"), kibibytes(&text, "MemAvailable:"))
}

/// Bytes that this process may still write in the file system of a directory.
#[cfg(unix)]
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder).ok()?;
    found.f_bavail.checked_mul(found.f_frsize)
}

/// Other systems are not asked.
#[cfg(not(unix))]
pub(crate) fn free_bytes(_: &Path) -> Option<u64> {
    None
}

/// Files and connections that this process may have open, after raising the limit to `wanted` as far as it may. `None` if
/// there is no limit.
#[cfg(unix)]
pub(crate) fn allow_open_files(wanted: usize) -> Option<usize> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let (limit, wanted) = (getrlimit(Resource::Nofile), wanted as u64);
    if limit.current.is_some_and(|current| current < wanted) {
        let current = limit.maximum.map_or(wanted, |most| most.min(wanted));
        // Some systems allow less than they say; the limit is what it is then.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..limit });
    }
    getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok())
}

/// Other systems have no such limit.
#[cfg(not(unix))]
pub(crate) fn allow_open_files(_: usize) -> Option<usize> {
    None
}

/// The number after `key` in a text of lines like `VmHWM:    1234 kB`, in bytes.
fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The name of the processor; on x86 with family and model, as virtual machines may give different CPUs the same name.
pub(crate) fn cpu_name() -> Option<String> {
    let from_proc = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| cpu_of(&text));
    from_proc.or_else(|| std::env::var("PROCESSOR_IDENTIFIER").ok())
}

/// The name in the text of `/proc/cpuinfo`, whose lines are like `model name : Intel(R) ...`.
fn cpu_of(cpuinfo: &str) -> Option<String> {
    let field = |key: &str| {
        let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        fields.find_map(|(name, value)| (name.trim() == key).then(|| value.trim()))
    };
    let name = ["model name", "Model", "Hardware"].into_iter().find_map(field)?;
    match (field("cpu family"), field("model")) {
        (Some(family), Some(model)) => Some(format!("{name} (family {family}, model {model})")),
        _ => Some(name.to_string()),
    }
}

/// CPU features that kernels use, and whether this CPU has them.
pub(crate) fn cpu_features() -> Vec<(&'static str, bool)> {
    #[cfg(target_arch = "x86_64")]
    return vec![
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("f16c", std::arch::is_x86_feature_detected!("f16c")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
        ("avx512bw", std::arch::is_x86_feature_detected!("avx512bw")),
        ("avx512vl", std::arch::is_x86_feature_detected!("avx512vl")),
        ("avx512vnni", std::arch::is_x86_feature_detected!("avx512vnni")),
        ("avx512vbmi", std::arch::is_x86_feature_detected!("avx512vbmi")),
        ("avxvnni", std::arch::is_x86_feature_detected!("avxvnni")),
    ];
    #[cfg(target_arch = "aarch64")]
    return vec![
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("dotprod", std::arch::is_aarch64_feature_detected!("dotprod")),
        ("i8mm", std::arch::is_aarch64_feature_detected!("i8mm")),
    ];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kibibytes_are_read() {
        let text = "VmPeak:\t  99 kB\nVmHWM:\t  1234 kB\n";
        assert_eq!(kibibytes(text, "VmHWM:"), Some(1234 * 1024));
        assert_eq!(kibibytes(text, "VmRSS:"), None);
        assert_eq!(kibibytes("VmHWM: lots", "VmHWM:"), None);
    }

    #[test]
    fn cpus_with_the_same_name_are_distinguished() {
        let text = "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n";
        assert_eq!(cpu_of(text).as_deref(), Some("AMD EPYC (family 25, model 17)"));
        let board = "processor\t: 0\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n";
        assert_eq!(cpu_of(board).as_deref(), Some("Raspberry Pi 5 Model B Rev 1.0"));
        assert_eq!(cpu_of(""), None);
    }

    #[test]
    fn there_is_at_least_one_core() {
        assert!((1..=logical_cores()).contains(&physical_cores()));
    }
}
