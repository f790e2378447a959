//! Clients take turns, and what they get is what they would get alone.

use super::super::event::Failure;
use super::super::sequence::Sequence;
use super::support::{Answer, Ask, Bench, limits, prompt};
use crate::options::Limits;
use edgellm::Session;
use edgellm::generate::FinishReason;
use std::sync::atomic::Ordering;
use std::time::Instant;

const HOG: usize = 0;
const NEWCOMER: usize = 1;

/// Steps until a client gets its first token beside what another one sends.
fn steps_beside(parallel: usize, asks: &[Ask], before: usize) -> usize {
    let mut bench = Bench::new(limits(parallel));
    let _hog: Vec<Answer> = asks.iter().map(|ask| bench.submit(HOG, ask)).collect();
    (0..before).for_each(|_| bench.step());
    assert!(bench.worker.running.len() + bench.shared.queue().len() > 0, "the other one is at work");
    let answer = bench.submit(NEWCOMER, &Ask::new(vec![prompt(99, 30)], 1, 1));
    bench.finish(&mut [answer])
}

#[test]
fn a_newcomer_waits_for_a_few_steps() {
    let short = |count: usize| (0..count).map(|seed| prompt(seed, 20)).collect::<Vec<_>>();
    let long = |count: usize| (0..count).map(|seed| prompt(seed, 500)).collect::<Vec<_>>();
    let embeddings = |prompts| Ask { max_tokens: None, ..Ask::new(prompts, 1, 0) };
    let attacks = [
        ("choices", vec![Ask::new(short(1), 128, 400)]),
        ("prompts", vec![Ask::new(short(128), 1, 400)]),
        ("long prompts", vec![Ask::new(long(1), 1, 9); 64]),
        ("long prompts in one", vec![Ask::new(long(64), 1, 9)]),
        ("long prompts that are scored", vec![Ask { scores: Some(3), ..Ask::new(long(64), 1, 9) }]),
        ("embeddings", vec![embeddings(short(2048))]),
        ("long embeddings", vec![embeddings(long(200))]),
        ("requests of many choices", vec![Ask::new(short(1), 16, 400); 60]),
        ("short ones", short(64).into_iter().map(|prompt| Ask::new(vec![prompt], 1, 1)).collect()),
        ("everything", vec![Ask::new(long(2), 8, 9), embeddings(long(9)), Ask::new(short(9), 9, 99)]),
    ];
    for (name, asks) in &attacks {
        for before in [1, 7, 40] {
            // By then those are done.
            if (*name, before) != ("short ones", 40) {
                let steps = steps_beside(16, asks, before);
                assert!(steps <= 2, "{name}: {steps} steps after {before}");
            }
        }
    }
    // With a single place, whoever has it may keep it for a while.
    for (name, asks) in &attacks[..3] {
        let steps = steps_beside(1, asks, 7);
        assert!(steps <= 20, "{name}: {steps} steps for the only place");
    }
}

/// Requests of different kinds.
fn mixture() -> Vec<(usize, Ask)> {
    // Prefixes that others have help neither of these.
    let embeddings = Ask { max_tokens: None, ..Ask::new(vec![prompt(4, 90), prompt(6, 3)], 1, 0) };
    let scored = Ask { scores: Some(2), ..Ask::new(vec![prompt(4, 100)], 2, 20) };
    vec![
        (0, Ask::new(vec![prompt(1, 40)], 5, 60)),
        (0, Ask::new(vec![prompt(2, 150), prompt(3, 5)], 2, 30)),
        (1, Ask::new(vec![prompt(4, 70)], 1, 150)),
        (1, embeddings),
        (2, scored),
        (2, Ask::new(vec![prompt(1, 40)], 3, 10)),
        (3, Ask::new(vec![prompt(8, 10)], 1, 1)),
        (3, Ask::new(vec![prompt(8, 10)], 2, 0)),
    ]
}

