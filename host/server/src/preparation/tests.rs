//! Preparations that wait, are given up, do not stop, and panic.

use super::*;
use std::sync::mpsc;

const LONG: Duration = Duration::from_secs(100);

fn rules(slots: usize, queue: usize) -> Rules {
    Rules { slots, queue, time: LONG, grace: Duration::ZERO }
}

fn preparations(rules: Rules) -> (Arc<Preparations>, Metrics) {
    let metrics = Metrics::new().unwrap();
    (Arc::new(Preparations::start(rules, metrics.clone()).unwrap()), metrics)
}

fn client(last: u8) -> Client {
    Client::Address([127, 0, 0, last].into())
}

fn deadline() -> Instant {
    Instant::now() + LONG
}

/// The turns of preparations that do nothing.
fn turns(rules: Rules, entries: &[u8]) -> (Turns, Vec<Result<u64, Unprepared>>) {
    let mut turns = Turns::new(rules);
    let enter = |last: &u8| turns.enter(&client(*last), deadline(), Box::new(|_| ())).map(|(id, _)| id);
    let entered = entries.iter().map(enter).collect();
    (turns, entered)
}

/// The ids of all that wait, in the order in which they start on one slot.
fn order(mut turns: Turns) -> Vec<u64> {
    let mut order = Vec::new();
    while let Some((id, ..)) = turns.next() {
        order.push(id);
        turns.end(id);
    }
    order
}

/// Work on a slot that does not look at its interrupt, until it is told to end.
fn stubborn(
    preparations: &Arc<Preparations>,
    client: Client,
) -> (tokio::task::JoinHandle<Result<Interrupt, Unprepared>>, mpsc::Sender<()>) {
    let (end, ended) = mpsc::channel::<()>();
    let preparations = Arc::clone(preparations);
    let work = move |interrupt| {
        let _ = ended.recv();
        interrupt
    };
    let task = tokio::spawn(async move { preparations.run(&client, deadline(), work).await });
    (task, end)
}

async fn wait_until(mut condition: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it did not come about within 10 s");
}

#[test]
fn clients_take_turns() {
    // Ids count from 1 in the order of entry.
    let (turns, _) = turns(rules(1, 10), &[1, 1, 1, 2, 3, 2]);
    assert_eq!(order(turns), [1, 4, 5, 2, 6, 3]);
}

#[test]
fn one_client_has_half_of_the_slots_at_most() {
    let (mut turns, _) = turns(rules(4, 10), &[1, 1, 1, 1, 2]);
    let started: Vec<u64> = std::iter::from_fn(|| turns.next()).map(|(id, ..)| id).collect();
    assert_eq!(started, [1, 5, 2]);
    turns.end(1);
    assert_eq!(turns.next().map(|(id, ..)| id), Some(3));
    assert!(turns.next().is_none());
    // Any machine has a slot for others.
    let rules = Rules::new(10, LONG);
    let (mut turns, _) = self::turns(rules, &[1; 8]);
    let started = std::iter::from_fn(|| turns.next()).count();
    assert!(started < rules.slots && rules.slots <= 4, "{started} of {}", rules.slots);
}

#[test]
fn a_full_queue_keeps_room_for_those_who_have_less() {
    // One may start at once, and 3 may wait.
    let full = Err(Unprepared::QueueFull { waiting: 4 });
    let (turns, entered) = turns(rules(1, 3), &[1, 1, 1, 1, 1, 2, 2, 2]);
    // The second client's requests take the places of the first one's newest, until both have as many.
    assert_eq!(entered, [Ok(1), Ok(2), Ok(3), Ok(4), full, Ok(5), Ok(6), full]);
    assert_eq!(order(turns), [1, 5, 2, 6]);
    // With one more, the second would have what the first has now: nobody gains.
    let (_, entered) = self::turns(rules(1, 2), &[1, 1, 2, 2]);
    assert_eq!(entered[3], Err(Unprepared::QueueFull { waiting: 3 }));
}

