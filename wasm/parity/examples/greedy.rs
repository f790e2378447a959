//! Prints the reference result for the browser's tests as JSON: `greedy MODEL COUNT`.

use edgellm::Compute;
use edgellm_wasm_parity::greedy;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, count] = &arguments[..] else {
        return Err("usage: greedy MODEL COUNT".into());
    };
    let found = greedy(std::fs::read(path)?, &Compute::default(), count.parse()?)?;
    println!("{}", serde_json::to_string(&found)?);
    Ok(())
}
