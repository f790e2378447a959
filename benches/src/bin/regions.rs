//! The cost of a parallel region in our thread pool and in rayon and chili: `regions [--threads N] [--rounds N]`.
//!
//! A region is 8 pieces that end together; decoding a token of a small model takes about two hundred regions of tens of
//! microseconds each. Prints microseconds per region, the median over rounds in which the pools are interleaved, for empty
//! pieces and for pieces of about 2.5 µs, and finally for these beside one busy thread more than the machine has cores.
//! Every answer is checked.

use chili::Config;
use edgellm::kernels::Pool;
use rayon::prelude::*;
use std::hint::black_box;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

const PIECES: usize = 8;
const REGIONS: usize = 2000;

type Failure = Box<dyn std::error::Error>;
type Piece<'a> = &'a (dyn Fn(usize) + Sync);

/// Ways to run a region, each with its name.
struct Pools {
    threads: usize,
    own: Arc<Pool>,
    rayon: rayon::ThreadPool,
    chili: chili::ThreadPool,
}

impl Pools {
    const NAMES: [&str; 4] = ["one thread", "ours", "rayon", "chili"];

    fn start(threads: usize) -> Result<Self, Failure> {
        let own = Arc::new(Pool::new());
        for _ in 1..threads {
            let pool = Arc::clone(&own);
            std::thread::spawn(move || pool.work());
        }
        let count = NonZero::new(threads);
        let chili = chili::ThreadPool::with_config(Config { thread_count: count, ..Config::default() });
        Ok(Pools {
            threads,
            own,
            rayon: rayon::ThreadPoolBuilder::new().num_threads(threads).build()?,
            chili,
        })
    }

    /// Microseconds per region of `piece` in the named pool.
    fn time(&self, name: &str, piece: Piece<'_>) -> f64 {
        let start = Instant::now();
        match name {
            "ours" => {
                (0..REGIONS).for_each(|_| self.own.for_each_range(PIECES, &|range| range.for_each(piece)))
            }
            // From a thread of the pool, as an engine on the pool's threads would.
            "rayon" => self.rayon.install(|| {
                (0..REGIONS).for_each(|_| (0..PIECES).into_par_iter().with_max_len(1).for_each(piece));
            }),
            "chili" => {
                let mut scope = self.chili.scope();
                (0..REGIONS).for_each(|_| halves(&mut scope, 0, PIECES, piece));
            }
            _ => (0..REGIONS).for_each(|_| (0..PIECES).for_each(piece)),
        }
        start.elapsed().as_secs_f64() * 1e6 / REGIONS as f64
    }
}

/// The pieces of a range, by halving.
fn halves(scope: &mut chili::Scope<'_>, first: usize, end: usize, piece: Piece<'_>) {
    if end - first == 1 {
        return piece(first);
    }
    let middle = first.midpoint(end);
    scope.join(|scope| halves(scope, first, middle, piece), |scope| halves(scope, middle, end, piece));
}

/// Steps that depend on each other, about 1 ns each.
fn work(steps: usize) {
    black_box((0..steps).fold(1u64, |x, _| black_box(x.wrapping_mul(0x9e37_79b9_7f4a_7c15))));
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str, default: usize| -> Result<usize, Failure> {
        match args.iter().position(|arg| arg == name) {
            Some(at) => Ok(args.get(at + 1).ok_or("an option lacks its value")?.parse()?),
            None => Ok(default),
        }
    };
    let (threads, rounds) = (option("--threads", 2)?, option("--rounds", 9)?);
    let pools = Pools::start(threads)?;
    while pools.own.threads() < threads {
        std::thread::yield_now();
    }
    println!("{} threads, {PIECES} pieces, {REGIONS} regions a round, {rounds} rounds", pools.threads);
    for (what, steps, busy) in
        [("empty", 0, false), ("pieces of 2.5 µs", 2500, false), ("the same, busy core", 2500, true)]
    {
        let rest = AtomicBool::new(!busy);
        let mut times = [const { Vec::new() }; Pools::NAMES.len()];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !rest.load(Ordering::Relaxed) {
                    black_box(());
                }
            });
            for round in 0..=rounds {
                for (name, times) in Pools::NAMES.iter().zip(&mut times) {
                    let done = AtomicU64::new(0);
                    let time = pools.time(name, &|index| {
                        work(steps);
                        done.fetch_add(1 << (8 * index), Ordering::Relaxed);
                    });
                    let expected =
                        (0..PIECES as u32).fold(0u64, |sum, i| sum.wrapping_add((REGIONS as u64) << (8 * i)));
                    assert_eq!(done.into_inner(), expected, "{name} left out a piece");
                    if round > 0 {
                        times.push(time);
                    }
                }
            }
            rest.store(true, Ordering::Relaxed);
        });
        print!("{what:22}");
        for (name, mut times) in Pools::NAMES.iter().zip(times) {
            times.sort_by(f64::total_cmp);
            print!("  {name} {:.2}", times[times.len() / 2]);
        }
        println!(" µs a region");
    }
    pools.own.close();
    Ok(())
}
