import math

import pytest
import torch
from torch import Tensor

from diffusion_lit.analytic import GaussianDenoiser, GaussianMixtureDenoiser
from diffusion_lit.noise import VE, VP
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers import (
    MALA,
    ULA,
    Annealed,
    AnnealedLangevin,
    ConsistentAnnealed,
    Constant,
    Langevin,
    LogSNR,
    Relative,
    SignalToNoise,
)
from diffusion_lit.samplers.base import Mean

from .exact import Impulses, independent


def f64(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(("h", "expected"), [(0.1, 1.0526), (0.5, 1.3333)])
def test_ula_is_stationary_at_too_large_a_variance(h: float, expected: float):
    """N(0, 1) at every t of a variance-preserving schedule; the sum over all that each z does."""
    steps, times = 200, torch.linspace(1, 0, 201, dtype=torch.float64)
    rows = torch.zeros(steps + 1, 1, dtype=torch.float64)
    x = ULA(steps, h, t=0.3).integrate(independent(f64(1.0), VP()), rows, times, Impulses(steps + 1))
    assert x.square().sum().item() == pytest.approx(1 / (1 - h / 2), abs=1e-6)
    assert x.square().sum().item() == pytest.approx(expected, abs=6e-5)


def test_ula_stands_at_its_level():
    """Its samples are of p_t at its own t, t_min unless told."""
    denoiser = independent(f64(4.0), VP())
    for t in (None, 0.5):
        alpha, sigma = VP()(f64(VP().t_min if t is None else t))
        rows = torch.zeros(401, 1, dtype=torch.float64)
        rows = ULA(400, 0.02, t=t).integrate(
            denoiser, rows, torch.linspace(1, 0, 401, dtype=torch.float64), Impulses(401)
        )
        variance = (4 * alpha**2 + sigma**2).item()
        assert rows.square().sum().item() == pytest.approx(variance / (1 - 0.01 / variance), rel=0.02)


@pytest.mark.parametrize(("h", "low", "high"), [(0.1, 0.98, 1.0), (1.0, 0.6, 0.9), (3.0, 0.1, 0.5)])
def test_mala_is_exact_at_any_step_size(h: float, low: float, high: float):
    """In law from the start, it stays so: 20,000 chains from N(0, 1), where ULA's variance is 1 / (1 - h / 2)."""
    denoiser, n = independent(f64(1.0), VP()), 20_000
    noise = Randomness(3, torch.arange(n))
    x, accepted = MALA(20, h).run(denoiser, noise.normal(1, dtype=torch.float64), noise)
    assert x.var().item() == pytest.approx(1, abs=3 * math.sqrt(2 / n))  # 3 standard errors
    assert x.mean().item() == pytest.approx(0, abs=3 / math.sqrt(n))
    assert accepted.shape == (n,)
    assert low < accepted.mean().item() < high


def test_mala_finds_the_shares_of_a_mixture():
    """Two modes of weights .3 and .7, from a broad start; p_t at t = .3 lets chains cross."""
    denoiser = GaussianMixtureDenoiser(f64(0.3, 0.7), f64(-1.5, 1.5)[:, None], f64(0.1, 0.1), VP())
    n, schedule = 8000, VP()
    x = MALA(150, 0.5, t=0.3)(denoiser, (n, 1), seed=1)
    # for a mixture the mean is alpha (.7 - .3) 1.5, and the deviation is below 1
    expected = schedule(f64(0.3))[0].item() * 0.6
    assert x.mean().item() == pytest.approx(expected, abs=3 * x.std().item() / math.sqrt(n))  # 3 standard errors


def test_the_sampler_and_its_run_are_one_chain():
    denoiser, schedule = independent(f64(1.0, 0.2), VP()), VP()
    noise = Randomness(0, torch.arange(5))
    start = noise.normal(2, dtype=torch.float64) * schedule(f64(1.0))[1]
    x, _ = MALA(12, 0.3).run(denoiser, start, noise)
    torch.testing.assert_close(MALA(12, 0.3)(denoiser, (5, 2), seed=0), x, rtol=0, atol=1e-12)


LADDER = VE(0.01, 10.0)
LADDER.t_min = 1e-12  # down to .01 itself


def ladder_variances(eps: float, levels: int, moves: int) -> float:
    """v' = (1 - a / (1 + s^2))^2 v + 2 a, a = eps (s / .01)^2, level by level from 100."""
    variance = 100.0
    for sigma in LADDER(LogSNR()(LADDER, levels)[:-1])[1].tolist():
        a = eps * (sigma / LADDER(f64(LADDER.t_min))[1].item()) ** 2
        for _ in range(moves):
            variance = (1 - a / (1 + sigma**2)) ** 2 * variance + 2 * a
    return variance


def test_annealed_langevin_is_biased_as_is_known():
    """Data N(0, 1), sigma 10 -> .01 in 50 levels of 5 moves: variance 1.2270, and 1.2268 of the mean."""
    eps, levels, moves = 1.6117e-5, 50, 5
    draws = 1 + levels * moves
    x = torch.zeros(draws, 1, dtype=torch.float64)
    x[0] = 10.0
    sampler = AnnealedLangevin(levels, moves, Annealed(eps))
    x = sampler.integrate(independent(f64(1.0), LADDER), x, LogSNR()(LADDER, levels), Impulses(draws))
    denoised = x.square().sum().item()
    expected = ladder_variances(eps, levels, moves)
    shrink = 1 / (1 + LADDER(f64(LADDER.t_min))[1].item() ** 2)
    assert denoised == pytest.approx(expected * shrink**2, rel=1e-6)
    assert expected == pytest.approx(1.2270, abs=6e-5)
    assert denoised == pytest.approx(1.2268, abs=6e-5)


def test_a_ladder_is_the_same_for_every_schedule_of_the_same_levels():
    """In y = x / alpha only r = sigma / alpha counts: VP's levels against a VE of the same r."""
    vp, ve = VP(), VE(0.005, 160.0)
    times = LogSNR()(vp, 12)
    same = torch.cat((ve.time(vp.log_snr(times[:-1])), f64(0.0)))
    step = Relative(0.3)
    start = Randomness(1, torch.arange(4)).normal(2, dtype=torch.float64)
    x, y = (
        AnnealedLangevin(12, 3, step).integrate(
            independent(f64(1.0, 0.1), schedule), start * schedule(t[0])[1], t, Randomness(0, torch.arange(4))
        )
        for schedule, t in ((vp, times), (ve, same))
    )
    # sigma_1 of VP is alpha_1 times that of its VE
    z = AnnealedLangevin(12, 3, step).integrate(
        independent(f64(1.0, 0.1), ve),
        start * (vp(times[0])[1] / vp(times[0])[0]),
        same,
        Randomness(0, torch.arange(4)),
    )
    torch.testing.assert_close(x, z, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(y, z, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("schedule", [VE(0.01, 50.0), VP()], ids=["ve", "vp"])
@pytest.mark.parametrize("eta", [0.4, 0.7, 1.0])
def test_consistent_sampling_of_a_point_keeps_the_level(schedule: VE | VP, eta: float):
    """The deviation after each step is exactly sigma of the level it arrives at, if it was at the start."""
    point = independent(f64(0.0), schedule)
    times = LogSNR()(schedule, 24)
    for count in (2, 9, 24):
        x = torch.zeros(count, 1, dtype=torch.float64)
        x[0] = schedule(times[0])[1]
        x = ConsistentAnnealed(24, eta).integrate(point, x, times[:count], Impulses(count))
        assert x.square().sum().sqrt().item() == pytest.approx(schedule(times[count - 1])[1].item(), rel=1e-9)


def test_consistent_sampling_needs_a_long_enough_step():
    with pytest.raises(ValueError, match=r"eta: 0.1 is too small .* needs 0\.39"):
        ConsistentAnnealed(18, eta=0.1)(independent(f64(1.0), VE()), (2, 1), seed=0)
    ConsistentAnnealed(18, eta=0.4)(independent(f64(1.0), VE()), (2, 1), seed=0)
    with pytest.raises(ValueError, match=r"eta: 0\.0 is not in"):
        ConsistentAnnealed(18, eta=0.0)


def test_step_sizes():
    schedule, t = VP(), f64(0.4)[0]
    alpha, sigma = schedule(t)
    score, z = f64(3.0, 4.0, 0.0, 2.0).reshape(2, 2), f64(0.0, 1.0, 2.0, 0.0).reshape(2, 2)
    torch.testing.assert_close(SignalToNoise(0.16)(schedule, t, score, z), 2 * (0.16 * f64(1 / 5, 1.0)) ** 2)
    torch.testing.assert_close(Relative(0.16)(schedule, t, score, z), 2 * (0.16 * sigma) ** 2)
    last_alpha, last_sigma = schedule(f64(schedule.t_min))
    h = 2e-5 * (sigma / alpha) ** 2 / (last_sigma / last_alpha)[0] ** 2  # in y
    torch.testing.assert_close(Annealed(2e-5)(schedule, t, score, z), alpha**2 * h)
    assert Constant(0.3)(schedule, t, score, z).item() == 0.3


def test_a_move_by_hand():
    denoiser, t = independent(f64(0.5, 0.5), VP()), f64(0.4)[0]
    x, h = f64(1.0, -2.0)[None], 0.1
    z = Randomness(0, torch.arange(1)).normal(2, dtype=torch.float64)
    moved = Langevin(Constant(h))(Mean(denoiser), x, t, Randomness(0, torch.arange(1)))
    alpha, sigma = VP()(t)
    torch.testing.assert_close(moved, x - h * x / (0.5 * alpha**2 + sigma**2) + math.sqrt(2 * h) * z)


def test_mala_needs_an_energy():
    class ScoreOnly(GaussianDenoiser):
        log_density = None  # type: ignore[assignment]

    with pytest.raises(ValueError, match=r"ScoreOnly knows a score and no energy.*use ULA"):
        MALA(3)(ScoreOnly(torch.zeros(2), torch.eye(2), VP()), (2, 2), seed=0)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("inf")])
def test_step_sizes_are_positive(bad: float):
    for make in (Constant, Annealed, SignalToNoise, Relative):
        with pytest.raises(ValueError, match="positive"):
            make(bad)
    with pytest.raises(ValueError, match="positive"):
        MALA(2, -abs(bad))
