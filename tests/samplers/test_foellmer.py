import pytest
import torch
from torch import Tensor

from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.noise import EDM, VE, VP, Schedule
from diffusion_lit.samplers import Foellmer, SignalShare

from .exact import Impulses


def f64(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


class Silence(Impulses):
    """No noise at all."""

    def normal(self, *event: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.zeros(self.samples, *event, dtype=dtype)


@pytest.mark.parametrize("schedule", [VP(), EDM(), VE()], ids=["vp", "edm", "ve"])
def test_a_normal_target_from_a_point(schedule: Schedule):
    """N(1.5, 1/4) by 200 steps: mean 1.5 +- .005, variance .25 + .004, any schedule."""
    steps = 200
    denoiser, times = GaussianDenoiser(f64(1.5), f64(0.25)[:, None], schedule), SignalShare()(schedule, steps)
    x = torch.zeros(steps + 1, 1, dtype=torch.float64)
    mean = Foellmer(steps).integrate(denoiser, x[:1], times, Silence(1))[0].item()
    assert mean == pytest.approx(1.5, abs=0.005)
    rows = Foellmer(steps).integrate(denoiser, x, times, Impulses(steps + 1)) - mean
    assert 0.25 <= rows.square().sum().item() <= 0.254


def test_a_step_follows_the_drift_of_the_target():
    """((s^2 - 1) X + m) / (1 + (s^2 - 1) u) for N(m, s^2), and sqrt(du) z."""
    m, v, schedule, times = 1.5, 0.25, VP(), f64(0.5, 0.4)
    (alpha, sigma), denoiser = schedule(times), GaussianDenoiser(f64(m), f64(v)[:, None], schedule)
    u = alpha**2 / (alpha**2 + sigma**2)
    x = f64(0.3)
    drift = ((v - 1) * x + m) / (1 + (v - 1) * u[0])
    expected = (x + (u[1] - u[0]) * drift) * alpha[1] / u[1]
    at = (x * alpha[0] / u[0])[:, None]
    torch.testing.assert_close(Foellmer(2).integrate(denoiser, at, times, Silence(1))[:, 0], expected)
    rows = Foellmer(2).integrate(denoiser, torch.cat((at, at)), times, Impulses(2))
    torch.testing.assert_close(rows[1, 0] - rows[0, 0], ((u[1] - u[0]).sqrt() * alpha[1] / u[1]))
