//! The queue: whose requests it holds, and in which order.

use super::super::Refused;
use super::super::queue::Queue;
use super::support::{Answer, Ask, Bench, limits, prompt};
use crate::access::Client;

const A: usize = 0;
const B: usize = 1;

/// Requests with these numbers of prompts; the first token of each tells its request.
fn requests(bench: &Bench, queue: &mut Queue, sent: &[(usize, usize)]) -> Vec<Answer> {
    let mut answers = Vec::new();
    for (at, &(client, prompts)) in sent.iter().enumerate() {
        let prompts = (0..prompts).map(|_| vec![at as u32]).collect();
        let (request, answer) = Ask::new(prompts, 1, 1).request(&bench.model, client);
        queue.push(request).unwrap();
        answers.push(answer);
    }
    answers
}

/// The requests of a client, by the turns of their jobs.
fn order(queue: &mut Queue, client: usize) -> Vec<u32> {
    std::iter::from_fn(|| queue.take(Client::Key(client))).map(|job| job.prompt[0]).collect()
}

#[test]
fn a_full_queue_takes_from_whoever_has_the_most() {
    let bench = Bench::new(limits(1));
    let mut queue = Queue::new(4);
    let _first = requests(&bench, &mut queue, &[(A, 100), (A, 1), (A, 1), (A, 1)]);
    assert_eq!(queue.len(), 4, "however many prompts a request has, it counts once");
    let push = |queue: &mut Queue, client| {
        let (request, _answer) = Ask::new(vec![vec![9]], 1, 1).request(&bench.model, client);
        queue.push(request).map(|displaced| displaced.map(|request| request[0].prompt[0]))
    };
    assert_eq!(push(&mut queue, A), Err(Refused::QueueFull { waiting: 4 }));
    assert_eq!(push(&mut queue, B), Ok(Some(3)), "the newest");
    assert_eq!(push(&mut queue, B), Ok(Some(2)));
    assert_eq!(push(&mut queue, B), Err(Refused::QueueFull { waiting: 4 }), "both have two");
    assert_eq!(push(&mut queue, A), Err(Refused::QueueFull { waiting: 4 }));
    let others: Vec<_> = (2..9).map(|client| push(&mut queue, client)).collect();
    assert!(others[..2].iter().all(|other| matches!(other, Ok(Some(_)))), "{others:?}");
    assert_eq!(others[2], Err(Refused::QueueFull { waiting: 4 }), "one of each of four clients");
}

#[test]
fn requests_of_a_client_take_turns_prompt_by_prompt() {
    let bench = Bench::new(limits(1));
    let mut queue = Queue::new(9);
    let _answers = requests(&bench, &mut queue, &[(A, 3), (B, 1), (A, 1), (A, 2)]);
    assert_eq!(order(&mut queue, A), [0, 2, 3, 0, 3, 0]);
    assert_eq!(queue.clients().collect::<Vec<_>>(), [Client::Key(B)]);
}

#[test]
fn choices_that_found_no_place_come_next() {
    let bench = Bench::new(limits(1));
    let mut queue = Queue::new(9);
    let _answers = requests(&bench, &mut queue, &[(A, 2), (A, 1)]);
    let job = queue.take(Client::Key(A)).unwrap();
    assert_eq!((job.prompt[0], queue.len()), (0, 2));
    queue.put_back(job);
    assert_eq!(queue.len(), 2, "as a part of its request");
    assert_eq!(order(&mut queue, A), [0, 1, 0]);
    // Also if nothing else of the request is left.
    let (mut request, _answer) = Ask::new(vec![prompt(7, 1)], 1, 1).request(&bench.model, B);
    queue.put_back(request.pop_front().unwrap());
    assert_eq!(order(&mut queue, B).len(), 1);
}

#[test]
fn a_job_that_has_taken_the_place_of_another_waits_for_its_own_turn() {
    // There is room for a page, but the job that is next needs four.
    let mut bench = Bench::new(limits(2));
    let _answer = bench.submit(A, &Ask::new(vec![prompt(1, 100)], 1, 100));
    bench.worker.begin_next(Client::Key(A), 1);
    assert_eq!((bench.worker.running.len(), bench.shared.queue().len()), (0, 1));
    bench.worker.begin_next(Client::Key(A), 4);
    assert_eq!((bench.worker.running.len(), bench.shared.queue().len()), (1, 0));
}
