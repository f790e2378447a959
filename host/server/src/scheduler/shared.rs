//! State that the server and a scheduler's thread share.

use super::Refused;
use super::event::{Event, Failure};
use super::queue::{Queue, Request};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// State that the server and a scheduler's thread share.
#[derive(Debug)]
pub(super) struct Shared {
    queue: Mutex<Queue>,
    /// Signals that a request has arrived, or that none can any more.
    arrival: Condvar,
    closed: AtomicBool,
    /// Sequences that run or are paused.
    pub(super) active: AtomicUsize,
    /// Ends all jobs and sequences at once.
    pub(super) abort: AtomicBool,
}

impl Shared {
    /// With a queue of `capacity` requests.
    pub(super) fn new(capacity: usize) -> Self {
        Shared {
            queue: Mutex::new(Queue::new(capacity)),
            arrival: Condvar::new(),
            closed: AtomicBool::new(false),
            active: AtomicUsize::new(0),
            abort: AtomicBool::new(false),
        }
    }

    /// The queue, to be held for a moment only.
    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a request.
    ///
    /// # Errors
    /// [`Refused`] if there is no room, or the scheduler has ended.
    pub(super) fn submit(&self, request: Request) -> Result<(), Refused> {
        let mut queue = self.queue();
        if self.closed.load(Ordering::Acquire) {
            return Err(Refused::Closed);
        }
        let displaced = queue.push(request)?;
        drop(queue);
        self.arrival.notify_one();
        if let Some(job) = displaced.into_iter().flatten().next() {
            // Nothing is lost if its client has left.
            let _ = job.events.send(Event::Failed(Failure::Displaced));
        }
        Ok(())
    }

    /// Waits for a request; `false` if no more can arrive.
    pub(super) fn wait(&self) -> bool {
        let idle = |queue: &mut Queue| queue.len() == 0 && !self.closed.load(Ordering::Acquire);
        let queue = self.arrival.wait_while(self.queue(), idle).unwrap_or_else(PoisonError::into_inner);
        queue.len() > 0
    }

    /// Lets no more requests arrive.
    pub(super) fn close(&self) {
        let queue = self.queue();
        self.closed.store(true, Ordering::Release);
        drop(queue);
        self.arrival.notify_all();
    }
}
