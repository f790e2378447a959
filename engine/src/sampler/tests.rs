use super::*;

/// Options that keep every token and change none.
fn plain(temperature: f32, seed: u64) -> SamplerOptions {
    SamplerOptions { temperature, top_k: 0, top_p: 1.0, min_p: 0.0, seed, ..Default::default() }
}

/// Pseudo-random logits in -10..10, many of them equal.
fn logits(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = Pcg32::seed_from_u64(seed);
    (0..n).map(|_| (rng.next_u32() % 2000) as f32 / 100.0 - 10.0).collect()
}

/// All tokens, the likeliest first.
fn ranked(logits: &[f32]) -> Vec<TokenId> {
    let mut ids: Vec<TokenId> = (0..logits.len() as TokenId).collect();
    ids.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b)));
    ids
}

fn sampler(options: SamplerOptions) -> Sampler {
    Sampler::new(options).unwrap()
}

#[test]
fn greedy_takes_the_first_of_the_largest() {
    assert_eq!(sampler(SamplerOptions::greedy()).sample(&[1.0, 3.0, 3.0, -1.0]), 1);
}

#[test]
fn top_k_equals_sorting_all() {
    for n in [1, 2, 39, 40, 41, 223, 224, 225, 5000] {
        for k in [1, 2, 40, 63, 1000] {
            let logits = logits(n, n as u64);
            let mut candidates = Candidates::default();
            candidates.keep_top_k(&logits, k);
            let mut ids = candidates.ids();
            if k >= n {
                ids = ranked(&ids.iter().map(|&id| logits[id as usize]).collect::<Vec<_>>());
            }
            assert_eq!(ids, ranked(&logits)[..k.min(n)], "n {n}, k {k}");
        }
    }
}

#[test]
fn top_p_equals_sorting_all() {
    for n in [2, 63, 64, 65, 512, 513, 5000] {
        for p in [0.0, 0.1, 0.5, 0.9, 0.999] {
            let logits = logits(n, n as u64 + 7);
            let ranked = ranked(&logits);
            let weights: Vec<f64> = ranked
                .iter()
                .map(|&id| f64::from(libm::expf(logits[id as usize] - logits[ranked[0] as usize])))
                .collect();
            let total: f64 = weights.iter().sum();
            let mut sum = 0.0;
            let count = weights
                .iter()
                .take_while(|&&w| {
                    let more = sum == 0.0 || sum < f64::from(p) * total;
                    sum += w;
                    more
                })
                .count();
            for k in [0, n - 1] {
                let mut candidates = Candidates::default();
                candidates.keep_top_k(&logits, k);
                candidates.keep_top_p(p);
                if k == 0 {
                    assert_eq!(candidates.ids(), ranked[..count], "n {n}, p {p}");
                } else {
                    assert!(candidates.ids().len() <= count && ranked.starts_with(&candidates.ids()));
                }
            }
        }
    }
}

#[test]
fn min_p_is_relative_to_the_likeliest() {
    let logits = [0.0, 2.0, 2.0 + 0.5f32.ln() + 1e-3, 2.0 + 0.5f32.ln() - 1e-3];
    let mut candidates = Candidates::default();
    candidates.keep_top_k(&logits, 0);
    candidates.keep_min_p(0.5);
    assert_eq!(candidates.ids(), [1, 2]);
}

#[test]
fn draws_follow_the_probabilities() {
    // 1/2, 1/3 and 1/6 at temperature 1.
    let logits = [3f32.ln(), 2f32.ln(), 0.0];
    for (temperature, expected) in
        [(1.0, [0.5, 1.0 / 3.0, 1.0 / 6.0]), (0.5, [9.0 / 14.0, 4.0 / 14.0, 1.0 / 14.0])]
    {
        let mut sampler = sampler(plain(temperature, 5));
        let mut counts = [0; 3];
        for _ in 0..60_000 {
            counts[sampler.sample(&logits) as usize] += 1;
        }
        for (count, p) in counts.into_iter().zip(expected) {
            // Four standard deviations.
            assert!((f64::from(count) - 6e4 * p).abs() < 4.0 * (6e4 * p * (1.0 - p)).sqrt(), "{counts:?}");
        }
    }
}

