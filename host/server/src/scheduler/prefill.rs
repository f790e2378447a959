//! Prompts in prefill, and how a step's tokens are shared among them.

use super::event::TokenLogprobs;
use super::job::{Job, Task};
use crate::runner::RunnerSession;

/// A job whose prompt is being processed.
pub(super) struct Prefill<S> {
    pub(super) job: Job,
    pub(super) session: S,
    /// Sum of the hidden states so far, for an embedding.
    pub(super) sum: Vec<f64>,
    /// Log probabilities of the prompt's tokens so far, from the second on, if the job asks for them.
    pub(super) scores: Vec<TokenLogprobs>,
    /// Pages reserved for it.
    pub(super) pages: u64,
}

impl<S: RunnerSession> Prefill<S> {
    /// Tokens of the prompt that are left to process before generation.
    pub(super) fn left(&self) -> usize {
        match self.job.task {
            Task::Generate(_) => self.job.prompt.len() - self.session.position(),
            Task::Embed(_) => 0,
        }
    }
}

/// How many tokens of each prompt to process in a step of `room` prompt tokens, of which `rows` may be scored. The prompt
/// with the least left goes first, with up to half of the room, so that it does not wait for a long one; the rest goes by
/// order of arrival.
pub(super) fn shares<S: RunnerSession>(
    prefills: &[Prefill<S>],
    mut room: usize,
    mut rows: usize,
) -> Vec<usize> {
    let mut shares = vec![0; prefills.len()];
    let lefts = || prefills.iter().map(Prefill::left).enumerate().filter(|&(_, left)| left > 0);
    let first = lefts().min_by_key(|&(_, left)| left);
    let first = first.map(|(index, left)| (index, left.min(room.div_ceil(2))));
    for (index, most) in first.into_iter().chain(lefts()) {
        let scored = prefills[index].job.scores.is_some();
        let most = most.min(prefills[index].left() - shares[index]).min(room);
        let share = if scored { most.min(rows) } else { most };
        shares[index] += share;
        room -= share;
        rows -= if scored { share } else { 0 };
    }
    shares
}
