//! Which matrix gets which width: Lagrange's way, by gain per byte.

use std::cmp::Ordering;

/// What a width of a matrix takes, and what it loses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Choice {
    pub(super) bytes: u64,
    pub(super) loss: f64,
}

/// From one width of a matrix to a wider one.
#[derive(Clone, Copy, Debug)]
struct Step {
    matrix: usize,
    /// Index of the wider one among the matrix's choices.
    to: usize,
    bytes: u64,
    /// Loss that a byte spares.
    slope: f64,
}

/// The choice of each matrix, by its index, for at most `budget` bytes in all; the smallest everywhere if not even they fit.
///
/// The steps along the convex hulls are taken by falling gain per byte. As far as they fit without a gap that is the optimum for
/// the bytes used. Where a step does not fit, those behind it may, of other matrices: what they gain is less than what the step
/// would, so a larger budget never loses more.
pub(super) fn allocate(matrices: &[Vec<Choice>], budget: u64) -> Vec<usize> {
    let hulls: Vec<Vec<usize>> = matrices.iter().map(|choices| hull(choices)).collect();
    let mut chosen: Vec<usize> = hulls.iter().map(|hull| hull.first().copied().unwrap_or(0)).collect();
    let at =
        |matrix: usize, index: usize| matrices.get(matrix).and_then(|choices| choices.get(index)).copied();
    let taken = (0..).zip(&chosen).filter_map(|(matrix, &index)| at(matrix, index));
    let mut left = budget.saturating_sub(taken.map(|choice| choice.bytes).sum());
    let mut steps = Vec::new();
    for (matrix, hull) in hulls.iter().enumerate() {
        for pair in hull.windows(2) {
            if let &[from, to] = pair
                && let (Some(a), Some(b)) = (at(matrix, from), at(matrix, to))
            {
                let bytes = b.bytes - a.bytes;
                steps.push(Step { matrix, to, bytes, slope: (a.loss - b.loss) / bytes as f64 });
            }
        }
    }
    // Stable: equal ones stay in the order of the matrices.
    steps.sort_by(|a, b| b.slope.total_cmp(&a.slope));
    let mut closed = vec![false; matrices.len()];
    for Step { matrix, to, bytes, .. } in steps {
        if closed[matrix] {
            continue;
        }
        if bytes <= left {
            left -= bytes;
            chosen[matrix] = to;
        } else {
            closed[matrix] = true;
        }
    }
    chosen
}

/// The lower convex hull of a matrix's choices from the smallest on, while the loss falls: their indices.
fn hull(choices: &[Choice]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..choices.len()).collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (choices[a], choices[b]);
        a.bytes.cmp(&b.bytes).then(a.loss.total_cmp(&b.loss))
    });
    let slope = |from: usize, to: usize| {
        let (from, to) = (choices[from], choices[to]);
        (from.loss - to.loss) / (to.bytes - from.bytes) as f64
    };
    // What is no number does not.
    let falls =
        |from: usize, to: usize| choices[to].loss.partial_cmp(&choices[from].loss) == Some(Ordering::Less);
    let mut hull: Vec<usize> = Vec::new();
    for index in order {
        match hull.last() {
            Some(&last) if !falls(last, index) => continue,
            _ => {}
        }
        while let [.., before, last] = hull[..]
            && slope(before, last) <= slope(last, index)
        {
            hull.pop();
        }
        hull.push(index);
    }
    hull
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random_bytes;

    fn total(matrices: &[Vec<Choice>], chosen: &[usize]) -> (u64, f64) {
        let chosen = matrices.iter().zip(chosen).map(|(choices, &index)| choices[index]);
        chosen.fold((0, 0.0), |(bytes, loss), choice| (bytes + choice.bytes, loss + choice.loss))
    }

    /// Three matrices of four widths, as they fall out.
    fn random(seed: u64) -> Vec<Vec<Choice>> {
        let bytes = random_bytes(24, seed);
        bytes
            .chunks(8)
            .map(|matrix| {
                let (mut bytes, mut loss) = (0, 600.0);
                matrix
                    .chunks(2)
                    .map(|pair| {
                        bytes += u64::from(pair[0]) + 1;
                        loss -= f64::from(pair[1]) / 2.0;
                        Choice { bytes, loss }
                    })
                    .collect()
            })
            .collect()
    }

    /// The least loss of all combinations.
    fn brute_force(matrices: &[Vec<Choice>], budget: u64) -> f64 {
        let mut best = f64::INFINITY;
        for combination in 0..64_usize {
            let chosen = [combination % 4, combination / 4 % 4, combination / 16];
            let (bytes, loss) = total(matrices, &chosen);
            if bytes <= budget {
                best = best.min(loss);
            }
        }
        best
    }

    #[test]
    fn nothing_is_better_at_the_bytes_it_uses() {
        let (mut optimal, mut all) = (0, 0);
        for seed in 0..200 {
            let matrices = random(seed);
            let smallest = total(&matrices, &[0; 3]).0;
            let largest = total(&matrices, &[3; 3]).0;
            // Where every step so far fitted, the bytes used are a point of the hull of all together.
            let mut steps = Vec::new();
            for budget in smallest..=largest {
                let chosen = allocate(&matrices, budget);
                let (bytes, loss) = total(&matrices, &chosen);
                assert!(bytes <= budget);
                let best = brute_force(&matrices, budget);
                assert!(loss >= best - 1e-9);
                steps.push((bytes, loss));
                all += 1;
                optimal += usize::from(loss <= best + 1e-9);
            }
            // On the hull of the whole curve the greedy choice is the optimum.
            let points: Vec<Choice> = steps.iter().map(|&(bytes, loss)| Choice { bytes, loss }).collect();
            for index in hull(&points) {
                let Choice { bytes, loss } = points[index];
                assert!((loss - brute_force(&matrices, bytes)).abs() < 1e-9, "seed {seed}, {bytes} bytes");
            }
        }
        // Between them the best fill of the gap is a knapsack of its own.
        assert!(optimal * 2 >= all, "{optimal} of {all}");
    }

    #[test]
    fn more_bytes_never_lose_more() {
        for seed in 0..200 {
            let matrices = random(seed);
            let mut before = f64::INFINITY;
            for budget in total(&matrices, &[0; 3]).0..=total(&matrices, &[3; 3]).0 + 2 {
                let loss = total(&matrices, &allocate(&matrices, budget)).1;
                assert!(loss <= before + 1e-9, "seed {seed}, {budget} bytes: {loss} after {before}");
                before = loss;
            }
        }
    }

    #[test]
    fn hulls_leave_out_what_does_not_pay() {
        let choice = |bytes, loss| Choice { bytes, loss };
        // Above the line, larger for nothing, and no number.
        let choices = [
            choice(1, 9.0),
            choice(2, 8.5),
            choice(3, 1.0),
            choice(4, 1.0),
            choice(5, f64::NAN),
            choice(6, 0.5),
            choice(6, 0.7),
        ];
        assert_eq!(hull(&choices), [0, 2, 5]);
        assert_eq!(allocate(&[choices.to_vec()], 100), [5]);
        assert_eq!(allocate(&[vec![choice(7, 1.0), choice(3, 1.0)]], 100), [1], "no gain, no bytes");
        assert_eq!(allocate(&[], 5), [0; 0]);
    }

    #[test]
    fn equals_go_by_their_order() {
        let matrix = vec![Choice { bytes: 1, loss: 2.0 }, Choice { bytes: 2, loss: 1.0 }];
        assert_eq!(allocate(&[matrix.clone(), matrix.clone(), matrix], 4), [1, 0, 0]);
    }
}
