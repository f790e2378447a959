//! Whose preparation is next. Clients take turns, and none of them occupies more than half of the slots.

use super::{Interrupt, Rules, Unprepared};
use crate::access::Client;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Does a preparation, or tells its request why it will not be done.
pub(super) type Work = Box<dyn FnOnce(Result<Interrupt, Unprepared>) + Send>;

/// The preparations that wait, and those that run.
#[derive(Debug)]
pub(super) struct Turns {
    rules: Rules,
    /// Clients in the order of their turns, each with at least one preparation.
    waiting: VecDeque<(Client, VecDeque<Waiting>)>,
    running: Vec<Running>,
    /// How many have entered.
    entered: u64,
}

struct Waiting {
    id: u64,
    deadline: Instant,
    work: Work,
}

#[derive(Debug)]
struct Running {
    id: u64,
    client: Client,
    interrupt: Interrupt,
    given_up: Option<Instant>,
}

/// What a preparation was doing when its request left.
pub(super) enum Left {
    Waiting(Work),
    /// It goes on until it notices.
    Running,
    Ended,
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Turns {
    pub(super) fn new(rules: Rules) -> Self {
        Turns { rules, waiting: VecDeque::new(), running: Vec::new(), entered: 0 }
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.iter().map(|(_, queue)| queue.len()).sum()
    }

    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// Adds a preparation. Returns its id, and, if it takes the place of another one in a full queue, that one.
    ///
    /// # Errors
    /// [`Unprepared::QueueFull`] or [`Unprepared::Stuck`].
    pub(super) fn enter(
        &mut self,
        client: &Client,
        deadline: Instant,
        work: Work,
    ) -> Result<(u64, Option<(Work, Unprepared)>), Unprepared> {
        if self.is_stuck(client) {
            return Err(Unprepared::Stuck);
        }
        let waiting = self.waiting();
        let idle = self.rules.slots.saturating_sub(self.running.len());
        let refused = if waiting < self.rules.queue + idle {
            None
        } else {
            let full = Unprepared::QueueFull { waiting };
            Some((self.displace(client).ok_or(full)?, full))
        };
        self.entered += 1;
        let (id, added) = (self.entered, Waiting { id: self.entered, deadline, work });
        match self.waiting.iter_mut().find(|(other, _)| other == client) {
            Some((_, queue)) => queue.push_back(added),
            None => self.waiting.push_back((*client, VecDeque::from([added]))),
        }
        Ok((id, refused))
    }

    /// Makes room in a full queue for `client`: takes the newest preparation of the client with the most, if `client` has
    /// fewer even with one more.
    fn displace(&mut self, client: &Client) -> Option<Work> {
        let own = self.waiting.iter().find(|(other, _)| other == client).map_or(0, |(_, queue)| queue.len());
        let (_, longest) = self.waiting.iter_mut().max_by_key(|(_, queue)| queue.len())?;
        if longest.len() <= own + 1 {
            return None;
        }
        longest.pop_back().map(|waiting| waiting.work)
    }

    /// Starts the next preparation, if there is a slot for one.
    pub(super) fn next(&mut self) -> Option<(u64, Work, Interrupt)> {
        if self.running.len() >= self.rules.slots {
            return None;
        }
        let at = self.waiting.iter().position(|(client, _)| self.running_of(client) < self.share())?;
        let (client, mut queue) = self.waiting.remove(at)?;
        let Waiting { id, deadline, work } = queue.pop_front()?;
        if !queue.is_empty() {
            self.waiting.push_back((client, queue));
        }
        let limit = Instant::now() + self.rules.time;
        let overdue = if deadline <= limit {
            Unprepared::Timeout
        } else {
            Unprepared::TooSlow { seconds: self.rules.time.as_secs() }
        };
        let interrupt = Interrupt { given_up: Arc::default(), until: deadline.min(limit), overdue };
        self.running.push(Running { id, client, interrupt: interrupt.clone(), given_up: None });
        Some((id, work, interrupt))
    }

    /// Frees the slot of a preparation that has returned.
    pub(super) fn end(&mut self, id: u64) {
        self.running.retain(|running| running.id != id);
    }

    /// Gives up a preparation whose request has left.
    pub(super) fn leave(&mut self, id: u64) -> Left {
        if let Some(running) = self.running.iter_mut().find(|running| running.id == id) {
            running.given_up = Some(Instant::now());
            running.interrupt.given_up.store(true, Ordering::Relaxed);
            return Left::Running;
        }
        for at in 0..self.waiting.len() {
            let queue = &mut self.waiting[at].1;
            if let Some(place) = queue.iter().position(|waiting| waiting.id == id) {
                let removed = queue.remove(place);
                if queue.is_empty() {
                    self.waiting.remove(at);
                }
                return removed.map_or(Left::Ended, |waiting| Left::Waiting(waiting.work));
            }
        }
        Left::Ended
    }

    /// Why the request of a preparation must not wait for it any longer, if so.
    pub(super) fn overdue(&self, id: u64) -> Option<Unprepared> {
        let now = Instant::now();
        if let Some(running) = self.running.iter().find(|running| running.id == id) {
            return (now >= running.interrupt.until).then_some(running.interrupt.overdue);
        }
        let (client, waiting) = self
            .waiting
            .iter()
            .find_map(|(client, queue)| Some((client, queue.iter().find(|waiting| waiting.id == id)?)))?;
        if now >= waiting.deadline {
            Some(Unprepared::Timeout)
        } else {
            self.is_stuck(client).then_some(Unprepared::Stuck)
        }
    }

    /// Slots that one client may occupy.
    fn share(&self) -> usize {
        (self.rules.slots / 2).max(1)
    }

    fn running_of(&self, client: &Client) -> usize {
        self.running.iter().filter(|running| running.client == *client).count()
    }

    /// Whether work that was given up, but does not return, occupies all slots that `client` could get.
    fn is_stuck(&self, client: &Client) -> bool {
        let stuck =
            |running: &&Running| running.given_up.is_some_and(|since| since.elapsed() >= self.rules.grace);
        let all = self.running.iter().filter(stuck);
        let own = all.clone().filter(|running| running.client == *client);
        all.count() >= self.rules.slots || own.count() >= self.share()
    }
}
