import numpy as np
import pytest
from scipy import stats

from diffusion_lit.tracking.statistics import Band, band, difference, half_width, holm, is_paired


def test_the_interval_is_that_of_the_book():
    # 1, 2, 3: mean 2, s = 1, t_{.975, 2} = 4.30265, so 2 +- 4.30265 / sqrt(3) = 2.48414.
    assert half_width(np.array([1.0, 2.0, 3.0])) == pytest.approx(2.484138, abs=1e-6)
    values = np.random.default_rng(0).normal(size=(6, 4))
    low, high = stats.t.interval(0.95, 5, values.mean(0), stats.sem(values))
    assert half_width(values) == pytest.approx((high - low) / 2)


def test_one_seed_and_what_no_seed_changes_have_no_interval():
    assert np.isnan(half_width(np.array([1.0])))
    assert np.isnan(half_width(np.array([30.0, 30.0, 30.0])))
    assert np.isnan(half_width(np.array([0.1 + 0.2, 0.3])))
    assert difference(np.array([1.0]), np.array([2.0, 3.0]), paired=False) is None
    assert np.isnan(difference(np.array([1.0, 1.0]), np.array([2.0, 2.0]), paired=False).p)


def test_welch_is_scipys_and_the_hand_made_one():
    first, second = np.array([1.0, 2.0, 3.0]), np.array([4.0, 6.0])
    found = difference(first, second, paired=False)
    # Squared standard errors 1/3 and 1; t = 3 / sqrt(4/3) = 2.59808; df = (4/3)^2 / ((1/3)^2 / 2 + 1) = 1.68421.
    assert found.mean == pytest.approx(3.0)
    assert found.p == pytest.approx(2 * stats.t.sf(3 / np.sqrt(4 / 3), (4 / 3) ** 2 / ((1 / 3) ** 2 / 2 + 1)))
    width = stats.t.ppf(0.975, (4 / 3) ** 2 / ((1 / 3) ** 2 / 2 + 1)) * np.sqrt(4 / 3)
    assert (found.low, found.high) == pytest.approx((3 - width, 3 + width))


def test_pairs_cancel_what_the_seed_does_to_both():
    first = np.array([1.0, 5.0, 9.0, 2.0, 7.0])
    second = first + np.array([0.5, 0.6, 0.4, 0.5, 0.5])
    paired, welch = difference(first, second, paired=True), difference(first, second, paired=False)
    # Differences of mean .5 and s = .0707107: t = .5 / (.0707107 / sqrt 5) = 15.8114 on 4 degrees of freedom.
    assert paired.p == pytest.approx(2 * stats.t.sf(15.811388, 4), rel=1e-6)
    assert (paired.low, paired.high) == pytest.approx((0.5 - 0.0877989, 0.5 + 0.0877989), abs=1e-6)
    assert welch.p > 0.5


def test_pairs_are_chosen_by_the_seeds_alone():
    assert is_paired([0, 1, 2, 3, 4], [4, 3, 2, 1, 0])
    assert not is_paired([0, 1, 2, 3], [0, 1, 2, 3])
    assert not is_paired([0, 1, 2, 3, 4], [0, 1, 2, 3, 5])


def test_holm_is_that_of_the_paper():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.4, float("nan"), 0.01]) == pytest.approx([0.4, float("nan"), 0.02], nan_ok=True)
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(("seeds", "other", "ratio"), [(5, 5, 1.0), (3, 3, 1.0), (3, 8, 4.0)])
def test_a_null_comparison_is_called_significant_one_time_in_twenty(seeds, other, ratio):
    rng, many = np.random.default_rng(seeds + other), 20_000
    first, second = rng.normal(size=(seeds, many)), ratio * rng.normal(size=(other, many))
    found = difference(first, second, paired=is_paired(range(seeds), range(other)))
    claims = (found.p < 0.05).mean()
    covers = ((found.low < 0) & (found.high > 0)).mean()
    allowed = 3 * np.sqrt(0.05 * 0.95 / many)
    # Welch's test is not exact: with three seeds a side it claims less, which is the safe side.
    slack = 0.02 if seeds == other == 3 else 0.003 * (seeds != other)
    assert -slack - allowed < claims - 0.05 < allowed + 0.003 * (seeds != other)
    assert covers == pytest.approx(1 - claims, abs=1e-9)


def test_the_paired_test_is_exact_whatever_the_correlation():
    rng, many = np.random.default_rng(1), 20_000
    common = rng.normal(size=(5, many))
    first, second = common + rng.normal(size=(5, many)), common + rng.normal(size=(5, many))
    allowed = 3 * np.sqrt(0.05 * 0.95 / many)
    assert (difference(first, second, paired=True).p < 0.05).mean() == pytest.approx(0.05, abs=allowed)
    assert (difference(first, second, paired=False).p < 0.05).mean() < 0.05 - allowed  # conservative


def test_one_false_claim_among_all_groups_is_as_rare_as_promised():
    rng, many = np.random.default_rng(2), 2_000
    base = rng.normal(size=(6, many))
    p = np.stack([difference(base, rng.normal(size=(6, many)), paired=True).p for _ in range(4)], axis=1)
    any_claim = np.mean([min(holm(row.tolist())) < 0.05 for row in p])
    assert any_claim < 0.05 + 3 * np.sqrt(0.05 * 0.95 / many)
    assert (p.min(axis=1) < 0.05).mean() > 0.1  # what it would be without the correction


def test_a_band_is_what_was_seen_for_few_seeds_and_an_interval_for_five():
    few = band(np.array([[1.0, 4.0], [3.0, 2.0]]))
    assert not few.interval
    assert [few.mean.tolist(), few.low.tolist(), few.high.tolist()] == [[2.0, 3.0], [1.0, 2.0], [3.0, 4.0]]
    curves = np.random.default_rng(0).normal(size=(5, 3))
    many = band(curves)
    assert many.interval
    assert many.high - many.mean == pytest.approx(half_width(curves))
    assert many.mean - many.low == pytest.approx(half_width(curves))


@pytest.mark.parametrize("seeds", [2, 6])
def test_a_band_passes_over_what_is_missing(seeds):
    curves = np.random.default_rng(0).normal(size=(seeds, 4))
    curves[0, 1], curves[0, 2], curves[:, 3] = np.nan, np.inf, np.nan
    found: Band = band(curves)
    assert found.count.tolist() == [seeds, seeds - 1, seeds - 1, 0]
    assert found.mean[1] == pytest.approx(curves[1:, 1].mean())
    assert np.isnan([found.mean[3], found.low[3], found.high[3]]).all()
    if seeds > 2:
        assert found.high[1] - found.mean[1] == pytest.approx(half_width(curves[1:, 1]))
