//! EdgeLLM for web pages. `wasm/package` has the JavaScript around it; its `index.d.ts` is what users see.
//!
//! This module runs in a Web Worker and may block it. Between calls the worker looks at its messages: so prompts are
//! processed in pieces and answers token by token, and everything here returns soon.
//!
//! What goes in and out are bytes, numbers and JSON; what goes wrong is a [`Failure`], an `Error` with a `code`. Files are
//! the exception: the module fetches or reads them itself, through the browser's interfaces ([`Incoming::receive`]).
#![deny(unsafe_code)]

mod failure;
mod generation;
mod incoming;
mod info;
mod memory;
mod model;
mod options;
mod progress;
mod quantizer;
mod random;
mod session;
mod source;
mod threads;

pub use failure::Failure;
pub use generation::Step;
pub use incoming::Incoming;
pub use model::{Model, linear_bytes};
pub use quantizer::{Quantized, quantize};
pub use session::Session;
pub use threads::{threads, work};

use std::cell::RefCell;
use wasm_bindgen::prelude::wasm_bindgen;

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps the messages of panics for [`panic_message`]. A panic ends the module; what remains to be done is to say why.
#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|panic| PANIC.with_borrow_mut(|message| *message = panic.to_string())));
}

/// What the last panic said. Empty where the module trapped without one: memory, or the stack, was exhausted.
#[wasm_bindgen(js_name = panicMessage)]
pub fn panic_message() -> String {
    PANIC.with_borrow(String::clone)
}
