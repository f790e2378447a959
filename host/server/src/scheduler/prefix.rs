//! The prefix cache: sessions of finished sequences, for prompts that begin with the same tokens.

use crate::runner::RunnerSession;
use edgellm::TokenId;

/// Sessions with their tokens, the least recently used first.
#[derive(Debug)]
pub(super) struct PrefixCache<S> {
    entries: Vec<Entry<S>>,
}

#[derive(Debug)]
struct Entry<S> {
    tokens: Vec<TokenId>,
    session: S,
}

impl<S> Default for PrefixCache<S> {
    fn default() -> Self {
        PrefixCache { entries: Vec::new() }
    }
}

/// Common prefixes shorter than this are not worth copying.
const WORTH_COPYING: usize = 16;

impl<S: RunnerSession> PrefixCache<S> {
    /// A session that holds the longest known prefix of `prompt`, but never all of it: processing the last token gives
    /// the logits. `others` are running sequences, from which a prefix can be copied.
    pub(super) fn take<'a>(
        &mut self,
        prompt: &[TokenId],
        others: impl Iterator<Item = (&'a [TokenId], &'a S)>,
    ) -> Option<S> {
        let usable = |tokens: &[TokenId]| common(tokens, prompt).min(prompt.len().saturating_sub(1));
        let kept = (0..self.entries.len()).map(|at| (usable(&self.entries[at].tokens), at)).max();
        let other = others
            .map(|(tokens, session)| (usable(tokens).min(session.position()), session))
            .max_by_key(|&(length, _)| length);
        let longest = kept.map_or(0, |(length, _)| length);
        if let Some((length, session)) = other
            && length > longest
            && length >= WORTH_COPYING
        {
            return session.fork(length).ok();
        }
        let (length, at) = kept.filter(|&(length, _)| length > 0)?;
        let whole = self.entries[at].tokens.len();
        if 2 * length >= whole {
            // The conversation continues, or its last turn is repeated.
            let mut session = self.entries.remove(at).session;
            session.truncate(length);
            return Some(session);
        }
        // Another conversation with the same prefix: the cached one may continue as well.
        if length < WORTH_COPYING {
            return None;
        }
        let entry = self.entries.remove(at);
        let fork = entry.session.fork(length);
        self.entries.push(entry);
        fork.ok()
    }

    /// Adds a session that holds exactly `tokens`.
    pub(super) fn keep(&mut self, tokens: Vec<TokenId>, session: S) {
        debug_assert_eq!(tokens.len(), session.position());
        if session.position() == 0 {
            return;
        }
        // Entries that are prefixes of this one are of no more use.
        self.entries.retain(|entry| common(&entry.tokens, &tokens) < entry.tokens.len());
        self.entries.push(Entry { tokens, session });
    }

    /// Drops the least recently used sessions until at most `bytes` are held.
    pub(super) fn shrink(&mut self, bytes: u64) {
        let mut held = self.bytes();
        let count = self
            .entries
            .iter()
            .take_while(|entry| {
                let over = held > bytes;
                held -= if over { entry.session.cache_bytes() } else { 0 };
                over
            })
            .count();
        self.entries.drain(..count);
    }

    /// Bytes of all caches held.
    pub(super) fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.session.cache_bytes()).sum()
    }
}

/// Length of the common prefix.
fn common(a: &[TokenId], b: &[TokenId]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
