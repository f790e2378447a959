//! Admission: which sequence gets the next place, and which one gives it up.
//!
//! Places (`--parallel`) and memory (`--kv-memory`) are shared among clients, not among requests. A client may use all that
//! others do not want. When another comes, the newest sequences of the client with the most are paused until both have
//! the same number; they go on when places are free again. A paused sequence keeps its KV cache, unless the memory is
//! wanted as well: then it is dropped, and computed again later. Neither changes a bit of any answer.

use super::event::{Event, Failure};
use super::job::{Job, Task};
use super::sequence::{Prompt, Sequence, Stage};
use super::turns::QUANTUM;
use super::worker::Worker;
use crate::access::Client;
use crate::runner::{Runner, RunnerError, RunnerSession};
use edgellm::TokenId;
use std::collections::HashSet;
use std::sync::Arc;

/// Tokens that a sequence generates before its KV cache is dropped for a client that has as many: if they were fewer, two
/// that do not fit together would only ever process their prompts.
const PROGRESS: usize = 16;

/// What came of an attempt to start a client's next sequence.
enum Attempt {
    Started,
    NoPlace,
    NoMemory,
}

impl<R: Runner> Worker<R> {
    /// Starts whatever there is room for, one sequence of a client after the other.
    pub(super) fn admit(&mut self) {
        let present = self.sequences().map(|sequence| sequence.client).collect::<HashSet<_>>();
        let present = present.into_iter().chain(self.shared.queue().clients()).collect();
        self.turns.update(&present);
        let (mut passed, mut most) = (Vec::new(), u64::MAX);
        while let Some(client) = self.next_client(&passed, most) {
            match self.start_next(client) {
                Attempt::Started => continue,
                Attempt::NoPlace => {}
                // Clients that have used more do not take the memory that becomes free: it might never be enough.
                Attempt::NoMemory => most = most.min(self.turns.used(client) + QUANTUM),
            }
            passed.push(client);
        }
    }

    /// The client whose turn it is, of those that have not `passed` and have used at most `most`: the one with the fewest
    /// places, and of these the one that has used the least.
    fn next_client(&self, passed: &[Client], most: u64) -> Option<Client> {
        let queue = self.shared.queue();
        let clients = self.paused.iter().map(|sequence| sequence.client).chain(queue.clients());
        let able = |client: &Client| !passed.contains(client) && self.turns.used(*client) <= most;
        clients.filter(able).min_by_key(|&client| (self.places(client), self.turns.used(client)))
    }

    /// Places that a client has.
    fn places(&self, client: Client) -> usize {
        self.running.iter().filter(|sequence| sequence.client == client).count()
    }

    /// Starts the next sequence of a client, if it can have a place and memory: the first that was paused, or the next in
    /// the queue.
    fn start_next(&mut self, client: Client) -> Attempt {
        let paused = (0..self.paused.len()).filter(|&at| self.paused[at].client == client);
        let paused = paused.min_by_key(|&at| self.paused[at].number);
        let pages = match paused {
            Some(at) if self.paused[at].resident => 0,
            Some(at) => self.paused[at].pages,
            None => match self.shared.queue().next(client) {
                Some(job) if self.may_begin(job) => job.pages(),
                _ => return Attempt::NoPlace,
            },
        };
        let full = self.running.len() >= self.limits.parallel;
        if full && self.to_pause(client).is_none() {
            return Attempt::NoPlace;
        }
        let Some(evicted) = self.to_evict(client, pages) else { return Attempt::NoMemory };
        // Numbers, because positions change.
        let paused = paused.map(|at| self.paused[at].number);
        if let Err(error) = evicted.into_iter().try_for_each(|number| self.evict(number)) {
            tracing::error!(%error, "the model failed at dropping a sequence");
            self.fail_all(&Arc::new(error).into());
            return Attempt::NoPlace;
        }
        if self.running.len() >= self.limits.parallel
            && let Some(at) = self.to_pause(client)
        {
            let sequence = self.running.remove(at);
            self.paused.push(sequence);
        }
        let needed = self.reserved() + self.cost.bytes(pages);
        self.kept.shrink(self.limits.prefix_memory.min(self.limits.kv_memory.saturating_sub(needed)));
        match paused {
            Some(number) => self.resume(number),
            None => self.begin_next(client, pages),
        }
        Attempt::Started
    }

    /// Whether a job from the queue may begin beside what its client has running: all choices of a prompt are to have
    /// places before the next prompt begins, and embeddings are computed one at a time.
    fn may_begin(&self, job: &Job) -> bool {
        let own = || self.running.iter().filter(|sequence| sequence.client == job.client);
        own().map(Sequence::places).sum::<usize>() < self.limits.parallel
            && !(job.embeds() && own().any(Sequence::embeds))
    }

