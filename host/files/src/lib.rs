//! Files, directories and programs that others may have prepared, opened with care.
//!
//! - [`open`] opens regular files only: a named pipe in their place would hang the program.
//! - [`check`] and [`check_opened`] refuse what another user can change, for what this program trusts: machine code, and the
//!   models in its cache. [`others_can_change`] tells whether that is so.
//! - [`check_public`] refuses what everybody can change.
//! - [`create_folder`] creates directories for one user alone.
//! - [`command`] starts a program, which is never searched for in the working directory.
//!
//! Owners and permissions are those of Unix; elsewhere the checks of them find nothing.
#![forbid(unsafe_code)]

mod error;
mod folder;
mod owner;
mod program;
mod regular;

pub use error::Error;
pub use folder::{create_folder, only_files};
pub use owner::{check, check_opened, check_public, others_can_change};
pub use program::{command, find};
pub use regular::{kind, open, open_with, read, read_to_string};
