//! The source tree that this program was built in.

use std::path::{Path, PathBuf};

/// The tree, if this program is still in there. Programs and pages from it are run, as its build scripts were.
pub(super) fn source_tree() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let program = std::env::current_exe().ok()?;
    program.starts_with(root).then(|| root.to_path_buf())
}

/// The commit of the tree, marked if files differ from it.
pub(super) fn commit(root: &Path) -> Option<String> {
    // The settings of a tree can name programs to run.
    let settings = ["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"];
    let arguments = ["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"];
    let mut git = edgellm_files::command("git");
    let output = git.args(settings).arg("-C").arg(root).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_settings_of_a_tree_start_no_program() {
        let folder = tempfile::tempdir().unwrap();
        let git = |arguments: &[&str]| {
            let mut git = edgellm_files::command("git");
            let author = ["-c", "user.name=a", "-c", "user.email=a@b"];
            git.arg("-C").arg(folder.path()).args(author).args(arguments).output()
        };
        if git(&["init", "-q"]).is_err() {
            println!("skipped: there is no git");
            return;
        }
        fs::write(folder.path().join("file"), "text").unwrap();
        git(&["add", "file"]).unwrap();
        git(&["commit", "-q", "-m", "first"]).unwrap();
        let (program, mark) = (folder.path().join("program"), folder.path().join("mark"));
        fs::write(&program, format!("#!/bin/sh\n: > {}\n", mark.display())).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        git(&["config", "core.fsmonitor", program.to_str().unwrap()]).unwrap();
        fs::write(folder.path().join("file"), "other").unwrap();
        git(&["status"]).unwrap();
        assert!(mark.exists(), "git by itself runs what the settings name");
        fs::remove_file(&mark).unwrap();
        let commit = commit(folder.path()).unwrap();
        assert!(commit.ends_with("-dirty"), "{commit}");
        assert!(!mark.exists());
    }
}
