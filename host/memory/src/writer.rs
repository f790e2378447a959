//! Writing files so that the page cache holds them in huge pages.

use crate::pages::HUGE_PAGE;
use std::io::{self, Seek, SeekFrom, Write};

/// Buffers writes up to the next multiple of 2 MiB of the file.
///
/// A file system with large folios (ext4 and XFS since Linux 6.16) caches each write in pages as large as its position and
/// length allow, so writes of whole huge pages become huge pages, and a map of the file has them without a copy. A
/// `BufWriter` writes pieces of any length, which end up in small pages.
#[derive(Debug)]
pub struct PageWriter<W: Write + Seek> {
    out: W,
    /// Position in the file of the buffer's first byte.
    position: u64,
    buffer: Vec<u8>,
}

impl<W: Write + Seek> PageWriter<W> {
    /// Writes to `out`, starting at its current position.
    ///
    /// # Errors
    /// If `out` cannot tell its position.
    pub fn new(mut out: W) -> io::Result<Self> {
        Ok(PageWriter { position: out.stream_position()?, out, buffer: Vec::with_capacity(HUGE_PAGE) })
    }
}

impl<W: Write + Seek> Write for PageWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let at = self.position as usize % HUGE_PAGE + self.buffer.len();
        let room = HUGE_PAGE - at % HUGE_PAGE;
        let (now, _) = bytes.split_at(bytes.len().min(room));
        self.buffer.extend_from_slice(now);
        if now.len() == room {
            self.flush()?;
        }
        Ok(now.len())
    }

    /// Writes the buffer. Bytes that could not be written are lost: after an error the file is useless.
    fn flush(&mut self) -> io::Result<()> {
        let written = self.out.write_all(&self.buffer);
        self.position += self.buffer.len() as u64;
        self.buffer.clear();
        written?;
        self.out.flush()
    }
}

impl<W: Write + Seek> Seek for PageWriter<W> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.flush()?;
        self.position = self.out.seek(to)?;
        Ok(self.position)
    }

    fn stream_position(&mut self) -> io::Result<u64> {
        Ok(self.position + self.buffer.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// Records where writes begin and end.
    #[derive(Default)]
    struct Recorder {
        file: Cursor<Vec<u8>>,
        writes: Vec<(u64, u64)>,
    }

    impl Write for Recorder {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let start = self.file.position();
            self.writes.push((start, start + bytes.len() as u64));
            self.file.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Seek for Recorder {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.file.seek(to)
        }
    }

    #[test]
    fn writes_are_whole_pages_and_the_bytes_what_was_written() {
        let mut recorder = Recorder::default();
        let mut writer = PageWriter::new(&mut recorder).unwrap();
        let bytes: Vec<u8> = (0..5 * HUGE_PAGE + 3).map(|i| (i % 251) as u8).collect();
        let mut rest = &bytes[..];
        for length in [1, 100, HUGE_PAGE - 1, HUGE_PAGE, 2 * HUGE_PAGE + 7, usize::MAX] {
            let (now, later) = rest.split_at(length.min(rest.len()));
            writer.write_all(now).unwrap();
            rest = later;
        }
        assert_eq!(writer.stream_position().unwrap(), bytes.len() as u64);
        writer.seek(SeekFrom::Start(5)).unwrap();
        writer.write_all(b"head").unwrap();
        writer.flush().unwrap();
        let (page, length) = (HUGE_PAGE as u64, bytes.len() as u64);
        let mut expected: Vec<_> = (0..5).map(|index| (index * page, (index + 1) * page)).collect();
        expected.extend([(5 * page, length), (5, 9)]);
        assert_eq!(recorder.writes, expected);
        let mut file = bytes;
        file[5..9].copy_from_slice(b"head");
        assert!(recorder.file.into_inner() == file);
    }
}
