//! From a scheduler's events to a response: one JSON object, or a stream of pieces.

mod builder;
mod chat;
mod completion;
mod echo;
mod format;
mod spelling;
mod stream;
mod tally;

pub(crate) use builder::AnswerBuilder;
pub(crate) use chat::ChatFormat;
pub(crate) use completion::CompletionFormat;
pub(crate) use echo::Echo;
pub(crate) use format::Format;
pub(crate) use stream::EventStream;
pub(crate) use tally::Tally;
