//! Prints this target's lines: `native [--threads N] [--fastest] [MODEL]`, for all kernels that the CPU can run or only
//! the fastest; `native --templates` those of chat templates alone. With MODEL, the model is hashed in addition to the seeded ones.

use edgellm::{Compute, Error, available_kernels};
use edgellm_wasm_parity::{check_kernels, deep_templates, given_model, seeded_models};

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let mut threads = 1;
    let mut only_templates = false;
    let mut file = None;
    let mut kernels = available_kernels();
    while let Some(argument) = arguments.next() {
        if argument == "--threads" {
            threads = arguments.next().and_then(|n| n.parse().ok()).expect("--threads takes a number");
        } else if argument == "--templates" {
            only_templates = true;
        } else if argument == "--fastest" {
            kernels.truncate(1);
        } else {
            file = Some(std::fs::read(&argument).unwrap_or_else(|error| panic!("{argument}: {error}")));
        }
    }
    println!("{}", deep_templates());
    if only_templates {
        return Ok(());
    }
    for kernels in kernels {
        println!("{}", check_kernels(kernels));
        for threads in 1..=threads {
            let compute = Compute::new(kernels, threads);
            for line in seeded_models(&compute)? {
                println!("{line}");
            }
            if let Some(file) = &file {
                for line in given_model(file.clone(), &compute)? {
                    println!("{line}");
                }
            }
        }
    }
    Ok(())
}
