//! Which runs to do, and in which order.
//!
//! A cell is one prompt length on one worker. Runs of all cells are interleaved, A B C A B C, so that whatever else the
//! machine does affects all of them alike. If time is short, slow cells run less often, spread evenly over the whole.

use std::time::Duration;

/// Fewest runs of a cell, however slow it is.
const FEWEST: usize = 5;

/// How many runs each cell gets: `iterations`, or fewer if the time does not suffice.
///
/// `durations` has the time of one run of each cell. If `iterations` of all do not fit into `budget`, every cell gets the
/// same time, if it needs it, and as many runs as fit into that; at least five (or `iterations`).
pub fn shares(durations: &[Duration], iterations: usize, budget: Option<Duration>) -> Vec<usize> {
    let Some(budget) = budget else { return vec![iterations; durations.len()] };
    let fewest = FEWEST.min(iterations);
    let runs = |time: f64, of: f64| ((time / of.max(1e-6)) as usize).clamp(fewest, iterations);
    let seconds: Vec<f64> = durations.iter().map(Duration::as_secs_f64).collect();
    let needed = |time: f64| seconds.iter().map(|&of| runs(time, of) as f64 * of).sum::<f64>();
    // The time limit per cell, by bisection: the total grows with it.
    let (mut low, mut high) = (0.0, seconds.iter().sum::<f64>() * iterations as f64 + 1.0);
    if needed(high) <= budget.as_secs_f64() {
        return vec![iterations; durations.len()];
    }
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if needed(middle) <= budget.as_secs_f64() { low = middle } else { high = middle }
    }
    seconds.iter().map(|&of| runs(low, of)).collect()
}

/// The sequence of cells to run: round by round, each cell in as many rounds as it has runs, evenly spread.
pub fn schedule(shares: &[usize]) -> Vec<usize> {
    let rounds = shares.iter().copied().max().unwrap_or(0);
    let due = |share: usize, round: usize| (round + 1) * share / rounds > round * share / rounds;
    (0..rounds).flat_map(|round| (0..shares.len()).filter(move |&cell| due(shares[cell], round))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_take_turns() {
        assert_eq!(schedule(&[2, 2, 2]), [0, 1, 2, 0, 1, 2]);
        assert_eq!(schedule(&[4, 2]), [0, 0, 1, 0, 0, 1]);
        assert_eq!(schedule(&[]), [0; 0]);
        let runs = schedule(&[100, 7, 33]);
        for (cell, share) in [100, 7, 33].into_iter().enumerate() {
            assert_eq!(runs.iter().filter(|&&run| run == cell).count(), share);
        }
    }

    #[test]
    fn without_a_budget_all_cells_are_equal() {
        assert_eq!(shares(&[Duration::from_secs(9), Duration::ZERO], 100, None), [100, 100]);
    }

    #[test]
    fn slow_cells_give_way() {
        let durations = [100, 100, 4_000, 60_000].map(Duration::from_millis);
        let shares = shares(&durations, 100, Some(Duration::from_secs(500)));
        assert_eq!(shares[..2], [100, 100]);
        assert_eq!(shares[3], 5);
        let total: f64 = shares.iter().zip(durations).map(|(&n, of)| n as f64 * of.as_secs_f64()).sum();
        assert!((450.0..=500.0).contains(&total), "{shares:?} take {total} s");
    }
}