#[test]
fn same_seed_same_tokens() {
    let draw = |seed| {
        let mut sampler = sampler(SamplerOptions { seed, temperature: 2.0, ..Default::default() });
        (0..16).map(|i| sampler.sample(&logits(1000, i))).collect::<Vec<_>>()
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

/// These numbers may never change: a seed that someone wrote down must give the same text on every target for ever.
#[test]
fn known_tokens() {
    let mut sampler = sampler(plain(1.5, 42));
    let tokens: Vec<_> = (0..8).map(|i| sampler.sample(&logits(1000, i))).collect();
    assert_eq!(tokens, KNOWN);
}

const KNOWN: [TokenId; 8] = [667, 980, 622, 332, 253, 460, 492, 855];

#[test]
fn reset_begins_again() {
    let mut sampler =
        sampler(SamplerOptions { repetition_penalty: 1.5, temperature: 3.0, ..Default::default() });
    let draw = |s: &mut Sampler| (0..8).map(|_| s.sample(&logits(100, 3))).collect::<Vec<_>>();
    let first = draw(&mut sampler);
    sampler.reset();
    assert_eq!(draw(&mut sampler), first);
}

#[test]
fn penalties_are_llama_cpps() {
    let options = SamplerOptions {
        repetition_penalty: 2.0,
        presence_penalty: 0.25,
        frequency_penalty: 0.5,
        repeat_last_n: 3,
        ..SamplerOptions::greedy()
    };
    let mut sampler = sampler(options);
    for token in [0, 1, 2, 1, 99] {
        sampler.accept(token);
    }
    // 0 has left the window; 99 is outside the vocabulary.
    sampler.adjust(&[1.0, 8.0, -1.0, 0.5]);
    assert_eq!(sampler.adjusted, [1.0, 8.0 / 2.0 - 0.5 - 0.25, -2.0 - 0.5 - 0.25, 0.5]);
}

#[test]
fn a_window_of_none_switches_penalties_off() {
    let mut sampler =
        sampler(SamplerOptions { repetition_penalty: 9.0, repeat_last_n: 0, ..SamplerOptions::greedy() });
    sampler.accept(1);
    assert_eq!(sampler.sample(&[0.5, 1.0]), 1);
}

#[test]
fn bias_favours_and_forbids() {
    let logit_bias = [(0, 5.0), (2, f32::NEG_INFINITY), (7, 1.0)].into();
    let options = SamplerOptions { logit_bias, ..plain(0.0, 0) };
    assert_eq!(sampler(options.clone()).sample(&[1.0, 5.0, 9.0]), 0);
    let mut random = sampler(SamplerOptions { temperature: 100.0, ..options });
    assert!((0..1000).all(|_| random.sample(&[1.0, 5.0, 9.0]) != 2));
}

#[test]
fn logits_that_are_no_numbers() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    for options in [SamplerOptions::default(), SamplerOptions::greedy(), plain(1.0, 0), plain(1e-30, 0)] {
        let mut sampler = sampler(options);
        assert_eq!(sampler.sample(&[]), 0);
        assert_eq!(sampler.sample(&[nan, 1.0, nan]), 1);
        assert_eq!(sampler.sample(&[0.0, inf, 1.0]), 1);
        assert_eq!(sampler.sample(&[-inf, 1.0, -inf]), 1);
        for logits in
            [vec![nan; 100], vec![-inf; 100], vec![inf; 100], vec![f32::MAX; 100], vec![f32::MIN; 100]]
        {
            assert!(sampler.sample(&logits) < 100);
        }
    }
}

#[test]
fn options_out_of_range_are_named() {
    let d = SamplerOptions::default;
    let wrong = [
        ("temperature", SamplerOptions { temperature: -0.1, ..d() }),
        ("temperature", SamplerOptions { temperature: f32::NAN, ..d() }),
        ("top_p", SamplerOptions { top_p: 1.1, ..d() }),
        ("min_p", SamplerOptions { min_p: -1.0, ..d() }),
        ("repetition_penalty", SamplerOptions { repetition_penalty: 0.0, ..d() }),
        ("presence_penalty", SamplerOptions { presence_penalty: f32::INFINITY, ..d() }),
        ("frequency_penalty", SamplerOptions { frequency_penalty: f32::NAN, ..d() }),
        ("logit_bias", SamplerOptions { logit_bias: [(0, f32::NAN)].into(), ..d() }),
    ];
    for (name, options) in wrong {
        let error = Sampler::new(options).unwrap_err();
        assert_eq!(error.option, name);
        assert!(error.to_string().contains(name));
    }
}

#[test]
fn scratch_is_kept() {
    let options = SamplerOptions { repetition_penalty: 1.1, ..Default::default() };
    let mut sampler = sampler(options);
    let logits = logits(5000, 1);
    sampler.sample(&logits);
    let room = |s: &Sampler| (s.adjusted.capacity(), s.recent.capacity(), s.sorted.capacity());
    let before = room(&sampler);
    for _ in 0..200 {
        sampler.sample(&logits);
    }
    assert_eq!(room(&sampler), before);
}

#[test]
fn log_probabilities() {
    let logits = [1.0, 2.0, f32::NAN, 3.0];
    let sum: f32 = [0, 1, 3].map(|id| log_probability(&logits, id).unwrap().exp()).iter().sum();
    assert!((sum - 1.0).abs() < 1e-6);
    assert_eq!(log_probability(&logits, 2), None);
    assert_eq!(log_probability(&logits, 4), None);
    assert_eq!(log_probability(&[f32::NEG_INFINITY], 0), None);
}

#[test]
fn the_likeliest_tokens_and_their_probabilities() {
    let logits = [1.0f32, 3.0, f32::NAN, 3.0, -1.0];
    let top = top_log_probabilities(&logits, 3);
    assert_eq!(top.iter().map(|&(id, _)| id).collect::<Vec<_>>(), [1, 3, 0]);
    for (id, p) in top {
        assert_eq!(Some(p), log_probability(&logits, id));
    }
    assert_eq!(top_log_probabilities(&logits, 0), []);
    assert_eq!(top_log_probabilities(&logits, 100).len(), 4);
    assert_eq!(top_log_probabilities(&[], 3), []);
}