#[tokio::test]
async fn those_who_lose_their_place_are_told() {
    let (preparations, metrics) = preparations(rules(1, 2));
    let (running, end) = stubborn(&preparations, client(1));
    wait_until(|| metrics.preparations_running.get() == 1).await;
    let enter = |last: u8| {
        let preparations = Arc::clone(&preparations);
        tokio::spawn(async move { preparations.run(&client(last), deadline(), move |_| last).await })
    };
    let mut waiting = Vec::new();
    for _ in 0..2 {
        waiting.push(enter(1));
        wait_until(|| metrics.preparations_waiting.get() == waiting.len() as i64).await;
    }
    let other = enter(2);
    let newest = waiting.pop().unwrap().await.unwrap();
    assert_eq!(newest, Err(Unprepared::QueueFull { waiting: 2 }));
    end.send(()).unwrap();
    assert_eq!(other.await.unwrap(), Ok(2));
    assert_eq!(waiting.pop().unwrap().await.unwrap(), Ok(1));
    assert!(running.await.unwrap().is_ok());
    wait_until(|| metrics.preparations_running.get() == 0).await;
}

#[tokio::test]
async fn a_request_that_leaves_gives_up_its_work() {
    let (preparations, metrics) = preparations(rules(2, 10));
    let (sender, seen) = mpsc::channel();
    let (own, reported) = (Arc::clone(&preparations), sender.clone());
    let running = tokio::spawn(async move {
        let work = move |interrupt: Interrupt| {
            while !interrupt.raised() {
                thread::sleep(Duration::from_millis(1));
            }
            reported.send(interrupt.check()).unwrap();
        };
        own.run(&client(1), deadline(), work).await
    });
    wait_until(|| metrics.preparations_running.get() == 1).await;
    let own = Arc::clone(&preparations);
    let waiting =
        tokio::spawn(
            async move { own.run(&client(1), deadline(), move |_| sender.send(Ok(())).unwrap()).await },
        );
    wait_until(|| metrics.preparations_waiting.get() == 1).await;
    waiting.abort();
    wait_until(|| metrics.preparations_waiting.get() == 0).await;
    assert_eq!(metrics.preparations_given_up.get(), 0);
    running.abort();
    wait_until(|| metrics.preparations_running.get() == 0).await;
    assert_eq!(metrics.preparations_given_up.get(), 1);
    // The one that ran saw it; the one that waited never ran.
    assert_eq!(seen.iter().collect::<Vec<_>>(), [Err(Unprepared::GivenUp)]);
}

#[tokio::test]
async fn time_is_limited() {
    let limit = Duration::from_millis(50);
    let (preparations, metrics) = preparations(Rules { time: limit, ..rules(2, 10) });
    let endless = |interrupt: Interrupt| {
        while !interrupt.raised() {
            thread::sleep(Duration::from_millis(1));
        }
        interrupt.check()
    };
    let slow = preparations.run(&client(1), deadline(), endless).await;
    assert_eq!(slow, Ok(Err(Unprepared::TooSlow { seconds: 0 })));
    let late = preparations.run(&client(1), Instant::now() + limit / 2, endless).await;
    assert_eq!(late, Ok(Err(Unprepared::Timeout)));
    assert_eq!(metrics.preparations_given_up.get(), 0);
    wait_until(|| metrics.preparations_running.get() == 0).await;
    // Work that does not look is not waited for.
    let (stubborn, end) = stubborn(&preparations, client(1));
    assert_eq!(stubborn.await.unwrap().unwrap_err(), Unprepared::TooSlow { seconds: 0 });
    assert_eq!(metrics.preparations_given_up.get(), 1);
    drop(end);
}

