//! A Rust program that runs a language model in a sandbox.
//!
//! ```text
//! scripts/build-plugin relaxed
//! cargo run --release -p edgellm-plugin-host --example host -- \
//!     target/plugin/edgellm-engine-relaxed.wasm models/smollm2-135m-instruct-int4.tmac2.bin "Why is the sky blue?"
//! ```

use edgellm_plugin_host::{GenerateOptions, Limits, Message, Plugin, Prompt, SessionOptions, Source};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [component, model, question] = arguments.as_slice() else {
        return Err("usage: host COMPONENT MODEL QUESTION".into());
    };
    // Compiled once; the machine code is cached in a directory of this user.
    let code = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/edgellm-example"));
    let plugin = Plugin::load(component, code.as_deref())?;

    // The guest may read the model's directory, allocate 512 MB and run for ten seconds per call.
    let model = Path::new(model);
    let limits = Limits {
        memory: 512 << 20,
        call_time: Duration::from_secs(10),
        folder: model.parent().map(Path::to_path_buf),
        ..Limits::default()
    };
    let file = model.file_name().and_then(|name| name.to_str()).ok_or("MODEL has no file name")?;
    let model = plugin.open(Source::File(file), &limits)?;
    println!("{} on {}", model.info().name, model.info().kernels);

    let mut session = model.session(SessionOptions::default())?;
    let prompt = Prompt::Chat(vec![Message { role: "user".into(), content: question.clone() }]);
    let options = GenerateOptions { max_tokens: Some(100), ..GenerateOptions::default() };
    for token in session.generate(&prompt, &options)? {
        print!("{}", token?.text);
        std::io::stdout().flush()?;
    }
    println!();
    Ok(())
}
