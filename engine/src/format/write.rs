//! Writing a model file, section after section, without holding it in memory.

use super::{
    ALIGNMENT, HEADER_BYTES, MAGIC, MAX_METADATA_BYTES, Metadata, Section, TensorEncoding, TensorEntry,
    TensorError, TensorScales, VERSION, VERSION_OF_HALVES,
};
use std::io::{self, Seek, SeekFrom, Write};

/// What can go wrong while writing.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The output refused the bytes.
    #[error("cannot write the model file: {0}")]
    Io(#[from] io::Error),
    /// The metadata does not serialize.
    #[error("cannot write the metadata: {0}")]
    Json(#[from] serde_json::Error),
    /// The metadata is longer than readers allow.
    #[error(
        "the metadata would take {length} bytes, more than the {MAX_METADATA_BYTES} allowed: shorten the chat template"
    )]
    MetadataLength {
        /// Bytes of metadata.
        length: u64,
    },
    /// The caller wrote other sections than it announced.
    #[error("tensor {name}: {problem}")]
    Section {
        /// Tensor.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

/// Writes a model file whose tensors are known by name, shape and encoding from the start; their bytes,
/// checksums and errors follow one by one.
///
/// The metadata stands before the data but is complete only after it. So the writer leaves room for it,
/// as long as it can get, and fills the rest with blanks, which JSON allows.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    metadata: Metadata,
    room: u64,
    next: usize,
}

impl<W: Write + Seek> Writer<W> {
    /// Starts a file. `metadata.tensors` holds what [`Writer::entry`] makes; offsets, lengths and checksums
    /// are filled in here. `tokenizer` is a Hugging Face `tokenizer.json`.
    ///
    /// # Errors
    /// [`WriteError`] if the output fails or a tensor's shape is impossible.
    pub fn new(mut out: W, mut metadata: Metadata, tokenizer: &[u8]) -> Result<Self, WriteError> {
        let mut offset = 0;
        let mut section = |length: u64, crc32| {
            let section = Section { offset, length, crc32 };
            offset = (offset + length).next_multiple_of(ALIGNMENT);
            section
        };
        metadata.tokenizer = section(tokenizer.len() as u64, crc32fast::hash(tokenizer));
        for tensor in &mut metadata.tensors {
            let [rows, cols] = tensor.shape;
            let length = match tensor.encoding.layout(tensor.shape) {
                Ok(Some(layout)) => layout.total_bytes() as u64,
                Ok(None) => rows as u64 * cols as u64 * 4,
                Err(error) => {
                    return Err(WriteError::Section {
                        name: tensor.name.clone(),
                        problem: error.to_string(),
                    });
                }
            };
            tensor.section = section(length, u32::MAX);
            if tensor.encoding != TensorEncoding::F32 {
                // As long as an f64 can get in JSON.
                let widest = -f64::MIN_POSITIVE * 1.111_111_111_111_111_1;
                tensor.error = Some(TensorError { rmse: widest, relative: widest, max: widest });
            }
        }
        let room = serde_json::to_vec(&metadata)?.len() as u64;
        let data_start = (HEADER_BYTES as u64 + room).next_multiple_of(ALIGNMENT);
        let room = data_start - HEADER_BYTES as u64;
        if room > MAX_METADATA_BYTES {
            return Err(WriteError::MetadataLength { length: room });
        }
        out.seek(SeekFrom::Start(0))?;
        // A file that ends here has no magic, so nobody can take it for a whole one.
        pad(&mut out, data_start)?;
        out.write_all(tokenizer)?;
        pad(&mut out, metadata.tokenizer.length.next_multiple_of(ALIGNMENT) - metadata.tokenizer.length)?;
        Ok(Writer { out, metadata, room, next: 0 })
    }

    /// A directory entry to be completed by the writer.
    pub fn entry(name: impl Into<String>, shape: [usize; 2], encoding: TensorEncoding) -> TensorEntry {
        let section = Section { offset: 0, length: 0, crc32: 0 };
        TensorEntry { name: name.into(), shape, encoding, scale: None, rotated: false, section, error: None }
    }

    /// Writes the bytes of the next tensor, in pieces: `fill` is called with a sink for them.
    ///
    /// # Errors
    /// [`WriteError`] if the output fails, or the tensor is not the next one or not as long as announced.
    pub fn tensor<E: From<WriteError>>(
        &mut self,
        name: &str,
        fill: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<(), WriteError>) -> Result<Option<TensorError>, E>,
    ) -> Result<(), E> {
        let wrong = |problem: String| WriteError::Section { name: name.to_string(), problem };
        let Some(entry) = self.metadata.tensors.get_mut(self.next) else {
            return Err(wrong("no more tensors were announced".to_string()).into());
        };
        if entry.name != name {
            return Err(wrong(format!("{} was announced here", entry.name)).into());
        }
        let (mut hasher, mut written) = (crc32fast::Hasher::new(), 0);
        let out = &mut self.out;
        let error = fill(&mut |bytes| {
            hasher.update(bytes);
            written += bytes.len() as u64;
            Ok(out.write_all(bytes)?)
        })?;
        let length = entry.section.length;
        if written != length {
            return Err(wrong(format!("{written} bytes written where {length} were announced")).into());
        }
        pad(out, length.next_multiple_of(ALIGNMENT) - length).map_err(WriteError::from)?;
        entry.section.crc32 = hasher.finalize();
        entry.error = error;
        self.next += 1;
        Ok(())
    }

    /// Writes metadata and header, and gives the output and the complete metadata back.
    ///
    /// # Errors
    /// [`WriteError`] if the output fails or tensors are missing.
    pub fn finish(mut self) -> Result<(W, Metadata), WriteError> {
        if let Some(missing) = self.metadata.tensors.get(self.next) {
            let problem = "announced, but not written".to_string();
            return Err(WriteError::Section { name: missing.name.clone(), problem });
        }
        let file_length = self.out.stream_position()?;
        let mut json = serde_json::to_vec(&self.metadata)?;
        json.resize(self.room as usize, b' ');
        self.out.seek(SeekFrom::Start(HEADER_BYTES as u64))?;
        self.out.write_all(&json)?;
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&MAGIC)?;
        self.out.write_all(&version(&self.metadata).to_le_bytes())?;
        self.out.write_all(&crc32fast::hash(&json).to_le_bytes())?;
        self.out.write_all(&self.room.to_le_bytes())?;
        self.out.write_all(&file_length.to_le_bytes())?;
        self.out.flush()?;
        Ok((self.out, self.metadata))
    }
}

/// The first version whose readers know what a file has, of those that this library writes.
fn version(metadata: &Metadata) -> u32 {
    let six = metadata.tensors.iter().any(|tensor| tensor.encoding.scales() == TensorScales::Six);
    if six { VERSION } else { VERSION_OF_HALVES }
}

/// Writes `count` zeros.
fn pad(out: &mut impl Write, count: u64) -> io::Result<()> {
    io::copy(&mut io::Read::take(io::repeat(0), count), out).map(drop)
}
