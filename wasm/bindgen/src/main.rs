//! `edgellm-wasm-bindgen MODULE.wasm FOLDER`: the JavaScript glue and the finished module, `edgellm.js` and
//! `edgellm_bg.wasm`, from a module that cargo built.
//!
//! The published command is built with another lock file than ours; a library in the workspace has the version of
//! the `wasm-bindgen` crate, or does not build.
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
    // Names of functions are a third of the module; without them a trap's stack shows numbers.
    bindgen.remove_name_section(true).remove_producers_section(true);
    match bindgen.web(true).and_then(|bindgen| bindgen.generate(folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{module}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
