//! Where the bytes of a file come from: a download, a file, or the page.

use crate::Failure;
use js_sys::{Error, Promise, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Blob, File, MessageEvent, MessagePort, ReadableStream, ReadableStreamDefaultReader,
    ReadableStreamReadResult, RequestInit, Response, WorkerGlobalScope,
};

/// The worker that the module runs in.
pub(crate) fn worker() -> WorkerGlobalScope {
    js_sys::global().unchecked_into()
}

/// A file that arrives in chunks.
pub(crate) enum Source {
    /// The body of a response.
    Download { url: String, body: Reader },
    /// A file that was chosen, dropped or stored. A blob without a name has an empty one.
    File { name: String, contents: Reader },
    /// Bytes of the page, which `chunks.js` sends through a port.
    Page(MessagePort),
}

impl Source {
    /// Opens what the page passes on: a `MessagePort`, a `Blob`, or `{url, request}`, the arguments of `fetch`.
    ///
    /// # Errors
    /// `download` if the server cannot be reached or refuses; `invalid` for anything else.
    pub(crate) async fn open(given: &JsValue) -> Result<Source, Failure> {
        if let Some(port) = given.dyn_ref::<MessagePort>() {
            return Ok(Source::Page(port.clone()));
        }
        if let Some(blob) = given.dyn_ref::<Blob>() {
            let name = given.dyn_ref::<File>().map_or_else(String::new, File::name);
            return Ok(Source::File { name, contents: Reader::of(&blob.stream())? });
        }
        // Only objects have fields; of anything else they are undefined too.
        let field = |name: &str| Reflect::get(given, &name.into()).unwrap_or_default();
        let Some(url) = field("url").as_string() else {
            return Err(Failure::invalid("this is not a file: pass a File or another Blob"));
        };
        let body = download(&url, &field("request").unchecked_into()).await?;
        Ok(Source::Download { url, body: Reader::of(&body)? })
    }

    /// The next chunk; none at the end. If it cannot be had, says why.
    pub(crate) async fn next(&self) -> Result<Option<Uint8Array>, String> {
        match self {
            Source::Download { body: reader, .. } | Source::File { contents: reader, .. } => {
                reader.read().await
            }
            Source::Page(port) => ask(port).await,
        }
    }

    /// The failure of [`Source::next`], after `loaded` bytes of `total`, which may not be known.
    pub(crate) fn broken(&self, why: &str, loaded: u64, total: Option<u64>) -> Failure {
        let message = match self {
            Source::Download { url, .. } => {
                let mb = |bytes: u64| (bytes + 500_000) / 1_000_000;
                let after = total
                    .map_or_else(String::new, |total| format!(" after {} of {} MB", mb(loaded), mb(total)));
                format!("the download of {url} broke off{after}: check the connection and try again ({why})")
            }
            Source::File { name, .. } => {
                format!("the file {name} cannot be read: has it been changed or moved? ({why})")
            }
            Source::Page(_) => format!("the stream of the model's bytes broke: {why}"),
        };
        Failure::new("download", message)
    }
}

/// The body of the response to a request.
async fn download(url: &str, request: &RequestInit) -> Result<ReadableStream, Failure> {
    let failed = |why: String| format!("the model could not be downloaded from {url}: {why}");
    let response = JsFuture::from(worker().fetch_with_str_and_init(url, request)).await.map_err(|error| {
        let why = "the server cannot be reached, or does not allow this page to read the file";
        Failure::new("download", failed(format!("{why} ({})", message(&error))))
    })?;
    let response: Response = response.unchecked_into();
    let status = response.status();
    // An answer without content, such as one with status 204, has no body either.
    response.body().filter(|_| response.ok()).ok_or_else(|| Failure {
        status: Some(status),
        ..Failure::new("download", failed(format!("the server answers with status {status}")))
    })
}

/// The next chunk of the page's bytes: the port answers a message with the chunk, with nothing at the end, or with a text
/// that says what failed.
async fn ask(port: &MessagePort) -> Result<Option<Uint8Array>, String> {
    let answer = Promise::new(&mut |resolve, _| port.set_onmessage(Some(&resolve)));
    port.post_message(&JsValue::NULL).map_err(|error| message(&error))?;
    let event: MessageEvent = JsFuture::from(answer).await.map_err(|error| message(&error))?.unchecked_into();
    let data = event.data();
    if data.is_undefined() {
        return Ok(None);
    }
    let other =
        |data: JsValue| data.as_string().unwrap_or_else(|| "a chunk of it is not a Uint8Array".into());
    data.dyn_into().map(Some).map_err(other)
}

/// A stream under way.
pub(crate) struct Reader(ReadableStreamDefaultReader);

impl Reader {
    fn of(stream: &ReadableStream) -> Result<Self, Failure> {
        let reader = ReadableStreamDefaultReader::new(stream);
        reader.map(Reader).map_err(|error| Failure::new("download", message(&error)))
    }

    async fn read(&self) -> Result<Option<Uint8Array>, String> {
        let read = JsFuture::from(self.0.read()).await.map_err(|error| message(&error))?;
        // At the end there is no value.
        Ok(read.unchecked_into::<ReadableStreamReadResult>().get_value().dyn_into().ok())
    }
}

impl Drop for Reader {
    /// What is left unread is of no use: whoever sends it may stop.
    fn drop(&mut self) {
        // As a future, so that a stream that broke before is not reported as a rejection that nobody handles.
        drop(JsFuture::from(self.0.cancel()));
    }
}

/// What an exception says.
fn message(error: &JsValue) -> String {
    error.dyn_ref::<Error>().map_or_else(String::new, |error| error.message().into())
}
