//! The module's exports: the caller requests a buffer, writes a model there, calls a test and reads the report. The
//! memory is shared by address only, so nothing here reads through a pointer; the unsafe parts are the names of the
//! exports, which must be unique in the program, and the random bytes.

use crate::{Line, check_kernels, deep_templates, given_model, seeded_models};
use edgellm::{Compute, Error, available_kernels};
use std::sync::{Mutex, MutexGuard, PoisonError};

static MODEL: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static REPORT: Mutex<String> = Mutex::new(String::new());

pub(crate) fn lock<T>(mutex: &'static Mutex<T>) -> MutexGuard<'static, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a panic's message the report; the panic itself is a trap.
pub(crate) fn catch_panics() {
    std::panic::set_hook(Box::new(|info| *lock(&REPORT) = info.to_string()));
}

/// Takes the model that the caller wrote.
pub(crate) fn take_model() -> Vec<u8> {
    std::mem::take(&mut *lock(&MODEL))
}

/// Runs a test on all kernels of the module and stores its lines; returns the number of failures.
fn run(mut test: impl FnMut(Compute) -> Result<Vec<Line>, Error>) -> u32 {
    catch_panics();
    let mut report = String::new();
    let mut failures = 0;
    for kernels in available_kernels() {
        match test(Compute::new(kernels, 1)) {
            Ok(lines) => report.extend(lines.iter().map(|line| format!("{line}\n"))),
            Err(error) => {
                failures += 1;
                report += &format!("{}: {error}\n", kernels.name());
            }
        }
    }
    *lock(&REPORT) = report;
    failures
}

/// Allocates a buffer for a model file of `len` bytes; returns its address.
// SAFETY: no other function of the module has this name.
#[unsafe(no_mangle)]
pub extern "C" fn parity_model(len: usize) -> usize {
    let mut model = lock(&MODEL);
    *model = vec![0; len];
    model.as_mut_ptr().expose_provenance()
}

/// Exactness tests of the kernels.
// SAFETY: no other function of the module has this name.
#[unsafe(no_mangle)]
pub extern "C" fn parity_check_kernels() -> u32 {
    run(|compute| Ok(vec![check_kernels(compute.kernels())]))
}

/// Logits of seeded models.
// SAFETY: no other function of the module has this name.
#[unsafe(no_mangle)]
pub extern "C" fn parity_seeded_models() -> u32 {
    run(|compute| seeded_models(&compute))
}

/// Chat templates that nest, without a model.
// SAFETY: no other function of the module has this name.
#[unsafe(no_mangle)]
pub extern "C" fn parity_deep_templates() -> u32 {
    catch_panics();
    *lock(&REPORT) = format!("{}\n", deep_templates());
    0
}

/// Logits of the model written to [`parity_model`]'s buffer.
// SAFETY: no other function of the module has this name.
#[unsafe(no_mangle)]
pub extern "C" fn parity_given_model() -> u32 {
    run(|compute| given_model(lock(&MODEL).clone(), &compute))
}

/// Address of the last report.
// SAFETY: no other function of the module has this name.
#[unsafe(no_mangle)]
pub extern "C" fn parity_report() -> usize {
    lock(&REPORT).as_ptr().expose_provenance()
}

/// Length of the last report.
// SAFETY: no other function of the module has this name.
#[unsafe(no_mangle)]
pub extern "C" fn parity_report_len() -> usize {
    lock(&REPORT).len()
}

/// The random bytes of `getrandom`'s custom backend. They seed the tokenizer's hash tables, and results must not depend
/// on them. A module for more than tests needs real randomness.
///
/// # Safety
/// `dest` must be valid for writes of `len` bytes.
// SAFETY: `getrandom` asks for exactly this name and signature.
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(dest: *mut u8, len: usize) -> Result<(), getrandom::Error> {
    // SAFETY: this function's contract makes `dest` valid for writes of `len` bytes.
    unsafe { dest.write_bytes(0x5e, len) };
    Ok(())
}
