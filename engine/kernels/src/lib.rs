//! Kernels of EdgeLLM: the packed weight layout and the multiplication of packed weights with quantized
//! activations, written once over a small trait of vector operations.

pub mod layout;
