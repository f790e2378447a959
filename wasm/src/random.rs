//! Randomness for hash tables, from the browser. No result depends on it.

use js_sys::Uint8Array;
use wasm_bindgen::prelude::wasm_bindgen;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = crypto, js_name = getRandomValues)]
    fn get_random_values(array: &Uint8Array) -> Uint8Array;
}

/// The source of `getrandom`'s custom backend.
///
/// # Safety
/// `dest` must be valid for writes of `len` bytes.
// SAFETY: `getrandom` asks for exactly this name and signature.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(dest: *mut u8, len: usize) -> Result<(), getrandom::Error> {
    // Of its own, because browsers refuse to write into shared memory.
    let array = Uint8Array::new_with_length(u32::try_from(len).map_err(|_| getrandom::Error::UNEXPECTED)?);
    get_random_values(&array);
    // SAFETY: as the caller's; zeros make the memory a slice of bytes.
    let bytes = unsafe {
        dest.write_bytes(0, len);
        std::slice::from_raw_parts_mut(dest, len)
    };
    array.copy_to(bytes);
    Ok(())
}
