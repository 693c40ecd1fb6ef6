"""CoPaint: the moves of a level against the formula, backtracking of each sample, cost."""

import pytest
import torch

from diffusion_lit.cost import counted
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.posterior import CoPaint
from diffusion_lit.noise import EDM, VP
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers.ancestral import renoise
from tests.inverse.problems import gaussian_problem

T, S = torch.tensor(0.5, dtype=torch.float64), torch.tensor(0.4, dtype=torch.float64)


def test_the_moves_are_their_formula() -> None:
    """Plain gradient descent, with a step that is halved when the loss has not fallen."""
    denoiser, measurement = gaussian_problem(3)
    a = measurement.linear.matrix()
    start = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for rate in (0.1, 40.0):
        method = CoPaint(moves=4, rate=rate)
        step, weight = (float(c) for c in method.scales(VP(), T))
        refused, expected = 0, torch.empty_like(start)
        for i in range(6):

            def loss(x: torch.Tensor, i: int = i, weight: float = weight) -> torch.Tensor:
                fit = (measurement.y - a @ denoiser(x[None], T).mean[0]).square().sum()
                return fit + weight * (x - start[i]).square().sum()

            x, length = start[i], step
            for _ in range(4):
                trial = x - length * torch.func.grad(loss)(x)
                if loss(trial) <= loss(x):
                    x = trial
                else:
                    refused, length = refused + 1, length / 2
            expected[i] = renoise(VP(), denoiser(x[None], T).mean, x[None], T, S, 0.0)[0][0]
        assert (refused > 0) == (rate > 1)
        actual = method.step(denoiser, measurement, start, T, S, Randomness(1, torch.arange(6)))
        torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-6)


def test_the_published_rates() -> None:
    """At the ends of a variance-preserving schedule: 0.02 and 0.4 times alpha, 1e-4 and 12e-4."""
    for t, rate, weight in ((1.0, 0.02, 1e-4), (VP().t_min, 0.4, 12e-4)):
        at = torch.tensor(t, dtype=torch.float64)
        found = CoPaint().scales(VP(), at)
        assert float(found[0] / VP()(at)[0]) == pytest.approx(rate)
        assert float(found[1]) == pytest.approx(weight)
    rate, _ = CoPaint().scales(EDM(), torch.tensor(1.0, dtype=torch.float64))
    assert float(rate) == pytest.approx(0.02 * (1 + 80.0**2) ** 0.5, rel=1e-6)


def test_it_meets_y_better_than_it_would() -> None:
    denoiser, measurement = gaussian_problem(1)
    misfits = [
        float(measurement.misfit(CoPaint(40, moves)(denoiser, measurement, samples=50, seed=1)).mean())
        for moves in (1, 4)
    ]
    unguided = float(measurement.misfit(denoiser.sample(50, 1)).mean())
    assert misfits[1] < misfits[0] < 0.7 * unguided


def test_cost() -> None:
    denoiser, measurement = gaussian_problem(1)
    for method in (CoPaint(5, moves=1), CoPaint(6, moves=3, travel_length=2, travel_repeat=2)):
        with counted(denoiser) as cost:
            method(denoiser, measurement, samples=2)
        assert (cost.forwards, cost.vjps) == (method.nfe, method.vjps)


def test_bad_input() -> None:
    with pytest.raises(UserError, match="moves 0"):
        CoPaint(moves=0)
    with pytest.raises(UserError, match="jump_n_sample 0"):
        CoPaint(travel_repeat=0)
