//! Answers of `/v1/chat/completions`.

use super::{Answer, Tally, chat_logprobs, finish_reason};
use crate::api::chat::{
    AnswerFunction, AnswerMessage, AnswerToolCall, ChatChoice, ChatChunk, ChatCompletion, ChunkChoice, Delta,
};
use crate::scheduler::Event;
use crate::tools::{CallFinder, ToolCall};

/// A chat's answer.
#[derive(Debug)]
pub(crate) struct ChatAnswer {
    pub(crate) id: String,
    pub(crate) created: u64,
    pub(crate) tally: Tally,
    choices: Vec<Choice>,
}

/// One of the answers, so far.
#[derive(Debug, Default)]
struct Choice {
    begun: bool,
    calls: usize,
    /// Where tools may be called.
    finder: Option<CallFinder>,
}

impl ChatAnswer {
    /// An answer of `count` choices; with `tools`, calls are looked for.
    pub(crate) fn new(id: String, created: u64, tally: Tally, count: usize, tools: bool) -> Self {
        let choice = || Choice { finder: tools.then(CallFinder::default), ..Choice::default() };
        ChatAnswer { id, created, tally, choices: (0..count).map(|_| choice()).collect() }
    }

    fn chunk(&self, choice: Option<ChunkChoice>) -> ChatChunk {
        ChatChunk {
            id: self.id.clone(),
            object: "chat.completion.chunk",
            created: self.created,
            model: self.tally.model.id.clone(),
            choices: choice.into_iter().collect(),
            usage: None,
        }
    }

    /// The calls as the client gets them.
    fn calls(&mut self, index: usize, calls: Vec<ToolCall>) -> Vec<AnswerToolCall> {
        let Some(choice) = self.choices.get_mut(index) else { return Vec::new() };
        let numbered = calls.into_iter().map(|call| {
            choice.calls += 1;
            AnswerToolCall {
                index: Some(choice.calls - 1),
                id: format!("call_{:016x}", crate::random()),
                kind: "function",
                function: AnswerFunction { name: call.name, arguments: call.arguments },
            }
        });
        numbered.collect()
    }

    /// A chunk of choice `index`, if it says anything.
    fn delta(
        &mut self,
        index: usize,
        text: String,
        tool_calls: Vec<AnswerToolCall>,
        logprobs: Option<crate::api::chat::ChatLogprobs>,
    ) -> Option<ChatChunk> {
        let choice = self.choices.get_mut(index)?;
        let first = !choice.begun;
        // Between two calls there is nothing but a line's end.
        let silent = text.is_empty() || (choice.calls > 0 && text.trim().is_empty());
        if silent && tool_calls.is_empty() && logprobs.is_none() && !first {
            return None;
        }
        choice.begun = true;
        let content = (!silent || (first && tool_calls.is_empty())).then_some(text);
        let delta = Delta { role: first.then_some("assistant"), content, tool_calls };
        Some(self.chunk(Some(ChunkChoice { index, delta, logprobs, finish_reason: None })))
    }
}

impl Answer for ChatAnswer {
    type Piece = ChatChunk;
    type Whole = ChatCompletion;

    fn pieces(&mut self, event: Event) -> Vec<ChatChunk> {
        match event {
            Event::Token { index, id, text, logprobs } => {
                let finder = self.choices.get_mut(index).and_then(|choice| choice.finder.as_mut());
                let (text, calls) = match finder {
                    Some(finder) => finder.push(&text),
                    None => (text, Vec::new()),
                };
                let calls = self.calls(index, calls);
                let logprobs = logprobs.map(|logprobs| chat_logprobs(&self.tally.model, id, logprobs));
                self.delta(index, text, calls, logprobs).into_iter().collect()
            }
            Event::Finished { index, reason, .. } => {
                let finder = self.choices.get_mut(index).and_then(|choice| choice.finder.as_mut());
                let (text, call) = finder.map(CallFinder::finish).unwrap_or_default();
                let calls = self.calls(index, call.into_iter().collect());
                let mut pieces: Vec<ChatChunk> = self.delta(index, text, calls, None).into_iter().collect();
                let called = self.choices.get(index).is_some_and(|choice| choice.calls > 0);
                let reason = match finish_reason(reason) {
                    "stop" if called => "tool_calls",
                    reason => reason,
                };
                let finish_reason = Some(reason);
                let last = ChunkChoice { index, delta: Delta::default(), logprobs: None, finish_reason };
                pieces.push(self.chunk(Some(last)));
                pieces
            }
            Event::Started { .. } | Event::Embedded { .. } | Event::Failed(_) => Vec::new(),
        }
    }

    fn usage_piece(&self) -> ChatChunk {
        ChatChunk { usage: Some(self.tally.usage()), ..self.chunk(None) }
    }

    fn whole(self, pieces: Vec<ChatChunk>) -> ChatCompletion {
        let message =
            || AnswerMessage { role: "assistant", content: None, refusal: None, tool_calls: Vec::new() };
        let mut choices: Vec<ChatChoice> = (0..self.choices.len())
            .map(|index| ChatChoice { index, message: message(), logprobs: None, finish_reason: "stop" })
            .collect();
        for piece in pieces.into_iter().flat_map(|chunk| chunk.choices) {
            let Some(choice) = choices.get_mut(piece.index) else { continue };
            if let Some(text) = piece.delta.content {
                choice.message.content.get_or_insert_default().push_str(&text);
            }
            // Only streams number the calls.
            let calls = piece.delta.tool_calls.into_iter().map(|call| AnswerToolCall { index: None, ..call });
            choice.message.tool_calls.extend(calls);
            match (&mut choice.logprobs, piece.logprobs) {
                (Some(all), Some(more)) => all.content.extend(more.content),
                (all @ None, more) => *all = more,
                (Some(_), None) => {}
            }
            choice.finish_reason = piece.finish_reason.unwrap_or(choice.finish_reason);
        }
        for ChatChoice { message, .. } in &mut choices {
            // Officially, a message that only calls has no content.
            message.content.take_if(|text| text.is_empty() && !message.tool_calls.is_empty());
        }
        ChatCompletion {
            usage: self.tally.usage(),
            id: self.id,
            object: "chat.completion",
            created: self.created,
            model: self.tally.model.id.clone(),
            choices,
        }
    }

    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }
}
