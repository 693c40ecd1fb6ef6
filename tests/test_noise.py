import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffusion_lit.errors import UserError
from diffusion_lit.noise import EDM, VE, VP, Cosine, DiscreteVP, Rectified, Schedule, SubVP

SMOOTH = {
    "vp": VP(),
    "sub-vp": SubVP(),
    "cosine": Cosine(),
    "ve": VE(),
    "edm": EDM(),
    "rectified": Rectified(),
}
ALL = SMOOTH | {"ddpm": DiscreteVP.linear(), "iddpm": DiscreteVP.cosine()}
every_schedule = pytest.mark.parametrize("schedule", ALL.values(), ids=ALL)
smooth_schedules = pytest.mark.parametrize("schedule", SMOOTH.values(), ids=SMOOTH)
inner_times = st.floats(1e-3, 1.0, exclude_max=True)


def f64(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@every_schedule
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_time_zero_is_data_and_shapes_follow_the_times(schedule: Schedule, dtype: torch.dtype, shape: tuple[int, ...]):
    alpha, sigma = schedule(torch.zeros(shape, dtype=dtype))
    assert alpha.shape == sigma.shape == shape
    assert alpha.dtype == sigma.dtype == dtype
    assert bool((alpha == 1).all())
    assert bool((sigma == 0).all())


@every_schedule
def test_signal_to_noise_falls(schedule: Schedule):
    t = torch.linspace(1e-4, 1, 2001, dtype=torch.float64)
    log_snr = schedule.log_snr(t)
    assert bool((log_snr.diff() < 0).all())
    alpha, sigma = schedule(t)
    torch.testing.assert_close(log_snr, (alpha / sigma).square().log(), rtol=1e-9, atol=1e-9)


@every_schedule
@settings(max_examples=4)
@given(times=st.lists(inner_times, min_size=20, max_size=50))
def test_time_inverts_log_snr(schedule: Schedule, times: list[float]):
    # a table's own interval ends a hair after i/T, which moves log-SNR by 1e-4 of a change of slope
    tolerance = 1e-6 if isinstance(schedule, DiscreteVP) else 1e-10
    torch.testing.assert_close(schedule.time(schedule.log_snr(f64(*times))), f64(*times), rtol=0, atol=tolerance)


@every_schedule
def test_time_keeps_inside_its_range(schedule: Schedule):
    early, late = schedule.time(f64(1e4, -1e4)).tolist()
    assert 0 < early < 1e-11
    assert late == 1
    assert schedule.time(schedule.log_snr(f64(1.0))).item() == 1


@smooth_schedules
@given(t=st.floats(0.01, 0.99))
def test_drift_and_diffusion_are_the_derivatives_of_the_curve(schedule: Schedule, t: float):
    h = 1e-6
    (log_alpha_before, log_alpha_after) = schedule.log_alpha(f64(t - h, t + h))
    _, sigma = schedule(f64(t - h, t, t + h))
    drift = float(log_alpha_after - log_alpha_before) / (2 * h)
    assert schedule.drift(f64(t)).item() == pytest.approx(drift, rel=1e-6, abs=1e-9)
    growth = float(sigma[2] ** 2 - sigma[0] ** 2) / (2 * h)
    expected = growth - 2 * drift * sigma[1].item() ** 2
    assert schedule.diffusion_squared(f64(t)).item() == pytest.approx(expected, rel=1e-5, abs=1e-8)


@given(t=inner_times)
def test_vp_closed_forms(t: float):
    beta = 0.1 + 19.9 * t
    integral = 0.1 * t + 19.9 * t**2 / 2
    for schedule, diffusion in ((VP(), beta), (SubVP(), beta * -math.expm1(-2 * integral))):
        alpha, sigma = schedule(f64(t))
        assert alpha.item() == pytest.approx(math.exp(-integral / 2), rel=1e-12)
        assert schedule.drift(f64(t)).item() == pytest.approx(-beta / 2, rel=1e-12)
        assert schedule.diffusion_squared(f64(t)).item() == pytest.approx(diffusion, rel=1e-9)
        power = 1 if isinstance(schedule, SubVP) else 0.5
        assert sigma.item() == pytest.approx((-math.expm1(-integral)) ** power, rel=1e-12)


def test_vp_ends_almost_without_signal():
    assert VP()(f64(1.0))[0].item() == pytest.approx(0.00657, abs=5e-6)


@given(t=inner_times)
def test_ve_and_edm_closed_forms(t: float):
    sigma = 0.01 * 5000**t
    assert VE()(f64(t))[1].item() == pytest.approx(sigma, rel=1e-12)
    assert VE().drift(f64(t)).item() == 0
    assert VE().diffusion_squared(f64(t)).item() == pytest.approx(2 * sigma**2 * math.log(5000), rel=1e-10)
    root, slope = 0.002 ** (1 / 7), 80 ** (1 / 7) - 0.002 ** (1 / 7)
    sigma, growth = (root + slope * t) ** 7, 7 * slope * (root + slope * t) ** 6
    assert EDM()(f64(t))[1].item() == pytest.approx(sigma, rel=1e-12)
    assert EDM().diffusion_squared(f64(t)).item() == pytest.approx(2 * sigma * growth, rel=1e-10)


@given(t=st.floats(1e-3, 0.999))
def test_rectified_closed_forms(t: float):
    schedule = Rectified(alpha_min=1e-3)
    alpha, sigma = schedule(f64(t))
    drift = -0.999 / (1 - 0.999 * t)
    assert alpha.item() == pytest.approx(1 - 0.999 * t, rel=1e-12)
    assert sigma.item() == pytest.approx(t, rel=1e-12)
    assert schedule.drift(f64(t)).item() == pytest.approx(drift, rel=1e-12)
    assert schedule.diffusion_squared(f64(t)).item() == pytest.approx(2 * t - 2 * drift * t**2, rel=1e-10)


def test_cosine_is_a_cosine_that_stops_at_its_least_snr():
    schedule = Cosine(offset=0.008, log_snr_min=-15.0)
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    alpha, sigma = schedule(t)
    torch.testing.assert_close(alpha.square() + sigma.square(), torch.ones_like(t), rtol=0, atol=1e-12)
    assert schedule.log_snr(f64(1.0)).item() == pytest.approx(-15, abs=1e-9)
    angle = (alpha * math.cos(0.008 / 1.008 * math.pi / 2)).acos()
    torch.testing.assert_close(angle.diff(), angle.diff().mean().expand(10), rtol=1e-9, atol=0)
    # within a per cent of the published curve, which ends at alpha = 0 instead
    published = ((t + 0.008) / 1.008 * math.pi / 2).cos() / math.cos(0.008 / 1.008 * math.pi / 2)
    assert float((alpha - published).abs().max()) < 1e-3


def test_vp_betas_are_the_chain_of_its_alphas():
    t = torch.arange(1001, dtype=torch.float64) / 1000
    integral = 0.1 * t + 19.9 * t**2 / 2
    torch.testing.assert_close(VP().betas(1000), -torch.expm1(-integral.diff()), rtol=1e-9, atol=0)


def test_ddpm_betas_are_recovered():
    schedule = DiscreteVP.linear(1000)
    alpha, _ = schedule(f64(1.0))
    assert alpha.item() ** 2 == pytest.approx(4.0358e-5, rel=2e-5)
    torch.testing.assert_close(
        schedule.betas(1000), torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), rtol=1e-9, atol=0
    )
    assert schedule.t_min == 1 / 1000


