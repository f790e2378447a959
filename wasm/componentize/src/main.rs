//! `componentize MODULE COMPONENT`: turns a core module with an embedded component type into a validated component.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use wit_component::ComponentEncoder;

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [module, component] = paths.as_slice() else {
        return Err("usage: componentize MODULE COMPONENT".into());
    };
    let module = fs::read(module).map_err(|error| format!("cannot read {}: {error}", module.display()))?;
    let mut encoder = ComponentEncoder::default().validate(true).module(&module)?;
    let bytes = encoder.encode()?;
    let draft = component.with_extension("draft");
    fs::write(&draft, bytes)
        .and_then(|()| fs::rename(&draft, component))
        .map_err(|error| format!("cannot write {}: {error}", component.display()))?;
    Ok(())
}
