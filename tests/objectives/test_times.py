import math

import pytest
import torch
from scipy import stats

from diffusion_lit.noise import EDM, VP, Cosine, DiscreteVP, Rectified, Schedule
from diffusion_lit.objectives import LogNormal, LogSNRUniform, UniformTime
from diffusion_lit.objectives.times import TimeSampler
from diffusion_lit.randomness import Randomness, weyl

SCHEDULES = {"vp": VP(), "cosine": Cosine(), "edm": EDM(), "rectified": Rectified(), "ddpm": DiscreteVP.linear()}
SAMPLERS = {"uniform": UniformTime(), "log-normal": LogNormal(), "log-snr": LogSNRUniform()}
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)


@every_schedule
@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_times_are_quantiles(sampler: TimeSampler, schedule: Schedule):
    t = sampler(torch.linspace(1e-6, 1 - 1e-6, 500, dtype=torch.float64), schedule)
    assert t.dtype == torch.float64
    assert bool((t.diff() >= 0).all())
    assert 0 < float(t.min()) < float(t.max()) <= 1


def p_value(values: torch.Tensor, law: str, *args: float) -> float:
    return float(stats.kstest(values.numpy(), law, args=args).pvalue)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_laws_are_those_named(seed: int):
    u = Randomness(seed, torch.arange(3000)).uniform(1).flatten()
    assert p_value(UniformTime(0.1)(u, VP()), "uniform", 0.1, 0.9) > 1e-3
    # within 3.5 standard deviations of its mean the noise of EDM is inside its schedule, so nothing is clamped
    for schedule in (EDM(), VP()):
        log_snr = schedule.log_snr(LogNormal()(u, schedule))
        assert p_value(-log_snr / 2, "norm", -1.2, 1.2) > 1e-3
    low, high = Cosine().log_snr(torch.tensor([1.0, 0.01], dtype=torch.float64)).tolist()
    log_snr = Cosine().log_snr(LogSNRUniform(0.01)(u, Cosine()))
    assert p_value(log_snr, "uniform", low, high - low) > 1e-3


def test_log_normal_stops_at_the_end_of_the_schedule():
    t = LogNormal(mean=10.0)(torch.tensor([0.5], dtype=torch.float64), EDM())
    assert t.item() == 1


def test_evenly_spread_positions_give_an_even_mean():
    """The Weyl sequence makes the average over any 256 positions nearly the integral; random times would miss it."""
    exact = math.exp(-1.2 + 1.2**2 / 2)  # E sigma of EDM's log-normal law
    for start in (0, 1000):
        t = LogNormal()(weyl(0, torch.arange(start, start + 256)), EDM())
        error = abs(EDM()(t)[1].mean().item() - exact)
        random_error = exact * math.sqrt(math.expm1(1.2**2) / 256)
        assert error < random_error
