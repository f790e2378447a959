//! `edgellm completions`.

use crate::error::Result;
use crate::output;
use clap_complete::Shell;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgellm completions bash > ~/.local/share/bash-completion/completions/edgellm
  edgellm completions zsh > ~/.zfunc/_edgellm
  edgellm completions fish > ~/.config/fish/completions/edgellm.fish")]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

impl Args {
    /// Prints the script for `program`.
    pub(crate) fn run(self, mut program: clap::Command) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, "edgellm", &mut script);
        output::write(&String::from_utf8_lossy(&script))
    }
}