def test_iddpm_betas_are_clipped():
    betas = DiscreteVP.cosine(1000).betas(1000)
    assert betas[-1].item() == pytest.approx(0.999, rel=1e-9)
    abar = (f64(0.0, 0.001) + 0.008).div(1.008).mul(math.pi / 2).cos().square()
    assert betas[0].item() == pytest.approx(float(1 - abar[1] / abar[0]), rel=1e-6)


def test_a_discrete_chain_is_met_at_its_own_times_in_either_precision():
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    abar = (1 - betas).cumprod(0)
    i = torch.arange(1, 1001)
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 2e-5)):
        alpha, sigma = DiscreteVP(betas)(i.to(dtype) / 1000)
        torch.testing.assert_close(alpha.double() ** 2, abar, rtol=tolerance, atol=0)
        torch.testing.assert_close(sigma.double() ** 2, 1 - abar, rtol=tolerance, atol=0)


def test_a_discrete_chain_is_log_linear_between():
    schedule = DiscreteVP(f64(0.1, 0.3))
    quarter, half, three_quarters, end = schedule.log_alpha(f64(0.25, 0.5, 0.75, 1.0)).tolist()
    assert half == pytest.approx(math.log(0.9) / 2)
    assert end == pytest.approx(math.log(0.9 * 0.7) / 2)
    assert quarter == pytest.approx(half / 2)
    assert three_quarters == pytest.approx((half + end) / 2)
    # the drift at i/T is that of the interval that ends there
    assert schedule.drift(f64(0.5)).item() == pytest.approx(math.log(0.9))


@pytest.mark.parametrize("bad", [0.0, 1.0, -0.1])
def test_a_beta_is_a_variance(bad: float):
    with pytest.raises(ValueError, match="betas"):
        DiscreteVP(f64(0.1, bad))


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda: VP(beta_min=-0.1), "beta_min, beta_max: -0.1, 20"),
        (lambda: SubVP(beta_max=0.0), "beta_min, beta_max: 0.1, 0.0"),
        (lambda: VE(sigma_min=0.0), "sigma_min, sigma_max: 0.0, 50.0"),
        (lambda: VE(sigma_min=2.0, sigma_max=2.0), "sigma_min, sigma_max: 2.0, 2.0"),
        (lambda: EDM(sigma_min=-1.0), "sigma_min, sigma_max: -1.0, 80.0"),
        (lambda: EDM(sigma_max=float("inf")), "sigma_max: 0.002, inf"),
        (lambda: EDM(rho=0.0), "rho: 0.0"),
        (lambda: Cosine(offset=-0.1), "offset, log_snr_min: -0.1"),
        (lambda: Cosine(log_snr_min=float("-inf")), "log_snr_min: 0.008, -inf"),
        (lambda: Rectified(alpha_min=0.0), "alpha_min: 0.0"),
        (lambda: DiscreteVP(f64(0.1, 1.0)), "betas: 0.1..1 leave"),
        (lambda: DiscreteVP(f64(0.1, 0.0)), "betas: 0..0.1 leave"),
    ],
)
def test_parameters_of_a_curve_that_does_not_fall_are_refused(make, found: str):
    with pytest.raises(UserError, match=re.escape(found)):
        make()


@every_schedule
@pytest.mark.parametrize("t", [-0.01, 1.01, float("nan")])
def test_times_outside_the_range_are_refused(schedule: Schedule, t: float):
    with pytest.raises(UserError, match=re.escape(f"t: {t:.6g} is not in [0, 1]")):
        schedule(f64(0.5, t))
    schedule(f64(0.0, 1.0 + 1e-7))  # rounding is not a mistake