#[tokio::test]
async fn a_request_has_a_deadline_of_its_own() {
    let (preparations, metrics) = preparations(rules(2, 10));
    let soon = || Instant::now() + Duration::from_millis(50);
    let start = Instant::now();
    let endless = |interrupt: Interrupt| {
        while !interrupt.raised() {
            thread::sleep(Duration::from_millis(1));
        }
        interrupt.check()
    };
    assert_eq!(preparations.run(&client(1), soon(), endless).await, Ok(Err(Unprepared::Timeout)));
    wait_until(|| metrics.preparations_running.get() == 0).await;
    // Also while it waits.
    let (running, end) = stubborn(&preparations, client(1));
    wait_until(|| metrics.preparations_running.get() == 1).await;
    assert_eq!(preparations.run(&client(1), soon(), |_| ()).await, Err(Unprepared::Timeout));
    assert_eq!(metrics.preparations_waiting.get(), 0);
    assert!(start.elapsed() < LONG / 2);
    end.send(()).unwrap();
    assert!(running.await.unwrap().is_ok());
}

#[tokio::test]
async fn work_has_time_to_notice_before_it_counts_as_stuck() {
    let (preparations, metrics) = preparations(Rules { grace: LONG, ..rules(2, 10) });
    let (first, end) = stubborn(&preparations, client(1));
    wait_until(|| metrics.preparations_running.get() == 1).await;
    first.abort();
    wait_until(|| metrics.preparations_given_up.get() == 1).await;
    let own = Arc::clone(&preparations);
    let second = tokio::spawn(async move { own.run(&client(1), deadline(), |_| 7).await });
    wait_until(|| metrics.preparations_waiting.get() == 1).await;
    end.send(()).unwrap();
    assert_eq!(second.await.unwrap(), Ok(7));
}

#[tokio::test]
async fn threads_end_with_the_server() {
    let (preparations, _) = preparations(rules(2, 10));
    assert_eq!(preparations.run(&client(1), deadline(), |_| 7).await, Ok(7));
    let shared = Arc::downgrade(&preparations.0);
    drop(preparations);
    wait_until(|| shared.strong_count() == 0).await;
}

#[tokio::test]
async fn work_that_does_not_stop_takes_no_more_than_the_slots() {
    let (preparations, metrics) = preparations(rules(2, 10));
    let (first, first_end) = stubborn(&preparations, client(1));
    wait_until(|| metrics.preparations_running.get() == 1).await;
    first.abort();
    wait_until(|| metrics.preparations_given_up.get() == 1).await;
    // Its client has no slot left; another one has.
    let answer = |last: u8| {
        let preparations = Arc::clone(&preparations);
        async move { preparations.run(&client(last), deadline(), move |_| last).await }
    };
    assert_eq!(answer(1).await, Err(Unprepared::Stuck));
    assert_eq!(answer(2).await, Ok(2));
    let (second, second_end) = stubborn(&preparations, client(2));
    wait_until(|| metrics.preparations_running.get() == 2).await;
    let waiting = tokio::spawn(answer(3));
    wait_until(|| metrics.preparations_waiting.get() == 1).await;
    second.abort();
    // Nobody has: also those that wait already are told.
    assert_eq!(waiting.await.unwrap(), Err(Unprepared::Stuck));
    assert_eq!(answer(3).await, Err(Unprepared::Stuck));
    drop((first_end, second_end));
    wait_until(|| metrics.preparations_running.get() == 0).await;
    assert_eq!(answer(3).await, Ok(3));
}

#[tokio::test]
async fn a_panic_is_one_requests_own() {
    let (preparations, metrics) = preparations(rules(2, 10));
    for _ in 0..3 {
        let panicked = preparations.run(&client(1), deadline(), |_| panic!("a test's panic")).await;
        assert_eq!(panicked, Err::<(), _>(Unprepared::Panicked));
    }
    assert_eq!(preparations.run(&client(1), deadline(), |_| 7).await, Ok(7));
    wait_until(|| metrics.preparations_running.get() == 0).await;
}
