//! Preparation of requests: reading JSON, rendering templates, tokenizing, compiling grammars.
//!
//! All of it happens on a few threads, the preparation slots, so that no number of requests takes more of the machine than
//! these. Clients take turns ([`turns`]). A preparation is given up when its client leaves or its time is over: one that
//! waits is removed, and one that runs sees its [`Interrupt`]. Its slot stays occupied until it returns, since a thread
//! cannot be ended from outside.

#[cfg(test)]
mod tests;
mod turns;

use crate::access::Client;
use crate::metrics::Metrics;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};
use tokio::sync::oneshot;
use turns::{Left, Turns};

/// Stack of a slot's thread.
const STACK: usize = 8 << 20;
/// How often a request looks whether its preparation is overdue; work that looks itself is stopped sooner.
const TICK: Duration = Duration::from_millis(100);

/// How preparations share the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Preparations that run at the same time; one client gets at most half of them.
    pub(crate) slots: usize,
    /// Those that wait.
    pub(crate) queue: usize,
    /// Time limit of one that runs.
    pub(crate) time: Duration,
    /// How long one may go on after it is given up, before it counts as stuck.
    pub(crate) grace: Duration,
}

/// Why a request was not prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unprepared {
    #[error("{waiting} requests are already in the queue: try again later")]
    QueueFull { waiting: usize },
    #[error(
        "work on earlier requests cannot be stopped and leaves no room to prepare this one: try again later"
    )]
    Stuck,
    /// The time limit of the whole request.
    #[error("the request waited too long for its turn: try again later")]
    Timeout,
    #[error(
        "preparing the request takes longer than {seconds} s: shorten its texts, or simplify its schemas and tools"
    )]
    TooSlow { seconds: u64 },
    #[error("the client has left")]
    GivenUp,
    #[error("the request could not be prepared")]
    Panicked,
}

/// The preparation slots of a server. When it is dropped, their threads end after the work that they have.
#[derive(Debug)]
pub(crate) struct Preparations(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    turns: Mutex<Turns>,
    /// Wakes a thread without work.
    entered: Condvar,
    closed: AtomicBool,
    metrics: Metrics,
}

/// Tells work on a slot when nobody wants its result any more.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    given_up: Arc<AtomicBool>,
    until: Instant,
    /// What it means that the time is over.
    overdue: Unprepared,
}

impl Rules {
    /// Of the slots of this machine: small machines have two, so that one client never has all of them, large ones four.
    pub(crate) fn new(queue: usize, time: Duration) -> Self {
        let slots = thread::available_parallelism().map_or(2, |cores| cores.get() / 4).clamp(2, 4);
        Rules { slots, queue, time, grace: Duration::from_secs(1) }
    }
}

impl Preparations {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the operating system does not start one.
    pub(crate) fn start(rules: Rules, metrics: Metrics) -> io::Result<Self> {
        let (turns, entered) = (Mutex::new(Turns::new(rules)), Condvar::new());
        let shared = Arc::new(Shared { turns, entered, closed: AtomicBool::new(false), metrics });
        let preparations = Preparations(shared);
        for _ in 0..rules.slots {
            let shared = Arc::clone(&preparations.0);
            let thread = thread::Builder::new().name("preparation".into()).stack_size(STACK);
            thread.spawn(move || shared.work())?;
        }
        Ok(preparations)
    }

    /// Runs `work` for `client` on a slot. When the future is dropped, the work is given up.
    ///
    /// # Errors
    /// [`Unprepared`] if the work did not begin, or did not end by `deadline` and within its time limit.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        client: &Client,
        deadline: Instant,
        work: impl FnOnce(Interrupt) -> T + Send + 'static,
    ) -> Result<T, Unprepared> {
        let (sender, mut receiver) = oneshot::channel();
        let work = move |start: Result<Interrupt, Unprepared>| {
            // Nobody may be there to receive it.
            let _ = sender.send(start.map(work));
        };
        let (id, refused) = self.0.turns(|turns| turns.enter(client, deadline, Box::new(work)))?;
        if let Some((work, reason)) = refused {
            work(Err(reason));
        }
        self.0.entered.notify_one();
        let mut ticket = Ticket { shared: &self.0, id, ended: false };
        loop {
            match tokio::time::timeout(TICK, &mut receiver).await {
                Ok(result) => {
                    ticket.ended = true;
                    return result.unwrap_or(Err(Unprepared::Panicked));
                }
                Err(_) => self.0.turns(|turns| turns.overdue(id)).map_or(Ok(()), Err)?,
            }
        }
    }
}

impl Drop for Preparations {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Release);
        // A thread that has just seen the old value still holds the lock; it waits before this returns.
        drop(self.0.lock());
        self.0.entered.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the turns, and shows the change in the metrics.
    fn turns<T>(&self, change: impl FnOnce(&mut Turns) -> T) -> T {
        let mut turns = self.lock();
        let result = change(&mut turns);
        self.show(&turns);
        result
    }

    fn show(&self, turns: &Turns) {
        self.metrics.preparations_waiting.set(turns.waiting() as i64);
        self.metrics.preparations_running.set(turns.running() as i64);
    }

    /// A slot: one preparation after the other.
    fn work(&self) {
        let mut turns = self.lock();
        while !self.closed.load(Ordering::Acquire) {
            let Some((id, work, interrupt)) = turns.next() else {
                turns = self.entered.wait(turns).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            self.show(&turns);
            drop(turns);
            if catch_unwind(AssertUnwindSafe(|| work(Ok(interrupt)))).is_err() {
                tracing::error!("the preparation of a request panicked");
            }
            turns = self.lock();
            turns.end(id);
            self.show(&turns);
        }
    }
}

/// A request's place among the preparations.
struct Ticket<'a> {
    shared: &'a Shared,
    id: u64,
    ended: bool,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // What waits is dropped outside the lock: it may be large.
        match self.shared.turns(|turns| turns.leave(self.id)) {
            Left::Waiting(work) => drop(work),
            Left::Running => self.shared.metrics.preparations_given_up.inc(),
            Left::Ended => {}
        }
    }
}

impl Interrupt {
    /// Whether to stop.
    pub(crate) fn raised(&self) -> bool {
        self.given_up.load(Ordering::Relaxed) || Instant::now() >= self.until
    }

    /// Goes on, or says why not.
    ///
    /// # Errors
    /// [`Unprepared::GivenUp`], [`Unprepared::Timeout`] or [`Unprepared::TooSlow`].
    pub(crate) fn check(&self) -> Result<(), Unprepared> {
        if self.raised() { Err(self.reason()) } else { Ok(()) }
    }

    /// Why to stop.
    pub(crate) fn reason(&self) -> Unprepared {
        if self.given_up.load(Ordering::Relaxed) { Unprepared::GivenUp } else { self.overdue }
    }
}
