import math

import pytest
import torch
from scipy import stats

from diffusion_lit.noise import EDM, VE, VP, Cosine, DiscreteVP, Rectified, Schedule
from diffusion_lit.objectives import DiscreteTime, FixedTime, Ladder, LogNormal, LogSNRUniform, UniformTime
from diffusion_lit.objectives.times import TimeSampler
from diffusion_lit.randomness import Randomness, weyl

SCHEDULES = {"vp": VP(), "cosine": Cosine(), "edm": EDM(), "rectified": Rectified(), "ddpm": DiscreteVP.linear()}
SAMPLERS = {
    "uniform": UniformTime(),
    "log-normal": LogNormal(),
    "log-snr": LogSNRUniform(),
    "discrete": DiscreteTime(100),
    "ladder": Ladder(10),
}
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


def test_a_fixed_time_is_fixed():
    assert FixedTime(0.3)(torch.rand(4), VP()).tolist() == pytest.approx([0.3] * 4)


def test_the_steps_of_a_chain_come_equally_often():
    u = (torch.arange(300, dtype=torch.float64) + 0.5) / 300
    steps, counts = (DiscreteTime(100)(u, VP()) * 100).round().unique(return_counts=True)
    assert steps.tolist() == list(range(1, 101))
    assert counts.tolist() == [3] * 100
    ends = DiscreteTime(100)(torch.tensor([2.0**-53, 1 - 2.0**-53], dtype=torch.float64), VP())
    assert ends.tolist() == [0.01, 1]


def test_the_levels_of_a_ladder_are_geometric():
    """NCSN's ten levels from 1 to 0.01 (Song & Ermon 2019, section 5)."""
    schedule = VE(0.01, 1.0)
    u = (torch.arange(30, dtype=torch.float64) + 0.5) / 30
    sigma, counts = schedule(Ladder(10)(u, schedule))[1].unique(return_counts=True)
    torch.testing.assert_close(sigma, torch.logspace(-2, 0, 10, dtype=torch.float64), rtol=1e-9, atol=0)
    assert counts.tolist() == [3] * 10


@pytest.mark.parametrize("sampler", [UniformTime(1e-3), LogSNRUniform(1e-3)])
def test_densities_are_those_of_the_quantile_functions(sampler):
    """p(t(u)) t'(u) = 1, the slope by differences in float64: good to 1e-6."""
    u = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    for schedule in (VP(), VE(), Cosine()):
        slope = (sampler(u + 1e-6, schedule) - sampler(u - 1e-6, schedule)) / 2e-6
        product = sampler.density(sampler(u, schedule), schedule) * slope
        torch.testing.assert_close(product, torch.ones_like(u), rtol=1e-6, atol=0)


@pytest.mark.parametrize(("t_min", "value"), [(1e-5, 23.864), (1e-3, 19.165)])
def test_the_range_of_log_snr_is_the_normaliser_of_scoreflow(t_min: float, value: float):
    t = torch.tensor([0.2, 0.7], dtype=torch.float64)
    z = VP().diffusion_squared(t) / VP()(t)[1] ** 2 / LogSNRUniform(t_min).density(t, VP())
    assert z.tolist() == pytest.approx([value, value], abs=5e-4)
