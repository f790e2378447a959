//! What lies where a model should: a pointer, a page, an archive. Judged by the first bytes.

/// A file that is not what its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mistaken {
    /// What it is.
    pub found: &'static str,
    /// What to do.
    pub advice: &'static str,
}

const EMPTY: Mistaken = Mistaken { found: "empty", advice: "download it again" };
const ZEROS: Mistaken =
    Mistaken { found: "filled with zeros", advice: "its download did not finish, download it again" };
const POINTER: Mistaken = Mistaken {
    found: "a Git LFS pointer, which stands for the file in a repository",
    advice: "run `git lfs pull` in its directory, or download the file itself",
};
const PAGE: Mistaken = Mistaken {
    found: "a web page",
    advice: "the link led to a page about the file or to a sign-in: download the file itself",
};
const MESSAGE: Mistaken = Mistaken {
    found: "a short text",
    advice: "it may be a server's message: read it, and download the file again",
};
const ARCHIVE: Mistaken = Mistaken {
    found: "an archive or a PyTorch file",
    advice: "unpack an archive; of PyTorch models, use a GGUF file or a directory with safetensors instead",
};
const GGML: Mistaken = Mistaken {
    found: "in a format that llama.cpp used before GGUF",
    advice: "download a .gguf file, or convert the original model again",
};
const SAFETENSORS: Mistaken = Mistaken {
    found: "a safetensors file, which holds only the weights of a model",
    advice: "give the directory that it belongs in, with config.json and tokenizer.json",
};

/// Beginnings of archives: zip (and PyTorch), gzip, xz, zstd, 7z, pickle.
const ARCHIVES: [&[u8]; 6] =
    [b"PK\x03\x04", b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf\x27\x1c", b"\x80\x02}"];
/// Beginnings of llama.cpp's old files.
const GGMLS: [&[u8]; 4] = [b"lmgg", b"fmgg", b"tjgg", b"algg"];
/// Beginnings of web pages, in lower case.
const PAGES: [&[u8]; 4] = [b"<!doctype html", b"<html", b"<head", b"<?xml"];
/// Longest message of a server.
const LONGEST_MESSAGE: usize = 1024;

/// What a file is that should be a part of a model, such as a tokenizer.json; `None` if it may be one.
pub fn mistaken(file: &[u8]) -> Option<Mistaken> {
    if file.is_empty() {
        return Some(EMPTY);
    }
    let start = file.get(..64).unwrap_or(file);
    if start.iter().all(|&byte| byte == 0) {
        return Some(ZEROS);
    }
    if start.starts_with(b"version https://git-lfs") {
        return Some(POINTER);
    }
    let text = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(start).trim_ascii_start().to_ascii_lowercase();
    PAGES.iter().any(|page| text.starts_with(page)).then_some(PAGE)
}

/// What a file is that should be a model, but is neither GGUF nor `.tmac2.bin`; `None` if that cannot be told.
pub fn mistaken_model(file: &[u8]) -> Option<Mistaken> {
    mistaken(file).or_else(|| {
        if is_safetensors(file) {
            return Some(SAFETENSORS);
        }
        let starts = |magics: &[&[u8]]| magics.iter().any(|magic| file.starts_with(magic));
        if starts(&ARCHIVES) {
            return Some(ARCHIVE);
        }
        if starts(&GGMLS) {
            return Some(GGML);
        }
        is_message(file).then_some(MESSAGE)
    })
}

/// Whether a file begins with the length of a header, and that with a brace.
pub(crate) fn is_safetensors(file: &[u8]) -> bool {
    const LONGEST_HEADER: u64 = 100_000_000;
    let length = file.first_chunk().map(|length| u64::from_le_bytes(*length));
    length.is_some_and(|length| (2..=LONGEST_HEADER).contains(&length)) && file.get(8) == Some(&b'{')
}

/// Whether a file is a few words.
fn is_message(file: &[u8]) -> bool {
    let printable = |text: &str| text.chars().all(|c| !c.is_control() || c.is_whitespace());
    let words = |text: &str| text.contains(char::is_whitespace) || text.starts_with('{');
    file.len() <= LONGEST_MESSAGE
        && std::str::from_utf8(file).is_ok_and(|text| printable(text) && words(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_save_as_a_model_is_recognized() {
        for (file, found) in [
            (&b""[..], Some(EMPTY)),
            (&[0; 100], Some(ZEROS)),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0f\nsize 99\n", Some(POINTER)),
            (b"\xEF\xBB\xBF\r\n<!DOCTYPE HTML><html>", Some(PAGE)),
            (b"<html lang=\"en\">", Some(PAGE)),
            (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied", Some(PAGE)),
            (b"Entry not found", Some(MESSAGE)),
            (b"{\"error\":\"Unauthorized\"}", Some(MESSAGE)),
            (b"PK\x03\x04\0\0\0\0\0\0", Some(ARCHIVE)),
            (b"\x1f\x8b\x08\0\0\0\0\0\0\x03", Some(ARCHIVE)),
            (b"\x80\x02}q\0", Some(ARCHIVE)),
            (b"tjgg\x03\0\0\0", Some(GGML)),
            (b"\x08\0\0\0\0\0\0\0{}      ", Some(SAFETENSORS)),
            // A header of 559,903 bytes begins as gzip does.
            (b"\x1f\x8b\x08\0\0\0\0\0{\"a\"", Some(SAFETENSORS)),
            (b"TMAC2", None),
            (b"\x01\x02\x03\x04", None),
        ] {
            assert_eq!(mistaken_model(file), found, "{}", file.escape_ascii());
        }
    }

    #[test]
    fn parts_of_models_are_none_of_these() {
        for file in [&b"{\"a\": 1}"[..], b"<s>{% for m in messages %}", b"\x08\0\0\0\0\0\0\0{}      "] {
            assert_eq!(mistaken(file), None, "{}", file.escape_ascii());
        }
    }
}
