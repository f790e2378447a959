//! Who may be connected: places, a share of them for each network, and room for `/health`.
//!
//! A new connection always gets an answer. If there is no place for it, the connection that has waited longest for a
//! request makes room; if all are at work, the new one gets a spare place, where only `/health` is answered and everything
//! else is refused at once.

use crate::access::network;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Connections beyond the maximum, at most.
pub const SPARE_CONNECTIONS: usize = 32;
/// Time limit for a request on a spare place to arrive, and for its answer to wait.
pub(crate) const SPARE_TIME: Duration = Duration::from_secs(5);

/// Marks requests on spare places.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spare;

/// All connections.
#[derive(Debug)]
pub(crate) struct Connections {
    most: usize,
    /// Of one network, at most.
    share: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    places: HashMap<u64, Held>,
}

/// A place in use.
#[derive(Debug)]
struct Held {
    network: IpAddr,
    spare: bool,
    activity: Arc<Activity>,
    left: Arc<Notify>,
}

impl Connections {
    /// `most` connections, of which one network may have three quarters, unless all come from the same proxy.
    pub(crate) fn new(most: usize, behind_proxy: bool) -> Arc<Self> {
        let share = if behind_proxy { most } else { (most - most / 4).min(most.saturating_sub(1)).max(1) };
        Arc::new(Connections { most, share, table: Mutex::default() })
    }

    /// A place for a connection from `address`; `None` if even the spare ones are at work.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let network = network(address);
        let mut table = self.table();
        let ordinary = |held: &Held| !held.spare;
        let own = |held: &Held| !held.spare && held.network == network;
        let spare = if table.count(own) >= self.share {
            !table.make_room(own)
        } else if table.count(ordinary) >= self.most {
            !table.make_room(ordinary)
        } else {
            false
        };
        if spare && table.count(|held| held.spare) >= SPARE_CONNECTIONS && !table.make_room(|held| held.spare)
        {
            return None;
        }
        let (activity, left) = (Arc::new(Activity::new()), Arc::new(Notify::new()));
        let id = table.next;
        table.next += 1;
        let held = Held { network, spare, activity: Arc::clone(&activity), left: Arc::clone(&left) };
        table.places.insert(id, held);
        Some(Place { id, spare, activity, left, connections: Arc::clone(self) })
    }

    /// Closes all connections that wait for a request, or for the rest of one.
    pub(crate) fn close_waiting(&self) {
        let table = self.table();
        let waiting = table.places.values().filter(|held| held.activity.waiting_since().is_some());
        waiting.for_each(|held| held.left.notify_one());
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn count(&self, of: impl Fn(&Held) -> bool) -> usize {
        self.places.values().filter(|held| of(held)).count()
    }

    /// Closes one of these connections that waits for a request: of the network that has most of them, the one that has
    /// waited longest. Returns whether there was one.
    fn make_room(&mut self, of: impl Fn(&Held) -> bool) -> bool {
        let mut networks: HashMap<IpAddr, usize> = HashMap::new();
        for held in self.places.values().filter(|held| of(held)) {
            *networks.entry(held.network).or_default() += 1;
        }
        let waiting = self.places.iter().filter(|(_, held)| of(held)).filter_map(|(&id, held)| {
            let since = held.activity.waiting_since()?;
            Some((networks.get(&held.network).copied(), std::cmp::Reverse((since, id))))
        });
        let Some((_, std::cmp::Reverse((_, id)))) = waiting.max() else { return false };
        if let Some(held) = self.places.remove(&id) {
            held.left.notify_one();
        }
        true
    }
}

/// The place of one connection, which is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    id: u64,
    /// Whether only `/health` is answered.
    pub(crate) spare: bool,
    pub(crate) activity: Arc<Activity>,
    left: Arc<Notify>,
    connections: Arc<Connections>,
}

impl Place {
    /// Completes when another connection needs the place.
    pub(crate) async fn taken(&self) {
        self.left.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.table().places.remove(&self.id);
    }
}

/// What a connection is doing.
#[derive(Debug)]
pub(crate) struct Activity {
    opened: Instant,
    /// Milliseconds from `opened` to the end of the last answer; `BUSY` while a request is being answered.
    waiting: AtomicU64,
    /// Whether an answer or a part of it may be on its way to the client.
    answering: AtomicBool,
}

const BUSY: u64 = u64::MAX;

impl Activity {
    fn new() -> Self {
        Activity { opened: Instant::now(), waiting: AtomicU64::new(0), answering: AtomicBool::new(false) }
    }

