//! `edgellm-wasm-bindgen MODULE.wasm FOLDER`: writes the JavaScript glue and the final module, `edgellm.js` and
//! `edgellm_bg.wasm`, for a module that cargo built.
//!
//! The published command has a lock file of its own; as a dependency of the workspace, the library is guaranteed to have
//! the version of the `wasm-bindgen` crate.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [module, folder] = &arguments[..] else {
        eprintln!("usage: edgellm-wasm-bindgen MODULE.wasm FOLDER");
        return ExitCode::from(2);
    };
    let mut bindgen = wasm_bindgen_cli_support::Bindgen::new();
    bindgen.input_path(module).out_name("edgellm").typescript(false);
    // Function names are a third of the module. Without them, stack traces show function indexes.
    bindgen.remove_name_section(true).remove_producers_section(true);
    match bindgen.web(true).and_then(|bindgen| bindgen.generate(folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{module}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
