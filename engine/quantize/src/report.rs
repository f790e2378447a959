//! What the caller hears: progress on the way, a report at the end.

use edgellm::format::{TensorEncoding, TensorError};

/// How far a conversion is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Tensor being converted.
    pub tensor: &'a str,
    /// Weights done.
    pub done: u64,
    /// Weights of the model.
    pub total: u64,
}

/// How a tensor's codes came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Codes, scales and minimums are the source's.
    Lossless,
    /// Rounded to nearest, with scale and minimum of least squared error.
    Rounded,
    /// Kept as 32-bit floats.
    Float,
}

impl Method {
    /// Name in reports and in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Method::Lossless => "lossless",
            Method::Rounded => "rtn",
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
    /// How its codes came about.
    pub method: Method,
    /// Bytes in the file.
    pub bytes: u64,
    /// Distance from the source; `None` for floats.
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
    /// Distance of all quantized weights together from the source.
    pub error: TensorError,
    /// What a user should know before using the file, in plain words.
    pub warnings: Vec<String>,
}

impl Report {
    /// Bits a weight, of the whole file.
    pub fn bits_per_weight(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.weights.max(1) as f64
    }
}

/// Adds up the distance of weights from their source.
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
