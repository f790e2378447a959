//! What becomes of the matches between words.

use crate::tokenizer::TokenizerError;
use serde::Deserialize;
use std::ops::Range;

/// What becomes of a match, by Hugging Face's names.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub(super) enum Behavior {
    /// It is in no word.
    Removed,
    /// It is a word.
    Isolated,
    /// It ends the word before it.
    MergedWithPrevious,
    /// It begins the word after it.
    MergedWithNext,
    /// It and the matches right after it are a word.
    Contiguous,
}

/// Joins matches with their neighbours as a behavior wants it.
pub(super) struct Joiner {
    behavior: Behavior,
    /// A part that may still be joined with the next one, and whether it is a match.
    held: Option<(Range<usize>, bool)>,
}

impl Joiner {
    pub(super) fn new(behavior: Behavior) -> Self {
        Joiner { behavior, held: None }
    }

    /// Takes the next part of the text.
    pub(super) fn push(
        &mut self,
        part: Range<usize>,
        is_match: bool,
        word: &mut dyn FnMut(Range<usize>) -> Result<(), TokenizerError>,
    ) -> Result<(), TokenizerError> {
        let joins = |was_match: bool| match self.behavior {
            Behavior::Removed | Behavior::Isolated => false,
            Behavior::MergedWithPrevious => is_match && !was_match,
            Behavior::MergedWithNext => was_match && !is_match,
            Behavior::Contiguous => is_match == was_match,
        };
        if self.behavior == Behavior::Removed && is_match {
            return Ok(());
        }
        match self.held.as_mut().filter(|(_, was_match)| joins(*was_match)) {
            Some((held, was_match)) => (held.end, *was_match) = (part.end, is_match),
            None => {
                if let Some((held, _)) = self.held.replace((part, is_match)) {
                    word(held)?;
                }
            }
        }
        Ok(())
    }

    /// Ends the text.
    pub(super) fn finish(
        self,
        word: &mut dyn FnMut(Range<usize>) -> Result<(), TokenizerError>,
    ) -> Result<(), TokenizerError> {
        self.held.map_or(Ok(()), |(held, _)| word(held))
    }
}