    /// The running sequence that gives its place to `client`, if one does: the newest of the client with the most.
    fn to_pause(&self, client: Client) -> Option<usize> {
        let own = self.places(client);
        let places = |at: usize| self.places(self.running[at].client);
        let yields = |&at: &usize| self.turns.yields((self.running[at].client, places(at)), (client, own));
        (0..self.running.len())
            .filter(yields)
            .max_by_key(|&at| (places(at), self.turns.used(self.running[at].client), self.running[at].number))
    }

    /// The sequences whose KV caches are dropped so that `client` gets `pages`; `None` if that is not possible now.
    fn to_evict(&self, client: Client, pages: u64) -> Option<Vec<u64>> {
        let (mut reserved, wanted) = (self.reserved(), self.cost.bytes(pages));
        let mut evicted = Vec::new();
        while wanted > 0 && reserved + wanted > self.limits.kv_memory {
            let resident = self.sequences().filter(|s| s.resident && !evicted.contains(&s.number));
            let holds = |client: Client| resident.clone().filter(|s| s.client == client).count();
            let own = holds(client);
            let yields = |sequence: &&Sequence<_>| {
                let theirs = (sequence.client, holds(sequence.client));
                let other = sequence.client != client;
                let equal = sequence.gained >= PROGRESS && self.turns.yields(theirs, (client, own));
                // If nothing runs, something must.
                self.running.is_empty() || (other && (theirs.1 > own + 1 || equal))
            };
            let victim = resident.clone().filter(yields).max_by_key(|s| (holds(s.client), s.number))?;
            evicted.push(victim.number);
            reserved -= self.cost.bytes(victim.pages);
        }
        Some(evicted)
    }

    /// Drops the KV cache of a sequence, which is paused if it is not.
    fn evict(&mut self, number: u64) -> Result<(), RunnerError> {
        let running = self.running.iter().position(|sequence| sequence.number == number);
        self.paused.extend(running.map(|at| self.running.remove(at)));
        let sequence = self.paused.iter_mut().find(|sequence| sequence.number == number);
        sequence.map_or(Ok(()), Sequence::evict)
    }

    /// Bytes that sequences may come to need.
    pub(super) fn reserved(&self) -> u64 {
        let resident = self.sequences().filter(|sequence| sequence.resident);
        resident.map(|sequence| self.cost.bytes(sequence.pages)).sum::<u64>()
    }

    /// Lets a paused sequence go on.
    fn resume(&mut self, number: u64) {
        let Some(at) = self.paused.iter().position(|sequence| sequence.number == number) else { return };
        let mut sequence = self.paused.remove(at);
        if !sequence.resident {
            (sequence.resident, sequence.gained) = (true, 0);
            if !sequence.is_scored()
                && !sequence.embeds()
                && let Some(session) = self.cached(&sequence.tokens)
            {
                sequence.session = session;
            }
        }
        self.running.push(sequence);
    }

    /// A session that holds the beginning of `tokens`, if there is one to take or to copy.
    fn cached(&mut self, tokens: &[TokenId]) -> Option<R::Session> {
        let others = self.running.iter().chain(&self.paused);
        self.kept.take(tokens, others.map(|other| (other.tokens.as_slice(), &other.session)))
    }

    /// Takes a client's next job from the queue, and starts to process its prompt.
    pub(super) fn begin_next(&mut self, client: Client, pages: u64) {
        let Some(mut job) = self.shared.queue().take(client) else { return };
        if job.pages() > pages || !self.may_begin(&job) {
            // Another request took the place of the one that there is room for, in a full queue just now.
            return self.shared.queue().put_back(job);
        }
        let tokens = std::mem::take(&mut job.prompt);
        // The prefix cache holds only keys and values: no logits, nor hidden states.
        let cacheable = job.scoring().is_none() && !job.embeds();
        let found = if cacheable { self.cached(&tokens) } else { None };
        let session = match found.map_or_else(|| self.session(), Ok) {
            Ok(session) => session,
            Err(error) => {
                let _ = job.events.send(Event::Failed(Failure::Runner(Arc::new(error))));
                return;
            }
        };
        if !job.begun {
            let cached = session.position();
            self.metrics.queue_time.observe(job.arrived.elapsed().as_secs_f64());
            self.metrics.prompt_tokens.inc_by(tokens.len() as u64);
            self.metrics.cached_tokens.inc_by(cached as u64);
            // The next sweep finds out whether the client is still there.
            let _ = job.events.send(Event::Started { cached });
        }
        let sum = match job.task {
            Task::Embed(_) => vec![0.0; self.model.config().hidden_size],
            Task::Generate(_) => Vec::new(),
        };
        let (events, deadline) = (job.events.clone(), job.deadline);
        let stage = Stage::Prompt(Prompt { job, sum, scores: Vec::new() });
        let number = self.number();
        self.running.push(Sequence {
            number,
            client,
            session,
            tokens,
            stage,
            events,
            deadline,
            pages,
            resident: true,
            gained: 0,
        });
    }

    /// The number of the next sequence.
    pub(super) fn number(&mut self) -> u64 {
        self.started += 1;
        self.started
    }
}
