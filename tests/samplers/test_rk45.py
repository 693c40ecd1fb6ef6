import pytest
import torch
from torch import Tensor

from diffusion_lit.analytic import GaussianMixtureDenoiser
from diffusion_lit.cost import counted
from diffusion_lit.noise import EDM, VP, DiscreteVP, Rectified, Schedule
from diffusion_lit.samplers import RK45, Heun, LogSNR

from .exact import independent


def f64(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    "schedule",
    [VP(), EDM(), Rectified(), DiscreteVP.linear()],
    ids=["vp", "edm", "rectified", "ddpm"],
)
def test_the_exact_flow_both_ways(schedule: Schedule):
    """x_s = x_t sqrt(var_s / var_t) for Gaussian data."""
    denoiser, (t, s) = independent(f64(0.25, 4.0), schedule), f64(1.0, 1e-3)
    spread = [(f64(0.25, 4.0) * a**2 + v**2).sqrt() for a, v in (schedule(t), schedule(s))]
    x_t = f64(1.0, 1.0, -0.5, 2.0).reshape(2, 2) * spread[0]
    x_s, calls = RK45().solve(denoiser, x_t, t, s)
    torch.testing.assert_close(x_s, x_t * spread[1] / spread[0], rtol=1e-4, atol=1e-4)
    back, _ = RK45().solve(denoiser, x_s, s, t)
    torch.testing.assert_close(back, x_t, rtol=1e-3, atol=1e-3 * float(schedule(t)[1]))
    assert 14 <= int(calls.min()) <= int(calls.max()) < 200


def test_calls_are_each_samples_own():
    means = torch.tensor([[-1.0, 0.0], [1.0, 0.3]], dtype=torch.float64)
    denoiser = GaussianMixtureDenoiser(f64(0.5, 0.5), means, f64(0.01, 0.02), VP())
    x = f64(3.0, 0.0, 0.01, 0.02).reshape(2, 2)
    solver = RK45(1e-3, 1e-3)
    with counted(denoiser) as cost:
        _, calls = solver.solve(denoiser, x, f64(1.0)[0], f64(1e-3)[0])
    assert cost.forwards == int(calls.max())
    for i in range(2):
        with counted(denoiser) as alone:
            solver.solve(denoiser, x[i : i + 1], f64(1.0)[0], f64(1e-3)[0])
        assert alone.forwards == int(calls[i])
    assert calls[0] != calls[1]
    assert solver.nfe >= int(calls.max()) + 1


def test_it_is_where_heun_goes():
    means = torch.tensor([[-1.0, 0.0], [1.0, 0.3]], dtype=torch.float64)
    denoiser = GaussianMixtureDenoiser(f64(0.5, 0.5), means, f64(0.1, 0.2), VP())
    x, y = RK45(1e-7, 1e-7)(denoiser, (8, 2), seed=0), Heun(200, grid=LogSNR())(denoiser, (8, 2), seed=0)
    torch.testing.assert_close(x, y, rtol=0, atol=1e-3)


def test_a_tolerance_that_is_not_met_names_t():
    denoiser = independent(f64(0.25), VP())
    with pytest.raises(ValueError, match=r"rtol = 1e-09.*not met at t = 0\.\d+ with a step of.*4 steps are not enough"):
        RK45(1e-9, 1e-9, max_steps=4)(denoiser, (3, 1), seed=0)
