//! Law 1 and the floating-point half of law 2, for every kernel that this CPU can run. A program without libtest, whose
//! threads can hang under qemu-user.

use edgellm_kernels::{Pool, testing};

fn main() {
    let pool = Pool::new();
    let mut hashes = Vec::new();
    for candidate in edgellm_kernels_native::candidates() {
        let Some(kernels) = candidate.kernels else {
            println!("test {} ... skipped: this CPU lacks {}", candidate.name, candidate.needs);
            continue;
        };
        let hash = testing::check(kernels, &pool);
        println!("test {} ... ok, float hash {hash:016x}", kernels.name());
        hashes.push(hash);
    }
    assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]), "floating-point results differ: {hashes:x?}");
    println!("\ntest result: ok. {} passed; 0 failed", hashes.len());
}
