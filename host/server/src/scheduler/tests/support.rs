//! A scheduler that is driven step by step, and requests to it.

use super::super::event::{Event, Failure};
use super::super::job::{Choice, Job, Task};
use super::super::queue::Request;
use super::super::shared::Shared;
use super::super::worker::Worker;
use crate::access::Client;
use crate::metrics::Metrics;
use crate::options::Limits;
use crate::runner::Native;
use edgellm::generate::{Decoder, FinishReason};
use edgellm::sampler::{Sampler, SamplerOptions};
use edgellm::testing::{recipes, seeded_model};
use edgellm::{Model, SessionOptions, TokenId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

pub(super) const CONTEXT: usize = 512;

/// The scheduler of a small model, without its thread.
pub(super) struct Bench {
    pub(super) model: Model,
    pub(super) worker: Worker<Native>,
    pub(super) shared: Arc<Shared>,
    /// Whether KV caches were dropped.
    pub(super) evicted: bool,
    /// Whether sequences were paused.
    pub(super) paused: bool,
}

/// Limits that let a single client do as it likes.
pub(super) fn limits(parallel: usize) -> Limits {
    Limits { parallel, prefix_memory: 0, ..Limits::default() }
}

impl Bench {
    pub(super) fn new(limits: Limits) -> Self {
        let model = Model::from_bytes(seeded_model(recipes()[0], 1).unwrap()).unwrap();
        let shared = Arc::new(Shared::new(limits.queue));
        let options = SessionOptions { context_length: Some(CONTEXT), ..SessionOptions::default() };
        let metrics = Metrics::new().unwrap().model("seeded");
        let runner = Native::new(&model);
        let worker = Worker::new(&model, runner, options, limits, metrics, Arc::clone(&shared)).unwrap();
        Bench { model, worker, shared, evicted: false, paused: false }
    }

    /// The same with memory for `pages`.
    pub(super) fn with_pages(limits: Limits, pages: u64) -> Self {
        let page_bytes = Bench::new(limits).worker.cost.page;
        Bench::new(Limits { kv_memory: pages * page_bytes, ..limits })
    }

    /// Queues a request.
    pub(super) fn submit(&mut self, client: usize, ask: &Ask) -> Answer {
        let (request, answer) = ask.request(&self.model, client);
        self.shared.submit(request).unwrap();
        answer
    }

    pub(super) fn step(&mut self) {
        self.worker.step();
        self.paused |= !self.worker.paused.is_empty();
        self.evicted |= self.worker.sequences().any(|sequence| !sequence.resident);
        assert!(self.worker.running.len() <= self.worker.limits.parallel);
        assert!(self.worker.reserved() + self.worker.kept.bytes() <= self.worker.limits.kv_memory);
        for sequence in self.worker.sequences() {
            let own = self.worker.running.iter().filter(|other| other.client == sequence.client);
            assert!(own.filter(|other| other.embeds()).count() <= 1, "embeddings take one place");
            assert!(sequence.resident || sequence.session.cache_bytes() == 0, "memory that nobody counts");
        }
    }

    /// Steps until all `answers` are complete. The number of steps.
    pub(super) fn finish(&mut self, answers: &mut [Answer]) -> usize {
        for steps in 0..100_000 {
            answers.iter_mut().for_each(Answer::take);
            if answers.iter_mut().all(Answer::is_complete) {
                return steps;
            }
            self.step();
        }
        panic!("the answers never end");
    }
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) prompts: Vec<Vec<TokenId>>,
    pub(super) choices: usize,
    /// `None` for embeddings.
    pub(super) max_tokens: Option<usize>,
    pub(super) scores: Option<usize>,
}

/// A prompt of this length; other seeds begin otherwise.
pub(super) fn prompt(seed: usize, length: usize) -> Vec<TokenId> {
    (0..length).map(|at| ((seed * 31 + at * 7 + at * at) % 200) as TokenId).collect()
}

