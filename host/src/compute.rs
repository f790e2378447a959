//! The kernels and threads that the command line asks for.

use crate::args::RunArgs;
use crate::error::{Error, Result};
use crate::system;
use edgellm::{Compute, available_kernels};

/// Kernels and threads as `run` says; by default the fastest kernels, on all cores.
///
/// # Errors
/// If this machine cannot run those kernels.
pub(crate) fn compute(run: &RunArgs) -> Result<Compute> {
    let available = available_kernels();
    let chosen = match &run.kernel {
        None => available.first(),
        Some(name) => available.iter().find(|kernels| kernels.name() == name),
    };
    let Some(&kernels) = chosen else {
        let names: Vec<_> = available.iter().map(|kernels| kernels.name()).collect();
        return Err(Error::Usage(format!(
            "this machine cannot run the kernels {:?}; it can run {}",
            run.kernel.as_deref().unwrap_or_default(),
            names.join(", ")
        )));
    };
    let threads = run.threads.map_or_else(system::physical_cores, usize::from);
    Ok(Compute::new(kernels, threads))
}
