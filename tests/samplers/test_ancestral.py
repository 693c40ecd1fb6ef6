import pytest
import torch
from torch import Tensor

from diffusion_lit.noise import EDM, VP, DiscreteVP, Schedule
from diffusion_lit.samplers import DDIM, DDPM, Uniform

from .exact import gain, independent, propagate

CHAIN = DiscreteVP.linear(1000)


def f64(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("v", "expected"),
    [(1.0, (0.999900, 0.250752, 3.990569, 0.0)), (0.0, (0.991067, 0.246125, 3.974777, 0.0))],
    ids=["beta", "beta-tilde"],
)
def test_ddpm_chain_of_a_thousand_steps(v: float, expected: tuple[float, ...]):
    """Final variances for data of variance 1, 1/4, 4 and for a point, from x_T ~ N(0, 1)."""
    denoiser = independent(f64(1.0, 0.25, 4.0, 0.0), CHAIN)
    times = Uniform()(CHAIN, 1000)
    variance = propagate(DDPM(1000, v=v), denoiser, times, 1.0)
    torch.testing.assert_close(variance, f64(*expected), rtol=0, atol=6e-7)


def strided(steps: int) -> Tensor:
    """DDIM's sub-sequence 0, T/S, 2T/S, ... of the indices 0..T-1, whose index i is our time (i + 1)/T; then data."""
    index = torch.arange(steps - 1, -1, -1, dtype=torch.float64) * (1000 // steps)
    return torch.cat(((index + 1) / 1000, f64(0.0)))


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (10, (0.69172, 0.68755, 0.66428, 0.54821)),
        (20, (0.83271, 0.82883, 0.80740, 0.71073)),
        (50, (0.92945, 0.92705, 0.91388, 0.85743)),
        (100, (0.96403, 0.96260, 0.95476, 0.92160)),
    ],
)
def test_ddim_final_variance(steps: int, expected: tuple[float, ...]):
    denoiser = independent(f64(1.0), CHAIN)
    for eta, value in zip((0.0, 0.2, 0.5, 1.0), expected):
        variance = propagate(DDIM(steps, eta=eta), denoiser, strided(steps), 1.0)
        assert variance.item() == pytest.approx(value, abs=6e-6)


def test_ddim_final_variance_of_a_thousand_deterministic_steps():
    denoiser = independent(f64(1.0, 0.25), CHAIN)
    torch.testing.assert_close(gain(DDIM(1000), denoiser, strided(1000)) ** 2, f64(0.99625, 0.24850), rtol=0, atol=6e-6)


@pytest.mark.parametrize(("steps", "expected"), [(10, 0.13997), (20, 0.18813), (50, 0.22320), (100, 0.23618)])
def test_ddim_final_variance_of_narrow_data(steps: int, expected: float):
    assert gain(DDIM(steps), independent(f64(0.25), CHAIN), strided(steps)).item() ** 2 == pytest.approx(
        expected, abs=6e-6
    )


def test_a_ddim_step_on_white_data_turns_by_the_angle():
    schedule, times = VP(), f64(0.8, 0.3)
    before, after = schedule(times)[0].acos()
    turn = gain(DDIM(1), independent(f64(1.0), schedule), times)
    assert turn.item() == pytest.approx((after - before).cos().item(), rel=1e-12)


@pytest.mark.parametrize("schedule", [VP(), EDM(), CHAIN], ids=["vp", "edm", "ddpm"])
def test_ddim_with_eta_one_is_ddpm_with_the_posterior_variance(schedule: Schedule):
    denoiser, times = independent(f64(1.0, 0.3), schedule), Uniform()(schedule, 12)
    ddim, ddpm = (propagate(sampler, denoiser, times, 1.0) for sampler in (DDIM(12, eta=1.0), DDPM(12, v=0.0)))
    torch.testing.assert_close(ddim, ddpm)


def test_ddpm_between_its_variances_is_their_geometric_mean():
    times, denoiser = f64(0.5, 0.4), independent(f64(1.0), VP())
    spread = {v: propagate(DDPM(2, v=v), denoiser, times, 0.0).item() ** 0.5 for v in (0.0, 0.5, 1.0)}
    assert spread[0.5] == pytest.approx((spread[0.0] * spread[1.0]) ** 0.5)
    # beta of the step is 1 - alpha_t^2 / alpha_s^2 for a variance-preserving schedule
    alpha_t, alpha_s = VP()(times)[0]
    assert spread[1.0] ** 2 == pytest.approx(1 - (alpha_t / alpha_s).item() ** 2)
