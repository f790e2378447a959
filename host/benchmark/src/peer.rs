//! The peers: other engines, each behind a small worker of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A peer that comes as a Python package or speaks to Python: its name and its worker's source.
const PYTHON: [(&str, &str); 5] = [
    ("llama.cpp", include_str!("peer/llama_cpp.py")),
    ("ollama", include_str!("peer/ollama.py")),
    ("bitnet.cpp", include_str!("peer/bitnet_cpp.py")),
    ("onnxruntime-genai", include_str!("peer/onnxruntime_genai.py")),
    ("openvino-genai", include_str!("peer/openvino_genai.py")),
];
/// The protocol, which those workers share.
const PROTOCOL: &str = include_str!("peer/protocol.py");

/// Names of the peers that have a worker.
pub fn names() -> impl Iterator<Item = &'static str> {
    PYTHON.iter().map(|(name, _)| *name)
}

/// How to start peers.
#[derive(Clone, Debug)]
pub struct Peers {
    /// The Python that has their packages.
    pub python: OsString,
    /// The GGUF file they read.
    pub gguf: PathBuf,
    /// Tokens of context they need.
    pub context: usize,
}

impl Peers {
    /// The command of a worker of the peer called `name`; `None` if there is no such peer.
    pub fn command(&self, name: &str, threads: usize) -> Option<Command> {
        let (_, source) = PYTHON.iter().find(|(known, _)| *known == name)?;
        let mut command = edgellm_files::command(&self.python);
        // One program without a file: the protocol, then the peer's own code. With -I nothing is imported from the working
        // directory; the protocol adds the user's own packages again.
        command.args(["-I", "-c"]).arg(format!("{PROTOCOL}\n{source}")).arg(&self.gguf);
        command.arg(threads.to_string()).arg(self.context.to_string());
        Some(command)
    }
}

/// The first Python found: the peers' environment in a source tree, the tests' environment, the system's.
pub fn python(root: Option<&Path>) -> OsString {
    let candidates = root.into_iter().flat_map(|root| {
        ["target/peers/bin/python", ".venv/bin/python"].into_iter().map(|path| root.join(path))
    });
    candidates
        .into_iter()
        .find(|path| path.exists())
        .map_or_else(|| "python3".into(), PathBuf::into_os_string)
}