/// What comes of the requests of the mixture if a new one is sent every few steps.
fn together(bench: &mut Bench) -> Vec<Answer> {
    let mut answers = Vec::new();
    for (client, ask) in mixture() {
        answers.push(bench.submit(client, &ask));
        (0..5).for_each(|_| bench.step());
    }
    bench.finish(&mut answers);
    assert_eq!((bench.worker.sequences().count(), bench.shared.queue().len()), (0, 0));
    answers
}

#[test]
fn pausing_and_recomputing_change_no_bit() {
    let alone: Vec<Answer> = mixture()
        .iter()
        .map(|(client, ask)| {
            let mut bench = Bench::new(limits(16));
            let answer = bench.submit(*client, ask);
            let mut answers = [answer];
            bench.finish(&mut answers);
            assert!(!bench.paused && !bench.evicted, "nobody else was there");
            answers.into_iter().next().unwrap()
        })
        .collect();
    let small = Limits { prefill_chunk: 16, ..limits(3) };
    let prefixes = Limits { prefix_memory: 1 << 20, ..small };
    for (limits, pages, evicted) in
        [(small, 1000, false), (small, 7, true), (prefixes, 9, true), (limits(1), 4, true)]
    {
        let mut bench = Bench::with_pages(limits, pages);
        let answers = together(&mut bench);
        assert!(bench.paused, "the places were taken");
        assert_eq!(bench.evicted, evicted, "{pages} pages");
        for (index, (together, alone)) in answers.iter().zip(&alone).enumerate() {
            assert_eq!(together.results(), alone.results(), "request {index} with {pages} pages");
            assert_eq!(together.finished, alone.finished);
        }
    }
}

#[test]
fn a_prompt_that_is_dropped_half_way_begins_anew() {
    let scored = |length| Ask { scores: Some(2), ..Ask::new(vec![prompt(1, length)], 1, 1) };
    let embedding = Ask { max_tokens: None, ..Ask::new(vec![prompt(1, 240)], 1, 0) };
    // The shorter one has a part of the first step, too.
    for half in [&scored(240), &embedding] {
        let mut bench = Bench::with_pages(limits(4), 8);
        let mut alone = [bench.submit(HOG, half)];
        bench.finish(&mut alone);
        // Together these take all memory, of which another client wants a part.
        let first = bench.submit(HOG, &scored(250));
        let mut answers = [first, bench.submit(HOG, half)];
        bench.step();
        assert!(bench.worker.running[1].session.position() > 0 && !bench.evicted);
        let newcomer = bench.submit(NEWCOMER, &Ask::new(vec![prompt(3, 20)], 1, 1));
        bench.step();
        let dropped = bench.worker.paused.iter().find(|sequence| !sequence.resident);
        assert_eq!(dropped.map(|sequence| sequence.tokens.len()), Some(240), "the newer one");
        bench.finish(&mut [newcomer]);
        bench.finish(&mut answers);
        assert_eq!(answers[1].results(), alone[0].results());
    }
}

#[test]
fn choices_start_as_places_come_free() {
    let ask = Ask { scores: Some(1), ..Ask::new(vec![prompt(1, 100)], 10, 12) };
    let run = |parallel, prefix_memory| {
        let mut bench = Bench::new(Limits { prefix_memory, ..limits(parallel) });
        let answer = bench.submit(HOG, &ask);
        let mut answers = [answer];
        let steps = bench.finish(&mut answers);
        assert!(!bench.paused && !bench.evicted);
        let [answer] = answers;
        assert_eq!(answer.begun, 1, "however often its prompt is needed");
        (answer, steps)
    };
    let (all, at_once) = run(10, 0);
    assert_eq!(at_once, 12, "the prompt with the first token, then eleven more");
    for prefix_memory in [0, 1 << 20] {
        let (some, steps) = run(3, prefix_memory);
        assert_eq!(some.results(), all.results());
        // Four rounds of three places.
        assert!((4 * 12..4 * 12 + 8).contains(&steps), "{steps}");
    }
}

#[test]
fn the_choices_of_a_prompt_come_before_the_next_prompt() {
    let mut bench = Bench::new(limits(4));
    let _answer = bench.submit(HOG, &Ask::new(vec![prompt(1, 10), prompt(2, 10)], 4, 9));
    bench.step();
    assert_eq!(bench.worker.running.len(), 4);
    assert!(bench.worker.running.iter().all(|sequence| sequence.tokens.starts_with(&prompt(1, 10))));
}

