//! Progress during a conversion, and the report at its end.

use edgellm::format::{Quality, TensorEncoding, TensorError};

/// The progress of a conversion.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Tensor being converted, or what calibration does.
    pub tensor: &'a str,
    /// Weights done.
    pub done: u64,
    /// Weights of the model, or with calibration several times as many, because each takes as long as that.
    pub total: u64,
}

/// How a tensor was converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Lossless: codes, scales and minimums are the source's.
    Lossless,
    /// The codes are the source's; scales and minimums are rounded to half precision.
    Codes,
    /// Rounded to nearest, with the scale and minimum that minimize the squared error.
    Rounded,
    /// The same, with the squared error weighted by the importance of the columns.
    Weighted,
    /// Rounded with feedback of the errors, by GPTQ.
    Gptq,
    /// Kept as 32-bit floats.
    Float,
}

impl Method {
    /// Name in reports and in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Method::Lossless => "lossless",
            Method::Codes => "codes",
            Method::Rounded => "rtn",
            Method::Weighted => "weighted",
            Method::Gptq => "gptq",
            Method::Float => "f32",
        }
    }
}

/// One tensor of a [`Report`].
#[derive(Clone, Debug)]
pub struct TensorReport {
    /// Hugging Face name.
    pub name: String,
    /// (rows, cols).
    pub shape: [usize; 2],
    /// Type in the source.
    pub source_type: &'static str,
    /// How it is stored now.
    pub encoding: TensorEncoding,
    /// How it was converted.
    pub method: Method,
    /// Bytes in the file.
    pub bytes: u64,
    /// Error relative to the source; `None` for floats.
    pub error: Option<TensorError>,
}

/// The outcome of a conversion.
#[derive(Clone, Debug)]
pub struct Report {
    /// The tensors in the order of the file.
    pub tensors: Vec<TensorReport>,
    /// Weights of the model.
    pub weights: u64,
    /// Length of the file.
    pub bytes: u64,
    /// Error of all quantized weights together relative to the source.
    pub error: TensorError,
    /// What rounding cost, if it was measured; the file has the same.
    pub quality: Option<Quality>,
    /// Warnings for the user, in words.
    pub warnings: Vec<String>,
}

impl Report {
    /// How many tensors were converted this way.
    pub fn count(&self, method: Method) -> usize {
        self.tensors.iter().filter(|tensor| tensor.method == method).count()
    }

    /// Bits per weight, of the whole file.
    pub fn bits_per_weight(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.weights.max(1) as f64
    }
}

/// Accumulates the error of weights relative to their source.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ErrorSum {
    squares: f64,
    source_squares: f64,
    max: f64,
    count: u64,
}

impl ErrorSum {
    pub(crate) fn add(&mut self, source: &[f32], stored: impl Iterator<Item = f32>) {
        let (mut squares, mut source_squares, mut max) = (0.0, 0.0, 0.0_f64);
        for (&source, stored) in source.iter().zip(stored) {
            let (source, difference) = (f64::from(source), f64::from(source) - f64::from(stored));
            squares += difference * difference;
            source_squares += source * source;
            max = if difference.abs() > max { difference.abs() } else { max };
        }
        self.merge(&ErrorSum { squares, source_squares, max, count: source.len() as u64 });
    }

    pub(crate) fn merge(&mut self, other: &ErrorSum) {
        self.squares += other.squares;
        self.source_squares += other.source_squares;
        self.max = self.max.max(other.max);
        self.count += other.count;
    }

    pub(crate) fn error(&self) -> TensorError {
        let rmse = (self.squares / self.count.max(1) as f64).sqrt();
        let relative =
            if self.source_squares > 0.0 { (self.squares / self.source_squares).sqrt() } else { 0.0 };
        TensorError { rmse, relative, max: self.max }
    }
}
