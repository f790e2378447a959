//! The fields of `quantization_config`, and which of them may be ignored.

use crate::QuantizeError;
use crate::source::refuse;
use serde_json::{Map, Value};

const FILE: &str = "config.json";
const WITHOUT: &str = "checkpoints without it";

/// Fields that say how scales and zero points were found, or how some program should compute with them: they do not change
/// what the weights are. Whether a layer is quantized can be seen from its tensors.
const IGNORED: [&str; 81] = [
    // Of all methods.
    "quant_method",
    "modules_to_not_convert",
    "meta",
    // GPTQ's, in AutoGPTQ, GPTQModel and transformers. The order of columns is in g_idx.
    "sym",
    "desc_act",
    "act_group_aware",
    "static_groups",
    "true_sequential",
    "damp_percent",
    "damp_auto_increment",
    "model_name_or_path",
    "model_file_base_name",
    "tokenizer",
    "dataset",
    "lm_head",
    "mse",
    "use_exllama",
    "disable_exllama",
    "exllama_config",
    "use_cuda_fp16",
    "max_input_length",
    "model_seqlen",
    "block_name_to_quantize",
    "module_name_preceding_first_block",
    "modules_in_block_to_quantize",
    "batch_size",
    "pad_token_id",
    "cache_block_outputs",
    "cache_examples_on_gpu",
    "mock_quantization",
    "parallel_packing",
    "hyb_act",
    "v2",
    "v2_alpha",
    "gptaq",
    "gptaq_alpha",
    "failsafe",
    "fallback",
    "offload_to_disk",
    "offload_to_disk_path",
    "vram_strategy",
    "device",
    // AWQ's.
    "do_fuse",
    "fuse_max_seq_len",
    "modules_to_fuse",
    // AutoRound's.
    "autoround_version",
    "iters",
    "lr",
    "minmax_lr",
    "lr_scheduler",
    "momentum",
    "sampler",
    "seqlen",
    "nsamples",
    "gradient_accumulate_steps",
    "enable_quanted_input",
    "enable_minmax_tuning",
    "enable_norm_bias_tuning",
    "enable_alg_ext",
    "enable_torch_compile",
    "enable_deterministic_algorithms",
    "not_use_best_mse",
    "amp",
    "low_gpu_mem_usage",
    "low_cpu_mem_usage",
    "scale_dtype",
    "quant_block_list",
    "to_quant_block_names",
    "quant_lm_head",
    "train_bs",
    "static_kv_granularity",
    "static_attention_granularity",
    "supported_types",
    // Of activations that are not quantized: Fields::only checks act_bits.
    "act_data_type",
    "act_dynamic",
    "act_sym",
    "act_group_size",
    // compressed-tensors'.
    "global_compression_ratio",
    "version",
    "observer",
    "observer_kwargs",
];

/// An object of the configuration. Fields that are null are absent.
pub(super) struct Fields<'v> {
    map: &'v Map<String, Value>,
    /// Its place in the file, for messages.
    place: String,
}

impl<'v> Fields<'v> {
    pub(super) fn new(value: &'v Value, place: impl Into<String>) -> Result<Self, QuantizeError> {
        let place = place.into();
        match value {
            Value::Object(map) => Ok(Fields { map, place }),
            _ => Err(QuantizeError::json(FILE, format!("{place} is no object"))),
        }
    }

    /// The value of a field, if it has one.
    pub(super) fn get(&self, name: &str) -> Option<&'v Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    fn of_type<T>(
        &self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&'v Value) -> Option<T>,
    ) -> Result<Option<T>, QuantizeError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let wrong = || {
            let problem = format!("{}.{name} is {value}, and should be {expected}", self.place);
            QuantizeError::json(FILE, problem)
        };
        read(value).map(Some).ok_or_else(wrong)
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'v str>, QuantizeError> {
        self.of_type(name, "a text", Value::as_str)
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, QuantizeError> {
        self.of_type(name, "true or false", Value::as_bool)
    }

    /// A whole number, which may be written as a float.
    pub(super) fn whole(&self, name: &str) -> Result<Option<i64>, QuantizeError> {
        let whole = |value: f64| value.fract() == 0.0 && value.abs() < 1e9;
        self.of_type(name, "a whole number", |value| {
            value.as_i64().or_else(|| value.as_f64().filter(|&value| whole(value)).map(|value| value as i64))
        })
    }

    /// A whole number that must be there.
    pub(super) fn need_whole(&self, name: &str) -> Result<i64, QuantizeError> {
        let missing = || QuantizeError::json(FILE, format!("{} has no {name}", self.place));
        self.whole(name)?.ok_or_else(missing)
    }

    pub(super) fn object(&self, name: &str) -> Result<Option<Fields<'v>>, QuantizeError> {
        self.get(name).map(|value| Fields::new(value, format!("{}.{name}", self.place))).transpose()
    }

    /// Fields that are not null.
    pub(super) fn count(&self) -> usize {
        self.map.values().filter(|value| !value.is_null()).count()
    }

    /// The objects that the fields are, by name.
    pub(super) fn objects(&self) -> impl Iterator<Item = Result<(&'v str, Fields<'v>), QuantizeError>> {
        self.map
            .iter()
            .map(|(name, value)| Ok((name.as_str(), Fields::new(value, format!("{}.{name}", self.place))?)))
    }

    /// Checks that there are no other fields than those of `known`, and those that change nothing. Activations must not
    /// be quantized by the file's rules.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), QuantizeError> {
        if let Some(bits) = self.whole("act_bits")?.filter(|&bits| bits < 16) {
            return refuse("act_bits", bits, "16: activations that are floats");
        }
        for (name, value) in self.map {
            let absent = match value {
                Value::Null => true,
                Value::Array(list) => list.is_empty(),
                Value::Object(map) => map.is_empty(),
                _ => false,
            };
            let known = name == "act_bits" || known.contains(&name.as_str());
            if !absent && !known && !IGNORED.contains(&name.as_str()) {
                return refuse("field", format!("{}.{name}", self.place), WITHOUT);
            }
        }
        Ok(())
    }

    /// Checks that a field, if it is there, is one of these texts.
    pub(super) fn one_of(
        &self,
        name: &'static str,
        allowed: &[&str],
        supported: &'static str,
    ) -> Result<(), QuantizeError> {
        match self.text(name)? {
            Some(found) if !allowed.contains(&found) => refuse(name, found, supported),
            _ => Ok(()),
        }
    }
}

/// The bits of a code.
pub(super) fn bits(found: i64) -> Result<u8, QuantizeError> {
    match found {
        2 | 3 | 4 | 8 => Ok(found as u8),
        _ => refuse("bits", found, "2, 3, 4 and 8"),
    }
}

/// Columns that share a scale, 0 for all of a row.
pub(super) fn group_size(found: i64) -> Result<usize, QuantizeError> {
    match usize::try_from(found) {
        Ok(size) if size > 0 && size.is_multiple_of(32) => Ok(size),
        _ if found == -1 => Ok(0),
        _ => refuse("group_size", found, "multiples of 32, and -1 for one scale per row"),
    }
}
