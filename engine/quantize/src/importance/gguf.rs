//! The GGUF format: for each matrix a tensor `.in_sum2` with the sums of the squares, a row for each expert or one, and a
//! tensor `.counts` with how many inputs each row sums.

use super::{ImportanceError, insert};
use crate::gguf::{GgmlType, Gguf, GgufTensor};
use std::collections::BTreeMap;

const SUMS: &str = ".in_sum2";
const COUNTS: &str = ".counts";

pub(super) fn read(bytes: &[u8]) -> Result<BTreeMap<String, Vec<f32>>, ImportanceError> {
    let file = Gguf::parse(bytes)?;
    let mut all = BTreeMap::new();
    for tensor in file.tensors() {
        if let Some(name) = tensor.name.strip_suffix(SUMS) {
            let counts = file.tensor(&format!("{name}{COUNTS}"));
            let counts = counts.ok_or_else(|| pair(name, "without its counts"))?;
            insert(&mut all, name, means(name, tensor, counts)?)?;
        } else if let Some(name) = tensor.name.strip_suffix(COUNTS)
            && file.tensor(&format!("{name}{SUMS}")).is_none()
        {
            return Err(pair(name, "without its sums"));
        }
    }
    if all.is_empty() {
        return Err(ImportanceError::Mistaken { found: "a GGUF file without tensors named .in_sum2" });
    }
    Ok(all)
}

fn pair(name: &str, problem: impl Into<String>) -> ImportanceError {
    ImportanceError::Pair { name: name.to_string(), problem: problem.into() }
}

fn means(name: &str, sums: &GgufTensor<'_>, counts: &GgufTensor<'_>) -> Result<Vec<f32>, ImportanceError> {
    let [experts, columns] = sums.shape;
    for tensor in [sums, counts] {
        if tensor.ggml_type != GgmlType::F32 {
            return Err(pair(name, format!("in type {} instead of F32", tensor.ggml_type)));
        }
    }
    let (sums, counts) = (floats(sums), floats(counts));
    if counts.len() != experts {
        return Err(pair(name, format!("for {experts} matrices with {} counts", counts.len())));
    }
    let mut means = Vec::with_capacity(sums.len());
    for (sums, count) in sums.chunks(columns.max(1)).zip(counts) {
        // An expert that the text never reached has no inputs; a matrix that everything passes has some.
        let never = count == 0.0 && experts > 1;
        if !(count.is_finite() && count > 0.0 || never) {
            return Err(ImportanceError::Count { name: name.to_string(), count });
        }
        let count = if never { 1.0 } else { f64::from(count) };
        means.extend(sums.iter().map(|&sum| (f64::from(sum) / count) as f32));
    }
    Ok(means)
}

fn floats(tensor: &GgufTensor<'_>) -> Vec<f32> {
    tensor.data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}