#[test]
fn the_newest_pause_and_the_oldest_go_on_first() {
    let numbers =
        |list: &[Sequence<Session>]| list.iter().map(|sequence| sequence.number).collect::<Vec<_>>();
    let mut bench = Bench::new(limits(4));
    let _hog = bench.submit(HOG, &Ask::new(vec![prompt(1, 10)], 4, 400));
    bench.step();
    let all = numbers(&bench.worker.running);
    let newcomer = bench.submit(NEWCOMER, &Ask::new(vec![prompt(2, 10)], 2, 5));
    (0..3).for_each(|_| bench.step());
    let mut paused = numbers(&bench.worker.paused);
    paused.sort_unstable();
    assert_eq!(paused, all[2..]);
    bench.finish(&mut [newcomer]);
    bench.step();
    assert_eq!(numbers(&bench.worker.running), all);
}

#[test]
fn a_newcomer_has_no_claim_to_what_was_before() {
    let mut bench = Bench::new(limits(1));
    let mut hog = bench.submit(HOG, &Ask::new(vec![prompt(1, 10)], 1, 400));
    (0..200).for_each(|_| bench.step());
    let mut newcomer = bench.submit(NEWCOMER, &Ask::new(vec![prompt(2, 10)], 1, 400));
    hog.take();
    let before = hog.tokens[&0].len();
    (0..100).for_each(|_| bench.step());
    hog.take();
    newcomer.take();
    let (own, other) = (hog.tokens[&0].len() - before, newcomer.tokens[&0].len());
    assert!(own > 30 && other > 30, "{own} and {other} of 100 tokens");
}

#[test]
fn a_step_computes_one_embedding_of_the_client_that_has_used_least() {
    let embeddings = |length| {
        let prompts = (0..6).map(|seed| prompt(seed, length)).collect();
        Ask { max_tokens: None, ..Ask::new(prompts, 1, 0) }
    };
    let mut bench = Bench::new(limits(16));
    let mut long = [bench.submit(0, &embeddings(200))];
    let short = bench.submit(1, &embeddings(20));
    // All short ones are less work than the part of a long one that comes first.
    assert_eq!(bench.finish(&mut [short]), 7);
    // Each of the long ones takes two steps, of which one is over.
    assert_eq!(bench.finish(&mut long), 11);
}

#[test]
fn everyone_goes_on() {
    // More clients than places, and the first sends far more than the others.
    let mut bench = Bench::new(limits(2));
    let mut answers: Vec<Answer> = (0..5)
        .map(|client| {
            let choices = if client == HOG { 30 } else { 1 };
            bench.submit(client, &Ask::new(vec![prompt(client, 10)], choices, 400))
        })
        .collect();
    (0..500).for_each(|_| bench.step());
    let tokens = |answer: &mut Answer| {
        answer.take();
        answer.tokens.values().map(Vec::len).sum::<usize>()
    };
    let tokens: Vec<usize> = answers.iter_mut().map(tokens).collect();
    let (least, most) = (tokens.iter().min().unwrap(), tokens.iter().max().unwrap());
    // A thousand in all.
    assert!(*least > 150 && *most < 250, "{tokens:?}");
}

#[test]
fn two_that_do_not_fit_together_both_end() {
    // Each needs six of eight pages.
    let mut bench = Bench::with_pages(limits(4), 8);
    let ask = |seed| Ask::new(vec![prompt(seed, 300)], 1, 80);
    let mut answers = vec![bench.submit(0, &ask(0))];
    (0..30).for_each(|_| bench.step());
    answers.push(bench.submit(1, &ask(1)));
    // A third one, which fits beside either, is not kept waiting.
    let small = bench.submit(2, &Ask::new(vec![prompt(2, 20)], 1, 1));
    assert!(bench.finish(&mut [small]) <= 2);
    let steps = bench.finish(&mut answers);
    assert!(bench.evicted);
    assert!(steps < 300, "{steps} steps for 160 tokens");
}

