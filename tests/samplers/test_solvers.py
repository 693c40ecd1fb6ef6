import math

import pytest
import torch
from torch import Tensor

from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.denoise import Posterior
from diffusion_lit.noise import EDM, VP, Rectified, Schedule
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers import DDIM, DPMSolverPP, Euler, ExponentialAB, Heun, Karras, LogSNR, Sampler

from .exact import Impulses, gain, independent, propagate


def f64(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


QUARTER = independent(f64(0.25), EDM())


@pytest.mark.parametrize(
    ("steps", "expected"), [(9, 0.63906), (18, 0.52763), (36, 0.50610), (72, 0.50143), (144, 0.50034)]
)
def test_heun_final_deviation(steps: int, expected: float):
    """Data N(0, 1/4), from 80 z down EDM's grid."""
    assert 80 * gain(Heun(steps), QUARTER, Karras()(EDM(), steps)).item() == pytest.approx(expected, abs=6e-6)


@pytest.mark.parametrize(
    ("steps", "expected"), [(9, -0.301), (18, -0.154), (36, -0.0780), (72, -0.0392), (144, -0.0197)]
)
def test_euler_relative_error(steps: int, expected: float):
    deviation = 80 * gain(Euler(steps), QUARTER, Karras()(EDM(), steps)).item()
    assert deviation / 0.5 - 1 == pytest.approx(expected, abs=6e-4 if steps < 36 else 1e-4)


def log_snr_times(steps: int) -> Tensor:
    """Uniform in lambda from t = 1 to 1e-3, without a step to the data."""
    schedule = VP()
    first, last = schedule.log_snr(f64(1.0, 1e-3)).tolist()
    return schedule.time(torch.linspace(first, last, steps + 1, dtype=torch.float64))


def dpm_error(sampler: Sampler, steps: int) -> float:
    """The relative error of the standard deviation at t = 1e-3 of data N(0, 1/4)."""
    alpha, sigma = VP()(f64(1.0, 1e-3))
    start, end = (0.25 * alpha**2 + sigma**2).sqrt().tolist()
    return gain(sampler, independent(f64(0.25), VP()), log_snr_times(steps)).item() * start / end - 1


@pytest.mark.parametrize(("steps", "expected"), [(10, 0.03273), (20, 0.01302), (40, 0.00351), (80, 0.00089)])
def test_dpm_solver_relative_error(steps: int, expected: float):
    assert abs(dpm_error(DPMSolverPP(steps), steps)) == pytest.approx(expected, abs=6e-6)


@pytest.mark.parametrize(("steps", "expected"), [(10, -0.2128), (20, -0.1128), (40, -0.0581), (80, -0.0295)])
def test_the_first_order_step_of_dpm_solver_is_ddims(steps: int, expected: float):
    assert dpm_error(DDIM(steps), steps) == pytest.approx(expected, abs=6e-5)


@pytest.mark.parametrize("schedule", [VP(), Rectified()], ids=["vp", "rectified"])
@pytest.mark.parametrize(
    ("solver", "order", "tolerance"), [(Euler, 1, 0.1), (Heun, 2, 0.2), (DPMSolverPP, 2, 0.2), (ExponentialAB, 2, 0.2)]
)
def test_order_of_convergence(solver: type[Sampler], order: int, tolerance: float, schedule: Schedule):
    """Against the exact flow between two times, x_s = x_t sqrt(var_s / var_t), on N(0, 1/4)."""
    times = [f64(0.8), f64(0.2)]
    (low, high), errors = [schedule.log_snr(t).item() for t in times], []
    variance = [0.25 * a**2 + s**2 for a, s in (schedule(t) for t in times)]
    exact = (variance[1] / variance[0]).sqrt().item()
    for steps in (160, 320):
        grid = schedule.time(torch.linspace(low, high, steps + 1, dtype=torch.float64))
        errors.append(abs(gain(solver(steps), independent(f64(0.25), schedule), grid).item() - exact))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=tolerance)


