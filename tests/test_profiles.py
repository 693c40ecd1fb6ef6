"""Profiles of averages: their inner products, and any width as a sum of those that were kept."""

import pytest
import torch
from scipy.integrate import quad

from diffusion_lit.errors import UserError
from diffusion_lit.profiles import exponent, inner_products, reconstruct

STEPS = 512


def profile(t: float, end: float, gamma: float) -> float:
    return (gamma + 1) * t**gamma / end ** (gamma + 1) if t <= end else 0.0


def shares(end: int, width: float) -> torch.Tensor:
    """What an average at step `end` has of the weights of each step: the integral of its profile over the step."""
    edges = torch.arange(STEPS + 1, dtype=torch.float64).clamp(max=end) / end
    return edges.pow(exponent(width) + 1).diff()


def kept(every: int) -> tuple[list[int], list[float]]:
    pairs = [(t, w) for t in range(every, STEPS + 1, every) for w in (0.05, 0.10)]
    return [t for t, _ in pairs], [w for _, w in pairs]


def test_inner_products_are_the_integrals():
    s, gamma, t, delta = [0.4, 1.0, 2.5], [16.97, 6.94, 1.5], [2.5, 0.7], [6.94, 3.0]
    found = inner_products(*(torch.tensor(v, dtype=torch.float64) for v in (s, gamma, t, delta)))
    for i in range(3):
        for j in range(2):
            end = min(s[i], t[j])
            exact, _ = quad(lambda x: profile(x, s[i], gamma[i]) * profile(x, t[j], delta[j]), 0, end, epsrel=1e-10)  # noqa: B023
            assert float(found[i, j]) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("width", [0.05, 0.10])
def test_a_width_that_was_kept_is_itself(width):
    times, widths = kept(32)
    coefficients, error = reconstruct(times, widths, time=STEPS, width=width)
    itself = torch.tensor([float(t == STEPS and w == width) for t, w in zip(times, widths)], dtype=torch.float64)
    torch.testing.assert_close(coefficients, itself, rtol=0, atol=1e-6)
    assert error < 1e-6


@pytest.mark.parametrize("width", [0.02, 0.07, 0.15, 0.25])
def test_the_sum_is_the_nearest_one(width):
    # the midpoint rule on 200,000 points is the integral to far below 1e-6
    times, widths = kept(64)
    coefficients, error = reconstruct(times, widths, time=STEPS, width=width)
    t = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000 * STEPS

    def on_grid(end: float, w: float) -> torch.Tensor:
        gamma = exponent(w)
        return torch.where(t <= end, (gamma + 1) / end * (t / end) ** gamma, 0)

    basis = torch.stack([on_grid(end, w) for end, w in zip(times, widths)])
    wanted = on_grid(STEPS, width)
    residual = coefficients @ basis - wanted
    assert float(residual.norm() / wanted.norm()) == pytest.approx(error, rel=1e-4, abs=1e-7)
    assert float((basis @ residual / basis.norm(dim=1)).abs().max() / wanted.norm()) < 1e-6  # the normal equations


def test_the_error_bounds_the_weights_and_falls_with_the_spacing():
    walk = torch.randn(STEPS, 100, generator=torch.Generator().manual_seed(0), dtype=torch.float64).cumsum(0)
    width, errors = 0.13, []
    gamma = exponent(width)
    norm = (gamma + 1) / ((2 * gamma + 1) * STEPS) ** 0.5  # of the profile
    for every in (128, 64, 32, 16):
        times, widths = kept(every)
        coefficients, error = reconstruct(times, widths, time=STEPS, width=width)
        averages = torch.stack([shares(end, w) @ walk for end, w in zip(times, widths)])
        off = (coefficients @ averages - shares(STEPS, width) @ walk).abs()
        # |integral of (sum - profile) weights| <= |sum - profile| |weights|, weights being constant over a step
        assert (off <= error * norm * walk.norm(dim=0) + 1e-9).all()
        errors.append(error)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-2 < errors[0]


def test_what_cannot_be_reconstructed_is_refused():
    with pytest.raises(UserError, match=r"0\.3"):
        reconstruct([1.0], [0.05], time=1.0, width=0.3)
    with pytest.raises(UserError, match="positive"):
        reconstruct([0.0, 1.0], [0.05, 0.05], time=1.0, width=0.1)
    with pytest.raises(UserError, match="positive"):
        reconstruct([], [], time=1.0, width=0.1)