    /// A request has come; its answer is complete when the result is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.waiting.store(BUSY, Ordering::Release);
        self.answering.store(true, Ordering::Release);
        Busy(Arc::clone(self))
    }

    /// All bytes have been written.
    pub(crate) fn flushed(&self) {
        if self.waiting.load(Ordering::Acquire) != BUSY {
            self.answering.store(false, Ordering::Release);
        }
    }

    /// Whether bytes that are being written can be those of an answer.
    pub(crate) fn is_answering(&self) -> bool {
        self.answering.load(Ordering::Acquire)
    }

    /// Since when the client has neither sent a whole request nor an answer to take.
    fn waiting_since(&self) -> Option<Instant> {
        let waiting = self.waiting.load(Ordering::Acquire);
        (waiting != BUSY && !self.is_answering()).then(|| self.opened + Duration::from_millis(waiting))
    }
}

/// A request is being answered.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        let waiting = u64::try_from(self.0.opened.elapsed().as_millis()).unwrap_or(BUSY - 1);
        self.0.waiting.store(waiting, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: u8) -> IpAddr {
        [10, 0, 0, host].into()
    }

    /// Whether the connection was asked to leave.
    async fn left(place: &Place) -> bool {
        tokio::time::timeout(Duration::ZERO, place.taken()).await.is_ok()
    }

    #[tokio::test]
    async fn one_network_leaves_room_for_others() {
        let connections = Connections::new(8, false);
        let eldest = connections.admit(address(9)).unwrap();
        let own: Vec<_> = (0..10).map(|_| connections.admit(address(1)).unwrap()).collect();
        // Six may stay: the first four made room.
        for (index, place) in own.iter().enumerate() {
            assert!(!place.spare);
            assert_eq!(left(place).await, index < 4, "{index}");
        }
        let other = connections.admit(address(2)).unwrap();
        assert!(!other.spare);
        // The network that has most makes room for yet another, not whoever has waited longest.
        assert!(!connections.admit(address(4)).unwrap().spare);
        assert!(left(&own[4]).await && !left(&other).await && !left(&eldest).await);
    }

    #[tokio::test]
    async fn connections_at_work_stay() {
        let connections = Connections::new(4, false);
        let own: Vec<_> = (0..3).map(|_| connections.admit(address(1)).unwrap()).collect();
        let busy: Vec<_> = own.iter().map(|place| place.activity.begin()).collect();
        assert!(connections.admit(address(1)).unwrap().spare, "its share is at work");
        let other = connections.admit(address(2)).unwrap();
        let busy_other = other.activity.begin();
        let spares: Vec<_> = (0..40).map(|_| connections.admit(address(3)).unwrap()).collect();
        assert!(spares.iter().all(|place| place.spare));
        assert_eq!(connections.table().places.len(), 4 + SPARE_CONNECTIONS);
        assert!(left(&spares[0]).await && !left(&spares[39]).await);
        let at_work: Vec<_> = spares[8..].iter().map(|place| place.activity.begin()).collect();
        assert!(connections.admit(address(4)).is_none());
        drop((busy, busy_other, at_work));
        // Its answer may still be on the way.
        assert!(connections.admit(address(4)).is_none());
        other.activity.flushed();
        assert!(!connections.admit(address(4)).unwrap().spare);
        assert!(left(&other).await);
        drop((own, other, spares));
        assert!(connections.table().places.is_empty());
    }

    #[tokio::test]
    async fn the_last_answer_counts_not_the_age() {
        let connections = Connections::new(4, false);
        let own: Vec<_> = (0..3).map(|_| connections.admit(address(1)).unwrap()).collect();
        std::thread::sleep(Duration::from_millis(5));
        // The oldest has just had an answer.
        drop(own[0].activity.begin());
        own[0].activity.flushed();
        assert!(!connections.admit(address(1)).unwrap().spare);
        assert!(left(&own[1]).await && !left(&own[0]).await && !left(&own[2]).await);
    }

    #[test]
    fn addresses_of_a_subnet_share() {
        let connections = Connections::new(4, false);
        let admit = |address: &str| connections.admit(address.parse().unwrap()).unwrap();
        let own: Vec<_> = (0..3).map(|host| admit(&format!("2001:db8:0:1::{host}"))).collect();
        let busy: Vec<_> = own.iter().map(|place| place.activity.begin()).collect();
        assert!(admit("2001:db8:0:1:ffff::1").spare);
        assert!(!admit("2001:db8:0:2::1").spare);
        drop(busy);
    }

    #[test]
    fn behind_a_proxy_all_come_from_one_address() {
        let connections = Connections::new(4, true);
        let at_work = |_: usize| {
            let place = connections.admit(address(1)).unwrap();
            assert!(!place.spare);
            (place.activity.begin(), place)
        };
        let all: Vec<_> = (0..4).map(at_work).collect();
        assert!(connections.admit(address(1)).unwrap().spare);
        drop(all);
    }

    #[test]
    fn shares() {
        let share = |most| Connections::new(most, false).share;
        assert_eq!([share(1), share(2), share(3), share(4), share(50), share(1024)], [1, 1, 2, 3, 38, 768]);
    }
}
