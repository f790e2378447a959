//! The JSON of `/v1/chat/completions`.

use super::format::{Format, GeneratedToken, Head};
use super::spelling::spelling;
use crate::api::chat::{
    AnswerFunction, AnswerMessage, AnswerToolCall, ChatChoice, ChatChunk, ChatCompletion, ChatLogprobs,
    ChunkChoice, Delta, ShownToken, TokenLogprob,
};
use crate::api::usage::Usage;
use crate::random::random;
use crate::registry::Loaded;
use crate::scheduler::TokenLogprobs;
use crate::tools::{CallFinder, Rest, ToolCall};
use edgellm::TokenId;

/// Messages of an assistant.
#[derive(Debug)]
pub(crate) struct ChatFormat(Vec<State>);

/// The state of one choice.
#[derive(Debug, Default)]
struct State {
    begun: bool,
    /// Tool calls so far.
    calls: usize,
    /// Whether there was any text, if only an empty one.
    has_content: bool,
    /// Where tools may be called.
    finder: Option<CallFinder>,
}

impl ChatFormat {
    /// `count` choices. With `calls_only`, tool calls are looked for, and if it is true, there can be nothing else.
    pub(crate) fn new(count: usize, calls_only: Option<bool>) -> Self {
        let state = || State { finder: calls_only.map(CallFinder::new), ..State::default() };
        ChatFormat((0..count).map(|_| state()).collect())
    }
}

impl State {
    /// The calls as the client gets them.
    fn number(&mut self, calls: impl IntoIterator<Item = ToolCall>) -> Vec<AnswerToolCall> {
        let numbered = calls.into_iter().map(|call| {
            self.calls += 1;
            AnswerToolCall {
                index: Some(self.calls - 1),
                id: format!("call_{:016x}", random()),
                kind: "function",
                function: AnswerFunction { name: call.name, arguments: call.arguments },
            }
        });
        numbered.collect()
    }

    /// A delta of choice `index`, if it says anything.
    fn delta(
        &mut self,
        index: usize,
        text: String,
        tool_calls: Vec<AnswerToolCall>,
        logprobs: Option<ChatLogprobs>,
    ) -> Option<ChunkChoice> {
        let first = !self.begun;
        // Between two calls there is nothing but a line break.
        let silent = text.is_empty() || (self.calls > 0 && text.trim().is_empty());
        if silent && tool_calls.is_empty() && logprobs.is_none() && !first {
            return None;
        }
        self.begun = true;
        // An answer that may be a call has no content until there is some.
        let content = (!silent || (first && self.finder.is_none())).then_some(text);
        self.has_content |= content.is_some();
        let delta = Delta { role: first.then_some("assistant"), content, tool_calls };
        Some(ChunkChoice { index, delta, logprobs, finish_reason: None })
    }
}

/// The log probabilities of one token.
fn token_logprobs(model: &Loaded, id: TokenId, logprobs: TokenLogprobs) -> ChatLogprobs {
    let shown = |id, logprob| {
        let (token, bytes) = spelling(model, id);
        ShownToken { token, logprob, bytes }
    };
    let token = shown(id, logprobs.logprob);
    let top_logprobs = logprobs.top.into_iter().map(|(id, logprob)| shown(id, logprob)).collect();
    ChatLogprobs { content: vec![TokenLogprob { token, top_logprobs }], refusal: None }
}

impl Format for ChatFormat {
    type Delta = ChunkChoice;
    type Choice = ChatChoice;
    type Piece = ChatChunk;
    type Whole = ChatCompletion;

    const ID: &'static str = "chatcmpl";

    fn choices(&self) -> usize {
        self.0.len()
    }

    fn scored(&mut self, _: &Loaded, _: usize, _: &[TokenLogprobs]) -> Option<ChunkChoice> {
        None
    }

    fn token(&mut self, model: &Loaded, index: usize, token: GeneratedToken) -> Option<ChunkChoice> {
        let GeneratedToken { id, text, logprobs } = token;
        let state = self.0.get_mut(index)?;
        let (text, calls) = match &mut state.finder {
            Some(finder) => finder.push(&text),
            None => (text, Vec::new()),
        };
        let calls = state.number(calls);
        state.delta(index, text, calls, logprobs.map(|logprobs| token_logprobs(model, id, logprobs)))
    }

    fn finished(&mut self, index: usize, reason: &'static str) -> Vec<ChunkChoice> {
        let Some(state) = self.0.get_mut(index) else { return Vec::new() };
        let rest = state.finder.as_mut().map(|finder| finder.finish(reason == "length"));
        let (text, call, cut) = match rest {
            None => (String::new(), None, false),
            Some(Rest::Text(text)) => (text, None, false),
            Some(Rest::Call(call)) => (String::new(), Some(call), false),
            Some(Rest::Cut) => (String::new(), None, true),
        };
        let calls = state.number(call);
        let rest = state.delta(index, text, calls, None);
        let reason = if reason == "stop" && state.calls > 0 { "tool_calls" } else { reason };
        // An answer that is neither text nor call is an empty text.
        let content = (!cut && state.calls == 0 && !state.has_content).then(String::new);
        let (delta, finish_reason) = (Delta { content, ..Delta::default() }, Some(reason));
        rest.into_iter().chain([ChunkChoice { index, delta, logprobs: None, finish_reason }]).collect()
    }

    fn piece(head: Head, delta: Option<ChunkChoice>, usage: Option<Usage>) -> ChatChunk {
        let Head { id, created, model } = head;
        let choices = delta.into_iter().collect();
        ChatChunk { id, object: "chat.completion.chunk", created, model, choices, usage }
    }

    fn choice(index: usize) -> ChatChoice {
        let message =
            AnswerMessage { role: "assistant", content: None, refusal: None, tool_calls: Vec::new() };
        ChatChoice { index, message, logprobs: None, finish_reason: "stop" }
    }

    fn index(delta: &ChunkChoice) -> usize {
        delta.index
    }

    fn append(choice: &mut ChatChoice, delta: ChunkChoice) {
        if let Some(text) = delta.delta.content {
            choice.message.content.get_or_insert_default().push_str(&text);
        }
        // Only streams number the calls.
        let calls = delta.delta.tool_calls.into_iter().map(|call| AnswerToolCall { index: None, ..call });
        choice.message.tool_calls.extend(calls);
        match (&mut choice.logprobs, delta.logprobs) {
            (Some(all), Some(more)) => all.content.extend(more.content),
            (all @ None, more) => *all = more,
            (Some(_), None) => {}
        }
        choice.finish_reason = delta.finish_reason.unwrap_or(choice.finish_reason);
    }

    fn whole(head: Head, mut choices: Vec<ChatChoice>, usage: Usage) -> ChatCompletion {
        for ChatChoice { message, .. } in &mut choices {
            // In OpenAI's API, a message that only calls tools has no content.
            message.content.take_if(|text| text.is_empty() && !message.tool_calls.is_empty());
        }
        let Head { id, created, model } = head;
        ChatCompletion { id, object: "chat.completion", created, model, choices, usage }
    }
}