@pytest.mark.parametrize(("solver", "order", "error"), [(Euler, 1, 0.25), (Heun, 2, 0.15)])
@pytest.mark.parametrize("schedule", [EDM(), VP()], ids=["edm", "vp"])
def test_churn_keeps_the_law(solver: type[Euler], order: int, error: float, schedule: Schedule):
    """Noise that is added is noise that is removed: the variance converges to the data's at the solver's order."""

    def relative_error(steps: int, **churn: float) -> float:
        times, denoiser = Karras()(schedule, steps), independent(f64(0.25), schedule)
        start = schedule(times[0])[1].item() ** 2
        return propagate(solver(steps, churn=8.0, **churn), denoiser, times, start).item() ** 0.5 / 0.5 - 1

    coarse, fine = relative_error(18), relative_error(36)
    assert abs(coarse) < error
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.25)
    assert relative_error(18, churn_noise=1.3) > coarse + 0.02  # too much noise is not removed


def test_churn_only_inside_its_range():
    denoiser = independent(f64(0.25), EDM())
    still = Heun(6, churn=10.0, churn_from=90.0)(denoiser, (8, 1), seed=0)
    torch.testing.assert_close(still, Heun(6)(denoiser, (8, 1), seed=0), rtol=0, atol=0)
    moved = Heun(6, churn=10.0, churn_from=0.1, churn_to=1.0)(denoiser, (8, 1), seed=0)
    assert not torch.allclose(moved, still, atol=1e-3)


def test_churn_raises_the_noise_by_the_factor():
    """One step of Euler by hand: r -> r (1 + gamma), then down to s."""
    denoiser, times = independent(f64(1.0), EDM()), f64(0.5, 0.4)
    gamma, z, x = min(5.0 / 18, math.sqrt(2) - 1), 0.7, 2.0
    low, high = EDM()(times)[1].flip(0).tolist()
    raised = high * (1 + gamma)
    noisy = x + math.sqrt(raised**2 - high**2) * 1.1 * z
    expected = noisy + (low - raised) * noisy * raised / (1 + raised**2)
    rows = Euler(18, churn=5.0, churn_noise=1.1).integrate(denoiser, f64(x, 0.0)[:, None], times, Impulses(2, size=z))
    assert rows.sum().item() == pytest.approx(expected, rel=1e-9)  # the first row has x, the second z


def test_exponential_adams_bashforth_is_exact_where_the_noise_is_a_line():
    """eps = a + b log r along the whole path: two steps of any length make no error; the first is Euler's."""

    class Line(GaussianDenoiser):
        def forward(self, x_t: Tensor, t: Tensor, **condition) -> Posterior:
            alpha, sigma = self.schedule(t)
            return Posterior((x_t - sigma * (0.7 - 0.4 * (sigma / alpha).log())) / alpha)

    denoiser, times = Line(f64(0.0), f64(1.0)[:, None], VP()), f64(0.8, 0.6, 0.3)
    alpha, sigma = VP()(times)
    r = sigma / alpha
    y = ExponentialAB(3).integrate(denoiser, f64(1.0)[:, None], times, Randomness(0, torch.arange(1)))[0, 0] / alpha[2]
    first = 1 / alpha[0] + (r[1] - r[0]) * (0.7 - 0.4 * r[0].log())
    integral = 1.1 * (r[2] - r[1]) - 0.4 * (r[2] * r[2].log() - r[1] * r[1].log())  # of .7 - .4 log r
    assert y.item() == pytest.approx((first + integral).item(), rel=1e-12)


def test_integrate_continues_where_it_stopped():
    """A one-step method may be cut anywhere."""
    denoiser, times = independent(f64(1.0, 0.2), VP()), LogSNR()(VP(), 8)
    noise = Randomness(0, torch.arange(3))
    x = noise.normal(2, dtype=torch.float64)
    whole = Heun(8).integrate(denoiser, x, times, noise)
    half = Heun(8).integrate(denoiser, x, times[:5], noise)
    torch.testing.assert_close(Heun(8).integrate(denoiser, half, times[4:], noise), whole, rtol=0, atol=1e-12)
