//! The queue: requests that wait, by client.

use super::Refused;
use super::job::Job;
use crate::access::Client;
use std::collections::VecDeque;

/// The jobs of a request that have not begun, at least one. However many they are, it counts once.
pub(super) type Request = VecDeque<Job>;

/// Requests that wait. Each client has a queue of its own, and all share the room.
#[derive(Debug)]
pub(super) struct Queue {
    capacity: usize,
    /// Clients that have a request, by order of arrival.
    clients: Vec<(Client, VecDeque<Request>)>,
}

impl Queue {
    /// With room for `capacity` requests.
    pub(super) fn new(capacity: usize) -> Self {
        Queue { capacity, clients: Vec::new() }
    }

    /// How many requests wait.
    pub(super) fn len(&self) -> usize {
        self.clients.iter().map(|(_, requests)| requests.len()).sum()
    }

    /// The clients of these, by order of arrival.
    pub(super) fn clients(&self) -> impl Iterator<Item = Client> {
        self.clients.iter().map(|&(client, _)| client)
    }

    /// Adds a request. In a full queue the client with the most requests gives up its newest one, which is returned,
    /// unless this client would then have as many: so nobody is refused because of what one other client sends.
    ///
    /// # Errors
    /// [`Refused::QueueFull`].
    pub(super) fn push(&mut self, request: Request) -> Result<Option<Request>, Refused> {
        let Some(client) = request.front().map(|job| job.client) else { return Ok(None) };
        let mut displaced = None;
        let waiting = self.len();
        if waiting >= self.capacity {
            let own = self.of(client).map_or(0, VecDeque::len);
            let most = self.clients.iter_mut().max_by_key(|(_, requests)| requests.len());
            let most = most.filter(|(_, requests)| requests.len() > own + 1);
            let (_, requests) = most.ok_or(Refused::QueueFull { waiting })?;
            let newest = (0..requests.len()).max_by_key(|&at| requests[at].front().map(|job| job.arrived));
            displaced = newest.and_then(|at| requests.remove(at));
        }
        self.client(client).push_back(request);
        Ok(displaced)
    }

    /// The client's next job.
    pub(super) fn next(&self, client: Client) -> Option<&Job> {
        self.of(client)?.front()?.front()
    }

    /// Takes the client's next job. A request that has more lets the client's other requests go first.
    pub(super) fn take(&mut self, client: Client) -> Option<Job> {
        let at = self.clients.iter().position(|(other, _)| *other == client)?;
        let requests = &mut self.clients[at].1;
        let mut request = requests.pop_front()?;
        let job = request.pop_front();
        if !request.is_empty() {
            requests.push_back(request);
        }
        if requests.is_empty() {
            self.clients.remove(at);
        }
        job
    }

    /// Puts back a job of which only a part could begin, as its client's next.
    pub(super) fn put_back(&mut self, job: Job) {
        let requests = self.client(job.client);
        let same = |request: &Request| request.iter().any(|other| other.events.same_channel(&job.events));
        let mut request =
            requests.iter().position(same).and_then(|at| requests.remove(at)).unwrap_or_default();
        request.push_front(job);
        requests.push_front(request);
    }

    /// Removes the requests that are `over`, which looks at the first job of each.
    pub(super) fn remove(&mut self, over: impl Fn(&Job) -> bool) -> Vec<Request> {
        let mut removed = Vec::new();
        for (_, requests) in &mut self.clients {
            let is_over = |request: &mut Request| request.front().is_none_or(&over);
            while let Some(at) = requests.iter_mut().position(is_over) {
                removed.extend(requests.remove(at));
            }
        }
        self.clients.retain(|(_, requests)| !requests.is_empty());
        removed
    }

    fn of(&self, client: Client) -> Option<&VecDeque<Request>> {
        self.clients.iter().find(|(other, _)| *other == client).map(|(_, requests)| requests)
    }

    /// The client's queue, which is added if there is none.
    fn client(&mut self, client: Client) -> &mut VecDeque<Request> {
        let at = self.clients.iter().position(|(other, _)| *other == client).unwrap_or_else(|| {
            self.clients.push((client, VecDeque::new()));
            self.clients.len() - 1
        });
        &mut self.clients[at].1
    }
}
