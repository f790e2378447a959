#!/usr/bin/env python3
"""Statistics of seeded samples by scipy and numpy, which host/benchmark/tests/statistics.rs compares with.

pip install scipy==1.17.1 numpy==2.4.6
python3 scripts/benchmark/statistics_fixtures.py >host/benchmark/tests/statistics.json
"""

import json

import numpy as np
import scipy
from scipy import stats

random = np.random.default_rng(20261124)
SHARES = [0.25, 0.5, 0.75, 0.95, 0.99]


def rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in values]


def described(samples: list[float]) -> dict:
    low, high = stats.bootstrap(
        (np.array(samples),), np.mean, n_resamples=50_000, batch=1_000, method="percentile", rng=random
    ).confidence_interval
    return {
        "samples": samples,
        "mean": float(np.mean(samples)),
        "stddev": float(np.std(samples, ddof=1)),
        "percentiles": [float(np.quantile(samples, share)) for share in SHARES],
        "ci95": [float(low), float(high)],
    }


def tested(a: list[float], b: list[float]) -> dict:
    p = stats.mannwhitneyu(a, b, alternative="two-sided", method="asymptotic", use_continuity=True).pvalue
    return {"a": a, "b": b, "p": float(p)}


rates = rounded(random.normal(200, 8, 100))
times = rounded(random.lognormal(1.5, 0.4, 61))
few = rounded(random.exponential(10, 9))
ties = [float(value) for value in random.integers(0, 6, 40)]
# Shuffled, so that the order of the correction is tested too.
p_values = rounded(random.uniform(0, 0.1, 12))
order = np.argsort(p_values)
raised = np.empty(len(p_values))
raised[order] = np.minimum(1, np.maximum.accumulate(np.array(p_values)[order] * np.arange(len(p_values), 0, -1)))

print(
    json.dumps(
        {
            "scipy": scipy.__version__,
            "shares": SHARES,
            "described": [described(samples) for samples in (rates, times, few, ties)],
            "tested": [
                tested(rates, rounded(random.normal(200, 8, 90))),
                tested(rates, rounded(random.normal(196, 8, 100))),
                tested(rates, rounded(random.normal(182, 8, 100))),
                tested(times, few),
                tested(ties, [float(value) for value in random.integers(1, 7, 33)]),
                tested(few, few),
            ],
            "holm": {"p": p_values, "adjusted": [float(value) for value in raised]},
        }
    )
)