#[test]
fn a_large_request_is_not_overtaken_for_ever() {
    // Client 1 wants nearly all memory, which two others use in small parts all the time; short answers end before their
    // KV caches could be dropped.
    for tokens in [60, 10] {
        let mut bench = Bench::with_pages(limits(8), 8);
        let mut others: Vec<Answer> = Vec::new();
        let mut large = None;
        for round in 0..400 {
            if round == 20 {
                large = Some(bench.submit(1, &Ask::new(vec![prompt(1, 400)], 1, 40)));
            }
            for client in [0, 2] {
                others.push(bench.submit(client, &Ask::new(vec![prompt(round, 60)], 1, tokens)));
                others.retain_mut(|answer| !answer.is_complete());
                if others.len() > 12 {
                    others.pop();
                }
            }
            bench.step();
        }
        let large = large.as_mut().unwrap();
        assert!(large.is_complete(), "{tokens}: {:?}", large.tokens.values().map(Vec::len));
    }
}

#[test]
fn who_has_used_less_comes_first() {
    let mut bench = Bench::new(limits(1));
    let mut much = [bench.submit(0, &Ask::new(vec![prompt(0, 130)], 1, 1))];
    let _between = bench.submit(1, &Ask::new(vec![prompt(1, 10)], 1, 12));
    bench.finish(&mut much);
    bench.step();
    let mut again = bench.submit(0, &Ask::new(vec![prompt(2, 10)], 1, 1));
    let first = bench.submit(2, &Ask::new(vec![prompt(3, 10)], 1, 1));
    bench.finish(&mut [first]);
    assert!(!again.is_complete());
    bench.finish(&mut [again]);
}

#[test]
fn what_has_not_begun_ends_as_well() {
    // Of ten choices three have places when the server ends: the others end without a token.
    let mut bench = Bench::new(limits(3));
    let mut answers = [bench.submit(HOG, &Ask::new(vec![prompt(1, 10)], 10, 400))];
    bench.step();
    bench.shared.abort.store(true, Ordering::Release);
    bench.finish(&mut answers);
    assert_eq!(answers[0].finished.len(), 10);
    assert!(answers[0].finished.values().all(|&reason| reason == FinishReason::Length));
    assert_eq!(answers[0].tokens.len(), 3);
    // A request of which a prompt has not begun fails as a whole.
    let mut bench = Bench::new(limits(3));
    let mut answer = bench.submit(HOG, &Ask::new((0..9).map(|seed| prompt(seed, 10)).collect(), 1, 400));
    bench.step();
    bench.shared.abort.store(true, Ordering::Release);
    bench.step();
    answer.take();
    assert!(matches!(answer.failure, Some(Failure::ShuttingDown)), "{:?}", answer.failure);
}

#[test]
fn the_time_of_the_paused_runs_out() {
    let mut bench = Bench::new(limits(1));
    let mut hog = bench.submit(HOG, &Ask::new(vec![prompt(1, 10)], 1, 400));
    (0..20).for_each(|_| bench.step());
    let _newcomer = bench.submit(NEWCOMER, &Ask::new(vec![prompt(2, 10)], 1, 400));
    while bench.worker.paused.is_empty() {
        bench.step();
    }
    bench.worker.paused[0].deadline = Instant::now();
    bench.step();
    hog.take();
    assert_eq!(hog.finished.get(&0), Some(&FinishReason::Length));
}

#[test]
fn nothing_is_left_of_a_client_that_goes() {
    let mut bench = Bench::new(limits(3));
    let hog = bench.submit(HOG, &Ask::new(vec![prompt(1, 10)], 30, 400));
    bench.step();
    let other = bench.submit(NEWCOMER, &Ask::new(vec![prompt(2, 10)], 3, 400));
    (0..3).for_each(|_| bench.step());
    // It runs, is paused, and waits.
    assert!(!bench.worker.paused.is_empty() && bench.shared.queue().len() == 2);
    drop((hog, other));
    bench.step();
    assert_eq!((bench.worker.sequences().count(), bench.shared.queue().len()), (0, 0));
}
