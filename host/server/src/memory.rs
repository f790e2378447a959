//! Memory for the bodies of requests: bounded in all, and for each client, so that one cannot take it from the others.

use crate::access::Client;
use crate::error::ApiError;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that all bodies may have together, at least.
const LEAST: usize = 64 << 20;
/// Bytes that a client may have whatever others do.
const FLOOR: usize = 64 << 10;

/// What the bodies of all clients have.
#[derive(Debug)]
pub(crate) struct BodyMemory {
    most: usize,
    held: Mutex<HashMap<Client, usize>>,
}

impl BodyMemory {
    /// Has room for four bodies of `largest` bytes, at least, and gives one client at most half of it.
    pub(crate) fn new(largest: usize) -> Arc<Self> {
        Arc::new(BodyMemory { most: largest.saturating_mul(4).max(LEAST), held: Mutex::default() })
    }

    /// An empty body of `client`.
    pub(crate) fn start(self: &Arc<Self>, client: Client) -> Held {
        Held { memory: Arc::clone(self), client, bytes: 0 }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Client, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Memory of a body, free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    memory: Arc<BodyMemory>,
    client: Client,
    bytes: usize,
}

impl Held {
    /// Takes room for more bytes.
    ///
    /// # Errors
    /// 503 if there is none.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), ApiError> {
        let mut held = self.memory.held();
        let all: usize = held.values().sum();
        let own = held.entry(self.client).or_default();
        let (most, wanted) = (self.memory.most, *own + bytes);
        if wanted > most / 2 || (all + bytes > most && wanted > FLOOR) {
            if *own == 0 {
                held.remove(&self.client);
            }
            let message = "the server has no memory for so many large requests at once: send them one by one";
            return Err(ApiError::unavailable("body_memory", message, 2));
        }
        *own = wanted;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.memory.held();
        if let Some(own) = held.get_mut(&self.client) {
            *own = own.saturating_sub(self.bytes);
            if *own == 0 {
                held.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn one_client_has_half_at_most() {
        let memory = BodyMemory::new(4 * MIB);
        let mut bodies: Vec<Held> = (0..20).map(|_| memory.start(Client::Key(0))).collect();
        let grown = bodies.iter_mut().filter_map(|body| body.grow(4 * MIB).ok()).count();
        assert_eq!(grown, 8);
        // Two take all; small requests of others still fit.
        let mut second: Vec<Held> = (0..8).map(|_| memory.start(Client::Key(1))).collect();
        assert!(second.iter_mut().all(|body| body.grow(4 * MIB).is_ok()));
        let mut third = memory.start(Client::Key(2));
        assert!(third.grow(FLOOR).is_ok());
        assert_eq!(third.grow(1).unwrap_err().status().as_u16(), 503);
        drop(bodies);
        assert!(third.grow(4 * MIB).is_ok());
        drop((second, third));
        assert!(memory.held().is_empty());
    }

    #[test]
    fn the_largest_body_always_fits_alone() {
        for largest in [1, 4 * MIB, 1024 * MIB] {
            assert!(BodyMemory::new(largest).start(Client::Unknown).grow(largest).is_ok());
        }
    }
}
