use super::{GgmlType, Gguf, GgufError, Value};

/// Writes GGUF files for tests.
#[derive(Clone, Default)]
pub(crate) struct Builder {
    skipped: &'static [&'static str],
    keys: Vec<u8>,
    key_count: u64,
    directory: Vec<u8>,
    tensor_count: u64,
    data: Vec<u8>,
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

impl Builder {
    fn key(mut self, key: &str, number: u32, value: &[u8]) -> Self {
        if self.skipped.contains(&key) {
            return self;
        }
        self.keys.extend(string(key));
        self.keys.extend(number.to_le_bytes());
        self.keys.extend(value);
        self.key_count += 1;
        self
    }

    /// From now on these keys are not written.
    pub(crate) fn skipping(mut self, keys: &'static [&'static str]) -> Self {
        self.skipped = keys;
        self
    }

    pub(crate) fn i32(self, key: &str, value: i32) -> Self {
        self.key(key, 5, &value.to_le_bytes())
    }

    pub(crate) fn u16(self, key: &str, value: u16) -> Self {
        self.key(key, 2, &value.to_le_bytes())
    }

    pub(crate) fn u32(self, key: &str, value: u32) -> Self {
        self.key(key, 4, &value.to_le_bytes())
    }

    pub(crate) fn f32(self, key: &str, value: f32) -> Self {
        self.key(key, 6, &value.to_le_bytes())
    }

    pub(crate) fn bool(self, key: &str, value: bool) -> Self {
        self.key(key, 7, &[u8::from(value)])
    }

    pub(crate) fn string(self, key: &str, value: &str) -> Self {
        self.key(key, 8, &string(value))
    }

    pub(crate) fn strings(self, key: &str, values: &[String]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| string(value)).collect();
        let count = values.len() as u64;
        self.key(key, 9, &[&8_u32.to_le_bytes()[..], &count.to_le_bytes(), &bytes].concat())
    }

    pub(crate) fn i32s(self, key: &str, values: &[i32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let count = values.len() as u64;
        self.key(key, 9, &[&5_u32.to_le_bytes()[..], &count.to_le_bytes(), &bytes].concat())
    }

    pub(crate) fn f32s(self, key: &str, values: &[f32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let count = values.len() as u64;
        self.key(key, 9, &[&6_u32.to_le_bytes()[..], &count.to_le_bytes(), &bytes].concat())
    }

    /// `dims`: the contiguous dimension first.
    pub(crate) fn tensor(self, name: &str, dims: &[u64], ggml_type: GgmlType, bytes: &[u8]) -> Self {
        let offset = self.data.len() as u64;
        self.entry(name, dims, ggml_type.number(), offset, bytes)
    }

    pub(crate) fn entry(mut self, name: &str, dims: &[u64], number: u32, offset: u64, bytes: &[u8]) -> Self {
        self.directory.extend(string(name));
        self.directory.extend((dims.len() as u32).to_le_bytes());
        self.directory.extend(dims.iter().flat_map(|dim| dim.to_le_bytes()));
        self.directory.extend(number.to_le_bytes());
        self.directory.extend(offset.to_le_bytes());
        self.tensor_count += 1;
        self.data.extend(bytes);
        self.data.resize(self.data.len().next_multiple_of(32), 0);
        self
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(3_u32.to_le_bytes());
        file.extend(self.tensor_count.to_le_bytes());
        file.extend(self.key_count.to_le_bytes());
        file.extend(&self.keys);
        file.extend(&self.directory);
        file.resize(file.len().next_multiple_of(32), 0);
        file.extend(&self.data);
        file
    }
}

/// A file with a value of every kind and two tensors, 1 kB.
fn sample() -> Vec<u8> {
    Builder::default()
        .u32("general.alignment", 32)
        .key("u8", 0, &[200])
        .key("i8", 1, &[0xff])
        .key("u16", 2, &[1, 2])
        .key("i16", 3, &[0xfe, 0xff])
        .key("i32", 5, &(-7_i32).to_le_bytes())
        .f32("f32", 1e-5)
        .bool("bool", true)
        .string("string", "grüße")
        .strings("strings", &["a".to_string(), String::new(), "Ġb".to_string()])
        .i32s("i32s", &[1, -2, 3])
        .key("u64", 10, &u64::MAX.to_le_bytes())
        .key("i64", 11, &i64::MIN.to_le_bytes())
        .key("f64", 12, &0.25_f64.to_le_bytes())
        .tensor("vector", &[3], GgmlType::F32, &[0; 12])
        .tensor("matrix", &[64, 2], GgmlType::Q4_0, &[1; 72])
        .build()
}

#[test]
fn reads_values_of_every_type_and_tensors() {
    let file = sample();
    let gguf = Gguf::parse(&file).unwrap();
    assert_eq!(gguf.get("u8"), Some(&Value::Unsigned(200)));
    assert_eq!(gguf.get("i8"), Some(&Value::Signed(-1)));
    assert_eq!(gguf.get("u16"), Some(&Value::Unsigned(0x201)));
    assert_eq!(gguf.get("i16"), Some(&Value::Signed(-2)));
    assert_eq!(gguf.get("i32"), Some(&Value::Signed(-7)));
    assert_eq!(gguf.f64("f32"), Ok(1e-5));
    assert_eq!(gguf.get("bool").and_then(Value::as_bool), Some(true));
    assert_eq!(gguf.string("string"), Ok("grüße"));
    let strings: Vec<_> = gguf.array("strings").unwrap().iter().filter_map(|v| v.as_str()).collect();
    assert_eq!(strings, ["a", "", "Ġb"]);
    let numbers: Vec<_> = gguf.array("i32s").unwrap().iter().collect();
    assert_eq!(numbers, [Value::Signed(1), Value::Signed(-2), Value::Signed(3)]);
    assert_eq!(gguf.u64("u64"), Ok(u64::MAX));
    assert_eq!(gguf.get("i64"), Some(&Value::Signed(i64::MIN)));
    assert_eq!(gguf.f64("f64"), Ok(0.25));
    let matrix = gguf.tensor("matrix").unwrap();
    assert_eq!((matrix.shape, matrix.ggml_type), ([2, 64], GgmlType::Q4_0));
    assert_eq!(matrix.data, [1; 72]);
    assert_eq!(gguf.tensor("vector").unwrap().shape, [1, 3]);
    assert!(matches!(gguf.u64("i32"), Err(GgufError::WrongValue { .. })));
    assert!(matches!(gguf.u64("none"), Err(GgufError::MissingKey { .. })));
}

#[test]
fn truncated_anywhere_is_an_error() {
    let file = sample();
    // The last tensor ends before the padding does.
    let end = file.len() - (96 - 72);
    for length in 0..end {
        assert!(Gguf::parse(&file[..length]).is_err(), "{length} of {} bytes", file.len());
    }
    assert!(Gguf::parse(&file[..end]).is_ok());
}

#[test]
fn flipped_bits_never_panic() {
    let mut file = sample();
    for bit in 0..file.len() * 8 {
        file[bit / 8] ^= 1 << (bit % 8);
        if let Ok(gguf) = Gguf::parse(&file) {
            for value in gguf.metadata.values() {
                let _ = value.as_array().map(|array| array.iter().count());
            }
        }
        file[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn lies_are_refused_without_cost() {
    let header = |tensors: u64, keys: u64| {
        let mut file = sample();
        file[8..16].copy_from_slice(&tensors.to_le_bytes());
        file[16..24].copy_from_slice(&keys.to_le_bytes());
        Gguf::parse(&file).map(drop)
    };
    assert!(header(u64::MAX, 14).is_err());
    assert!(header(2, u64::MAX).is_err());
    let array = |element: u32, count: u64| {
        let value = [&element.to_le_bytes()[..], &count.to_le_bytes()].concat();
        Gguf::parse(&Builder::default().key("array", 9, &value).build()).map(drop)
    };
    assert!(matches!(array(8, u64::MAX), Err(GgufError::Truncated { .. })));
    assert!(matches!(array(10, u64::MAX / 8), Err(GgufError::Truncated { .. })));
    assert!(matches!(array(9, 1), Err(GgufError::ValueType { .. })));
    assert!(matches!(array(99, 1), Err(GgufError::ValueType { found: 99, .. })));

    let tensor = |dims: &[u64], number: u32, offset: u64| {
        let file = Builder::default()
            .tensor("first", &[8], GgmlType::F32, &[0; 32])
            .entry("second", dims, number, offset, &[0; 64])
            .build();
        Gguf::parse(&file).map(drop).unwrap_err()
    };
    let wrapping = [1 << 63, 4, 4];
    assert!(matches!(tensor(&wrapping, 0, 32), GgufError::Shape { .. }));
    assert!(matches!(tensor(&[0, 4], 0, 32), GgufError::Shape { .. }));
    assert!(matches!(tensor(&[33], 2, 32), GgufError::Shape { .. }));
    assert!(matches!(tensor(&[16], 0, u64::MAX - 31), GgufError::TensorData { .. }));
    assert!(matches!(tensor(&[64], 0, 32), GgufError::TensorData { .. }), "outside");
    assert!(matches!(tensor(&[16], 0, 33), GgufError::TensorData { .. }), "unaligned");
    assert!(tensor(&[16], 0, 0).to_string().contains("overlap"));
    assert!(tensor(&[256], 16, 32).to_string().contains("IQ2_XXS"));
    assert!(matches!(tensor(&[], 0, 32), GgufError::WrongValue { .. }));
    let twice = Builder::default().u32("a", 1).u32("a", 2).build();
    assert!(matches!(Gguf::parse(&twice), Err(GgufError::Duplicate { .. })));
    let alignment = Builder::default().u32("general.alignment", 0).build();
    assert!(matches!(Gguf::parse(&alignment), Err(GgufError::WrongValue { .. })));
}

#[test]
fn other_versions_and_files_are_named() {
    let mut file = sample();
    file[4..8].copy_from_slice(&[0, 0, 0, 3]);
    let error = Gguf::parse(&file).unwrap_err();
    assert!(matches!(error, GgufError::Version { found: 0x0300_0000 }), "{error}");
    assert!(matches!(Gguf::parse(b"PK\x03\x04"), Err(GgufError::Magic { .. })));
    assert!(matches!(Gguf::parse(b"GG"), Err(GgufError::Magic { .. })));
}

#[test]
fn numbers_are_read_however_they_are_written() {
    let layers = |values: &[i32]| Builder::default().i32s("layers", values).build();
    let (same, different, none) = (layers(&[3, 3, 3]), layers(&[3, 4]), layers(&[]));
    assert_eq!(Gguf::parse(&same).unwrap().u64("layers"), Ok(3));
    for file in [&different, &none] {
        let error = Gguf::parse(file).unwrap().u64("layers").unwrap_err();
        assert!(error.to_string().contains("layers is an array"), "{error}");
    }
    let file = Builder::default()
        .f32("whole", 4096.0)
        .f32("half", 0.5)
        .f32("negative", -1.0)
        .u32("one", 1)
        .u32("two", 2)
        .bool("true", true)
        .build();
    let gguf = Gguf::parse(&file).unwrap();
    assert_eq!(gguf.u64("whole"), Ok(4096));
    assert!(gguf.u64("half").is_err() && gguf.u64("negative").is_err() && gguf.u64("true").is_err());
    let bool = |key| gguf.get(key).and_then(Value::as_bool);
    assert_eq!((bool("one"), bool("two"), bool("true")), (Some(true), None, Some(true)));
}

/// A part with two tensors, of which the first is called `first`.
fn part(number: u16, count: u16, first: &str) -> Vec<u8> {
    Builder::default()
        .u16("split.no", number)
        .u16("split.count", count)
        .i32("split.tensors.count", 2 * i32::from(count))
        .tensor(first, &[8], GgmlType::F32, &[1; 32])
        .tensor(&format!("{first}.bias"), &[8], GgmlType::F32, &[2; 32])
        .build()
}

#[test]
fn parts_are_joined_in_their_order() {
    let files = [part(0, 3, "a"), part(1, 3, "b"), part(2, 3, "c")];
    let join = |order: &[usize]| {
        Gguf::join(order.iter().map(|&index| Gguf::parse(&files[index]).unwrap()).collect())
    };
    let whole = join(&[2, 0, 1]).unwrap();
    let names: Vec<_> = whole.tensors().iter().map(|tensor| tensor.name).collect();
    assert_eq!(names, ["a", "a.bias", "b", "b.bias", "c", "c.bias"]);
    assert_eq!(whole.tensor("c.bias").unwrap().data, [2; 32]);
    assert_eq!(join(&[0, 2]), Err(GgufError::Part { part: 2, count: 3 }));
    assert_eq!(join(&[1]), Err(GgufError::Part { part: 1, count: 3 }));
    assert_eq!(join(&[0, 1, 1]), Err(GgufError::Part { part: 3, count: 3 }));
    assert_eq!(join(&[]), Err(GgufError::Part { part: 1, count: 1 }));
    assert!(matches!(join(&[0, 1, 2, 2]), Err(GgufError::WrongValue { .. })));
}

#[test]
fn parts_of_other_files_are_refused() {
    fn join(files: &[Vec<u8>]) -> Result<Gguf<'_>, GgufError> {
        Gguf::join(files.iter().map(|file| Gguf::parse(file).unwrap()).collect())
    }
    assert!(matches!(join(&[part(0, 2, "a"), part(1, 2, "a")]), Err(GgufError::Duplicate { .. })));
    assert_eq!(join(&[part(0, 2, "a"), part(1, 3, "b")]), Err(GgufError::Part { part: 1, count: 3 }));
    let short = Builder::default().u16("split.count", 1).i32("split.tensors.count", 4).build();
    let error = join(&[short]).map(drop).unwrap_err().to_string();
    assert!(error.contains("split.tensors.count is 4"), "{error}");
    assert!(join(&[sample()]).is_ok(), "a file that was not split");
}

/// Two tensors of Q2_0, of 128 and 4,096 weights, in blocks of these bytes, at the offsets that those lengths give.
fn two_of_q2_0(lengths: [usize; 2]) -> Vec<u8> {
    let second = lengths[0].next_multiple_of(32);
    let data = vec![0; second + lengths[1]];
    Builder::default().entry("a", &[128], 42, 0, &data).entry("b", &[2048, 2], 42, second as u64, &[]).build()
}

#[test]
fn both_versions_of_q2_0_are_told_apart_by_their_lengths() {
    for (lengths, expected) in [([36, 1152], GgmlType::Q2_0), ([34, 1088], GgmlType::PQ2_0)] {
        let file = two_of_q2_0(lengths);
        let gguf = Gguf::parse(&file).unwrap();
        let found: Vec<_> = gguf.tensors().iter().map(|t| (t.ggml_type, t.data.len())).collect();
        assert_eq!(found, [(expected, lengths[0]), (expected, lengths[1])]);
    }
    for lengths in [[36, 1000], [100, 1088], [36, 2000]] {
        let error = Gguf::parse(&two_of_q2_0(lengths)).unwrap_err();
        assert!(matches!(error, GgufError::TwoVersions { .. }), "{lengths:?}: {error}");
    }
    let padded = Builder::default().entry("a", &[128], 42, 0, &[0; 64]).build();
    assert!(Gguf::parse(&padded).unwrap_err().to_string().contains("Q2_0"), "either version");
}

#[test]
fn a_tensor_of_one_scale_has_it_behind_its_codes() {
    let mut data = vec![0x55; 64];
    data.extend(0.75_f32.to_le_bytes());
    data.resize(64 + 32, 0);
    let file = Builder::default().entry("a", &[128, 2], 36, 0, &data).build();
    let gguf = Gguf::parse(&file).unwrap();
    let tensor = &gguf.tensors()[0];
    assert_eq!((tensor.ggml_type, tensor.data.len(), tensor.scale), (GgmlType::I2_S, 64, 0.75));
    let short = Builder::default().entry("a", &[128, 2], 36, 0, &data[..60]).build();
    assert!(matches!(Gguf::parse(&short), Err(GgufError::TensorData { .. })));
}
