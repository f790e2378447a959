//! The models in the preopened directories.

use crate::request::Refusal;
use edgellm::Model;
use edgellm_component::{find_models, model_name, open_file};
use std::cell::RefCell;

thread_local! {
    /// The last requested model, by path: hosts that reuse an instance for several requests open it once.
    static OPEN: RefCell<Option<(String, Model)>> = const { RefCell::new(None) };
}

/// The model names for requests.
pub(crate) fn names() -> Vec<String> {
    find_models().iter().map(|path| model_name(path).to_string()).collect()
}

/// The requested model, or the only one if none is named, with its name.
pub(crate) fn open(name: Option<&str>) -> Result<(String, Model), Refusal> {
    let paths = find_models();
    let found = match (name, paths.as_slice()) {
        (_, []) => {
            return Err(Refusal::new(
                503,
                "no directory with a .tmac2.bin file is preopened: add --dir DIRECTORY",
            ));
        }
        (Some(name), _) => paths.iter().find(|path| model_name(path) == name),
        (None, [path]) => Some(path),
        (None, _) => None,
    };
    let Some(path) = found else {
        let message = format!("name one of the models: {}", names().join(", "));
        return Err(Refusal::new(404, message));
    };
    OPEN.with_borrow_mut(|open| {
        if let Some((_, model)) = open.as_ref().filter(|(opened, _)| opened == path) {
            return Ok((model_name(path).to_string(), model.clone()));
        }
        // Drop the other one first: there may be no room for both.
        *open = None;
        let bytes = open_file(path)?;
        let model = Model::from_bytes(bytes).map_err(|error| Refusal::new(500, error))?;
        *open = Some((path.clone(), model.clone()));
        Ok((model_name(path).to_string(), model))
    })
}