impl Ask {
    pub(super) fn new(prompts: Vec<Vec<TokenId>>, choices: usize, max_tokens: usize) -> Self {
        Ask { prompts, choices, max_tokens: Some(max_tokens), scores: None }
    }

    pub(super) fn request(&self, model: &Model, client: usize) -> (Request, Answer) {
        let (sender, events) = unbounded_channel();
        let arrived = Instant::now();
        let job = |(at, prompt): (usize, &Vec<TokenId>)| {
            let choice = |index: usize| {
                let options = SamplerOptions { seed: (100 * at + index) as u64, ..SamplerOptions::default() };
                let max_tokens = self.max_tokens.unwrap();
                let mut decoder = Decoder::new(model, Sampler::new(options).unwrap())
                    .max_tokens(max_tokens)
                    .ignore_eos(true)
                    .logprobs(self.scores);
                decoder.accept_prompt(prompt);
                Choice { index: at * self.choices + index, max_tokens, decoder }
            };
            let task = match self.max_tokens {
                Some(_) => Task::Generate((0..self.choices).map(choice).collect()),
                None => Task::Embed(at),
            };
            Job {
                client: Client::Key(client),
                prompt: prompt.clone(),
                task,
                scores: self.scores,
                begun: false,
                arrived,
                deadline: arrived + Duration::from_secs(3600),
                events: sender.clone(),
            }
        };
        let request = self.prompts.iter().enumerate().map(job).collect();
        let open = self.prompts.len() * self.choices;
        (request, Answer { events, open, ..Answer::empty() })
    }
}

/// What has come of a request.
#[derive(Debug)]
pub(super) struct Answer {
    events: UnboundedReceiver<Event>,
    open: usize,
    pub(super) begun: usize,
    pub(super) cached: usize,
    pub(super) tokens: BTreeMap<usize, Vec<TokenId>>,
    pub(super) finished: BTreeMap<usize, FinishReason>,
    pub(super) scores: BTreeMap<usize, Vec<u32>>,
    pub(super) means: BTreeMap<usize, Vec<u32>>,
    pub(super) failure: Option<Failure>,
}

impl Answer {
    fn empty() -> Self {
        let (_, events) = unbounded_channel();
        Answer {
            events,
            open: 0,
            begun: 0,
            cached: 0,
            tokens: BTreeMap::new(),
            finished: BTreeMap::new(),
            scores: BTreeMap::new(),
            means: BTreeMap::new(),
            failure: None,
        }
    }

    /// Takes the events that there are.
    pub(super) fn take(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            match event {
                Event::Started { cached } => {
                    self.begun += 1;
                    self.cached += cached;
                }
                Event::Scored { index, scores } => {
                    let bits = scores.iter().map(|score| score.logprob.to_bits()).collect();
                    assert!(self.scores.insert(index, bits).is_none());
                }
                Event::Token { index, id, .. } => self.tokens.entry(index).or_default().push(id),
                Event::Finished { index, reason } => {
                    assert!(self.finished.insert(index, reason).is_none());
                    self.open -= 1;
                }
                Event::Embedded { index, mean } => {
                    let bits = mean.iter().map(|x| x.to_bits()).collect();
                    assert!(self.means.insert(index, bits).is_none());
                    self.open -= 1;
                }
                Event::Failed(failure) => self.failure = Some(failure),
            }
        }
    }

    /// Whether all of it has come.
    pub(super) fn is_complete(&mut self) -> bool {
        self.take();
        assert!(self.failure.is_none(), "{:?}", self.failure);
        self.open == 0
    }

    /// All results.
    #[expect(clippy::type_complexity, reason = "compared as a whole")]
    pub(super) fn results(
        &self,
    ) -> (&BTreeMap<usize, Vec<TokenId>>, &BTreeMap<usize, Vec<u32>>, &BTreeMap<usize, Vec<u32>>) {
        (&self.tokens, &self.scores, &self.means)
    }
}
