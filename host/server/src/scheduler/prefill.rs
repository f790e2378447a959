//! Prompts in prefill, and how a step's tokens are shared among them.

use super::job::{Job, Task};
use crate::runner::RunnerSession;

/// A job whose prompt is being processed.
pub(super) struct Prefill<S> {
    pub(super) job: Job,
    pub(super) session: S,
    /// Sum of the hidden states so far, for an embedding.
    pub(super) sum: Vec<f64>,
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

/// How many tokens of each prompt to process in a step of `room` prompt tokens. The prompt with the least left goes
/// first, with up to half of the room, so that it does not wait for a long one; the rest goes by order of arrival.
pub(super) fn shares<S: RunnerSession>(prefills: &[Prefill<S>], mut room: usize) -> Vec<usize> {
    let mut shares = vec![0; prefills.len()];
    let lefts = || prefills.iter().map(Prefill::left).enumerate().filter(|&(_, left)| left > 0);
    if let Some((index, left)) = lefts().min_by_key(|&(_, left)| left) {
        shares[index] = left.min(room.div_ceil(2));
        room -= shares[index];
    }
    for (index, left) in lefts() {
        let more = (left - shares[index]).min(room);
        shares[index] += more;
        room -= more;
    }
    shares
}
