//! What goes wrong: a sentence for people and a code for programs.

use edgellm::Error;
use edgellm::chat::ChatError;
use edgellm::format::FormatError;
use edgellm::sampler::SamplerError;
use edgellm::tokenizer::TokenizerError;
use edgellm_quantize::{Mistaken, QuantizeError, mistaken, mistaken_model};
use js_sys::Reflect;
use wasm_bindgen::JsValue;

/// Why a call failed; an `Error` with a property `code` in JavaScript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// One of `ErrorCode` in `index.d.ts`.
    pub code: &'static str,
    /// For people.
    pub message: String,
    /// HTTP status of a download that the server refused.
    pub status: Option<u16>,
}

impl Failure {
    /// A failure.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Failure { code, message: message.into(), status: None }
    }

    /// An option or argument that makes no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Failure::new("invalid", message)
    }
}

impl From<Failure> for JsValue {
    fn from(failure: Failure) -> Self {
        let error = js_sys::Error::new(&failure.message);
        // A fresh object takes any property.
        let _ = Reflect::set(&error, &"code".into(), &failure.code.into());
        if let Some(status) = failure.status {
            let _ = Reflect::set(&error, &"status".into(), &status.into());
        }
        error.into()
    }
}

/// A file that begins with other bytes than it should; `found` is what has been read of it.
pub(crate) fn foreign(found: &[u8]) -> Failure {
    if found.starts_with(b"GGUF") {
        let message = "this is a GGUF file: convert it to .tmac2.bin first (quantize does it, in the page)";
        return Failure::new("gguf", message);
    }
    let message = match mistaken(found) {
        Some(Mistaken { found, advice }) => format!("this is not a model file but {found}: {advice}"),
        None => {
            "this is not a model file: it does not begin as .tmac2.bin files do. Was another file chosen?"
                .to_string()
        }
    };
    Failure::new("not_a_model", message)
}

/// A file to convert that is no GGUF file.
pub(crate) fn not_gguf(found: &[u8]) -> Failure {
    let message = match mistaken_model(found) {
        Some(Mistaken { found, advice }) => format!("this is not a GGUF file but {found}: {advice}"),
        None => "this is not a GGUF file: only those can be converted in the page".to_string(),
    };
    Failure::new("not_a_model", message)
}

impl From<FormatError> for Failure {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::Magic { found } => foreign(&found),
            error => Failure::new("damaged", format!("the model file cannot be used: {error}")),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error {
            Error::Format(error) => return error.into(),
            Error::Tokenizer(error) => return error.into(),
            Error::ContextFull { .. } => "context_full",
            _ => "invalid",
        };
        Failure::new(code, error.to_string())
    }
}

impl From<TokenizerError> for Failure {
    fn from(error: TokenizerError) -> Self {
        let code = match error {
            TokenizerError::File(_) => "unsupported_model",
            _ => "invalid",
        };
        Failure::new(code, error.to_string())
    }
}

impl From<SamplerError> for Failure {
    fn from(error: SamplerError) -> Self {
        Failure::invalid(error.to_string())
    }
}

impl From<ChatError> for Failure {
    fn from(error: ChatError) -> Self {
        Failure::new("chat_template", error.to_string())
    }
}

impl From<QuantizeError> for Failure {
    fn from(error: QuantizeError) -> Self {
        let code = match error {
            QuantizeError::Unsupported { .. }
            | QuantizeError::UnexpectedTensor { .. }
            | QuantizeError::TensorType { .. }
            | QuantizeError::NoPreTokenizer
            | QuantizeError::Tokenizer { .. } => "unsupported_model",
            QuantizeError::GroupSize { .. } => "invalid",
            _ => "damaged",
        };
        Failure::new(code, error.to_string())
    }
}
