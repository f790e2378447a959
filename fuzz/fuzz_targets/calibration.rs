//! Reads arbitrary bytes as an importance matrix and as calibration text.
#![no_main]

use edgellm_quantize::{CalibrationText, Importance};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(importance) = Importance::parse(data) {
        for name in importance.names() {
            let means = importance.means(name).unwrap_or_default();
            assert!(means.iter().all(|mean| mean.is_finite() && *mean >= 0.0));
        }
    }
    let _ = CalibrationText::parse("fuzz", data);
});
