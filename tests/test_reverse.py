"""The law of a reverse step, and variances that serve steps of any length."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.noise import EDM, VE, VP, Cosine, DiscreteVP, Rectified, Schedule
from diffusion_lit.reverse import Interpolated, bridge, step_variance


def f64(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


every_schedule = pytest.mark.parametrize(
    "schedule", [VP(), VE(), EDM(), Rectified(), Cosine(), DiscreteVP.linear()], ids=lambda s: type(s).__name__
)


@every_schedule
def test_a_bridge_keeps_the_marginals(schedule: Schedule):
    """x_t -> x_s given x_0 has the mean and the variance of x_s given x_0; and the joint law is the forward chain's."""
    t, s = torch.tensor([0.3, 0.7, 1.0], dtype=torch.float64), torch.tensor([0.1, 0.69, 0.2], dtype=torch.float64)
    of_x_t, of_x_0, variance = bridge(schedule, t, s)
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
    torch.testing.assert_close(of_x_t * alpha_t + of_x_0, alpha_s, rtol=1e-9, atol=0)
    torch.testing.assert_close((of_x_t * sigma_t) ** 2 + variance, sigma_s**2, rtol=1e-9, atol=0)
    # Cov(x_s, x_t | x_0) = (alpha_t / alpha_s) sigma_s^2
    torch.testing.assert_close(of_x_t * sigma_t**2, alpha_t / alpha_s * sigma_s**2, rtol=1e-9, atol=0)
    assert bridge(schedule, t[0], f64(0.0)) == (0, 1, 0)


def test_the_first_variance_of_ddpm_is_beta_tilde():
    schedule, betas = DiscreteVP.linear(1000), DiscreteVP.linear(1000).betas(1000)
    t = torch.arange(1, 1001, dtype=torch.float64) / 1000
    abar = (1 - betas).cumprod(0)
    before = torch.cat((torch.ones(1, dtype=torch.float64), abar[:-1]))
    expected = betas * (1 - before) / (1 - abar)
    # abar of the first step is 1 - 1e-4: twelve digits of 1 - abar are left
    torch.testing.assert_close(bridge(schedule, t, t - 1 / 1000).variance, expected, rtol=1e-9, atol=1e-12)


def ones_for_all(n: int) -> Tensor:
    return torch.ones(n, 1, dtype=torch.float64)


@pytest.mark.parametrize("schedule", [VP(), Cosine(), DiscreteVP.linear(100)], ids=["vp", "cosine", "ddpm"])
def test_a_variance_learned_on_one_chain_serves_every_stride(schedule: Schedule):
    """N(0, I), where v = 1 is right: each step's variance is its own beta (Nichol & Dhariwal's respacing)."""
    t = torch.arange(2, 101, dtype=torch.float64) / 100
    variance = Interpolated(steps=100)(ones_for_all(99), schedule, t)
    exact = GaussianDenoiser(torch.zeros(1), torch.tensor(1.0), schedule)(ones_for_all(99), t).variance
    torch.testing.assert_close(variance, exact, rtol=1e-9, atol=0)
    for stride in (1, 3, 20, 100):
        s = (t - stride / 100).clamp_min(0)
        beta = 1 - (schedule(t)[0] / schedule(s)[0]) ** 2
        torch.testing.assert_close(step_variance(schedule, variance, t, s)[:, 0], beta, rtol=1e-8, atol=1e-12)


@given(v=st.floats(0, 1), i=st.integers(2, 50))
def test_on_its_own_chain_it_is_iddpm_equation_15(v: float, i: int):
    schedule, form = Cosine(), Interpolated(steps=50)
    t, s = f64(i / 50), f64((i - 1) / 50)
    beta, (_, _, beta_tilde) = 1 - (schedule(t)[0] / schedule(s)[0]) ** 2, bridge(schedule, t, s)
    variance = form(v * ones_for_all(2), schedule, t)
    expected = torch.exp(v * beta.log() + (1 - v) * beta_tilde.log())
    torch.testing.assert_close(step_variance(schedule, variance, t, s), expected.expand(2, 1), rtol=1e-9, atol=0)
    torch.testing.assert_close(form.fraction(variance, schedule, t), v * ones_for_all(2), rtol=0, atol=1e-8)


def test_the_last_step_to_the_data_keeps_a_variance():
    schedule, form, t = DiscreteVP.linear(10), Interpolated(steps=10), f64(0.1)
    beta, (_, _, second) = schedule.betas(10), bridge(schedule, f64(0.2), f64(0.1))
    least, most = (step_variance(schedule, form(v * ones_for_all(1), schedule, t), t, f64(0.0)).item() for v in (0, 1))
    assert most == pytest.approx(float(beta[0]))
    assert least == pytest.approx(float(beta[0] * second / beta[1]))


def test_a_variance_below_zero_is_kept_from_the_step():
    t, s = f64(0.5), f64(0.4)
    assert step_variance(VP(), -100 * ones_for_all(1), t, s).item() == pytest.approx(
        bridge(VP(), t, s).variance.item() / 100
    )
