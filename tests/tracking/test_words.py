import math

import pytest

from diffusion_lit.tracking.words import best, is_baseline, quantity, show


@pytest.mark.parametrize(
    ("name", "goal"),
    [
        ("psnr_hidden/posterior_mean", "high"),
        ("restoration/box12/dps/psnr_hidden", "high"),
        ("restoration/box12/dps/ssim", "high"),
        ("lpips/sample", "low"),
        ("fd_alex/model", "low"),
        ("fd/alex-256/n=1000/ema-0.05/heun-18", "low"),
        ("kd/alex-256/n=1000/ema-0.05/heun-18", "low"),
        ("validation/loss/ema-0.05", "low"),
        ("misfit_ratio", "one"),
        ("images_seen", ""),
        ("something/new", ""),
    ],
)
def test_knows_which_way_is_better(name, goal):
    assert quantity(name).goal == goal


def test_best_follows_the_goal_and_passes_over_what_is_missing():
    values = [1.2, None, 0.7, 0.7, math.nan]
    assert best(values, "high") == {0}
    assert best(values, "low") == {2, 3}
    assert best(values, "one") == {0}
    assert best(values, "") == set()
    assert best([1.0, 1.0], "low") == set()
    assert best([1.0, None], "low") == set()


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (14.1234, "dB", "14.12 dB"),
        (12800, "images", "12,800"),
        (251.3, "s", "4 min 11 s"),
        (8.25, "s", "8.2 s"),
        (7260, "s", "2 h 01 min"),
        (0.0712, "", "0.07120"),
        (1234.56, "", "1,235"),
        (2.5e-7, "", "2.5e-07"),
        (math.nan, "", "not a number"),
        (-math.inf, "dB", "infinite"),
    ],
)
def test_shows_numbers_as_a_reader_wants_them(value, unit, text):
    assert show(value, unit) == text


def test_baselines_are_what_is_not_the_model():
    assert is_baseline("psnr_hidden/gaussian")
    assert not is_baseline("psnr_hidden/posterior_mean")
