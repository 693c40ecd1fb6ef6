"""Means over seeds, their intervals, and whether two configurations differ: Student's t, and no more than it allows.

A seed is one draw of everything random in a training: initial weights, order of the data, noise. With one seed nothing
is said about other seeds. With two to four the interval of the mean is so wide (t = 12.7, 4.3 and 3.2 standard errors)
that a curve's band shows what was seen instead: the smallest and the largest value.

Two configurations are compared by Welch's test (Welch 1947), which supposes neither equal variances nor equal numbers
of seeds. Where both were run with the same five seeds or more, the paired test is used: what a seed does to both
cancels. It pays with half the degrees of freedom, so that it wins when the correlation of the pairs exceeds
1 - (t_{2n-2} / t_{n-1})^2: .58 for n = 3, .31 for n = 5, .14 for n = 10; below five seeds that is more than trainings
with a common seed usually show. The rule looks at the seeds alone, never at the values.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

__all__ = ["LEVEL", "PAIRED_FROM", "Band", "Difference", "band", "difference", "half_width", "holm", "is_paired"]

#: Of all intervals and bands.
LEVEL = 0.95
#: Shared seeds from which on the paired test is used, and seeds from which on a band is an interval of the mean.
PAIRED_FROM = 5
_ROUNDING = 1e-12  # relative to the values: a spread below it is no spread


@dataclass(frozen=True)
class Difference:
    """The difference of two means, second minus first, each entry an array over what was tested at once.

    Args:
        mean, low, high: the difference and its 95 % interval.
        p: two-sided, of no difference.
        paired: which test it was.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray
    paired: bool


@dataclass(frozen=True)
class Band:
    """A curve of several seeds.

    Args:
        mean, low, high: (points,), NaN where no seed has a value.
        count: (points,) of seeds that have one.
        interval: whether low and high bound the mean by Student's t; if not, they are the smallest and largest value.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    count: np.ndarray
    interval: bool


def half_width(values: np.ndarray) -> np.ndarray:
    """Return half the 95 % interval of the mean, t s / sqrt(n), over the first axis (seeds).

    It is NaN for fewer than two seeds, and where all values agree to rounding: a number that no seed changes, such as a
    count, has no interval.

    Args:
        values: (seeds, *).
    """
    values = np.asarray(values, dtype=float)
    n = len(values)
    if n < 2:
        return np.full(values.shape[1:], np.nan)
    error = _standard_error(values)
    return np.where(error > 0, stats.t.ppf((1 + LEVEL) / 2, n - 1) * error, np.nan)


def is_paired(first: Collection[object], second: Collection[object]) -> bool:
    """Return whether two groups of seeds are compared pair by pair: the same seeds, five or more."""
    return len(first) >= PAIRED_FROM and set(first) == set(second)


def difference(first: np.ndarray, second: np.ndarray, paired: bool) -> Difference | None:
    """Test whether the means of two groups of seeds differ.

    Args:
        first: (seeds, *).
        second: (seeds, *); in the order of the seeds of `first` if paired.
        paired: Student's test of the differences; otherwise Welch's.

    Returns:
        None with fewer than two seeds on either side. Entries are NaN where nothing varies.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if min(len(first), len(second)) < 2:
        return None
    shift = np.asarray(second.mean(axis=0) - first.mean(axis=0))
    if paired:
        error, freedom = _standard_error(second - first), np.asarray(len(first) - 1)
    else:
        one, two = _standard_error(first) ** 2, _standard_error(second) ** 2
        error = np.sqrt(one + two)
        with np.errstate(invalid="ignore"):
            freedom = (one + two) ** 2 / (one**2 / (len(first) - 1) + two**2 / (len(second) - 1))
    error = np.where(error > 0, error, np.nan)
    width = stats.t.ppf((1 + LEVEL) / 2, freedom) * error
    p = 2 * stats.t.sf(np.abs(shift) / error, freedom)
    return Difference(shift, np.asarray(shift - width), np.asarray(shift + width), np.asarray(p), paired)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979): the chance of any false claim stays below alpha.

    Args:
        p_values: NaN where there was no test; it does not count.
    """
    corrected, largest = [float("nan")] * len(p_values), 0.0
    order = sorted((p, i) for i, p in enumerate(p_values) if p == p)
    for rank, (p, i) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p))
        corrected[i] = largest
    return corrected


def band(curves: np.ndarray) -> Band:
    """Return the mean of several curves and a band around it; see the module for what the band is.

    Args:
        curves: (seeds, points), at least one of each; NaN where a seed has no value.
    """
    curves = np.where(np.isfinite(curves), curves, np.nan)
    count = np.isfinite(curves).sum(axis=0)
    there = np.where(np.isnan(curves), 0.0, curves)
    mean = np.where(count > 0, there.sum(axis=0) / np.maximum(count, 1), np.nan)
    interval = len(curves) >= PAIRED_FROM
    if interval:
        squares = np.where(np.isnan(curves), 0.0, (curves - mean) ** 2).sum(axis=0)
        spread = np.sqrt(squares / np.maximum(count - 1, 1))
        width = stats.t.ppf((1 + LEVEL) / 2, np.maximum(count - 1, 1)) * spread / np.sqrt(np.maximum(count, 1))
        low, high = (np.where(count > 1, mean + sign * width, mean) for sign in (-1, 1))
    else:
        low = np.where(count > 0, np.where(np.isnan(curves), np.inf, curves).min(axis=0), np.nan)
        high = np.where(count > 0, np.where(np.isnan(curves), -np.inf, curves).max(axis=0), np.nan)
    return Band(mean, low, high, count, interval)


def _standard_error(values: np.ndarray) -> np.ndarray:
    """Return s / sqrt(n) over the first axis, 0 where all values agree to rounding."""
    spread = values.std(axis=0, ddof=1)
    return np.where(spread > _ROUNDING * np.abs(values).max(axis=0), spread / np.sqrt(len(values)), 0.0)
