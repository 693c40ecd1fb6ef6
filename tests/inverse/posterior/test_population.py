"""Populations: resampling, the evidence of every particle method, and populations that are whole whoever asks."""

import math
from itertools import pairwise

import pytest
import torch

from diffusion_lit.analytic import GaussianMixtureDenoiser
from diffusion_lit.cost import counted
from diffusion_lit.denoise import Posterior
from diffusion_lit.errors import UserError
from diffusion_lit.inverse import (
    CorrelatedNoise,
    DiagonalNoise,
    GaussianNoise,
    LaplaceNoise,
    LinearOperator,
    Measurement,
)
from diffusion_lit.inverse.guidance import MMPS
from diffusion_lit.inverse.operators import operators
from diffusion_lit.inverse.posterior import FPS, TDS, MCGDiff, PathResampling
from diffusion_lit.inverse.posterior.closing import close, log_determinant
from diffusion_lit.inverse.posterior.population import Cloud, Population
from diffusion_lit.inverse.posterior.twists import TweedieTwist
from diffusion_lit.noise import VE, VP
from diffusion_lit.randomness import Randomness
from diffusion_lit.reverse import bridge
from diffusion_lit.samplers.ancestral import Fixed
from diffusion_lit.samplers.grids import Grid, LogSNR, Quadratic
from tests.inverse.problems import gaussian_problem, image_problem
from tests.inverse.test_paths import log_evidence, two_modes

CPU = torch.device("cpu")


def particle_methods(steps: int, particles: int) -> list[Population]:
    twist = TweedieTwist(2)
    return [
        TDS(steps, particles, twist),
        TDS(steps, particles, twist, threshold=1.0),
        PathResampling(steps, particles, MMPS(steps, iterations=2)),
        MCGDiff(steps, particles),
        MCGDiff(steps, particles, data_variance=1.0),
        FPS(steps, particles),
    ]


def evidence_of_the_chain(denoiser: GaussianMixtureDenoiser, measurement: Measurement, grid: Grid, steps: int) -> float:
    """log p(y) where x_0 is what the prior's chain makes of Gaussian data, itself Gaussian."""
    schedule, size = denoiser.schedule, measurement.operator.x_shape[0]
    corners, times = torch.cat((torch.zeros(1, size), torch.eye(size))).double(), grid(schedule, steps)
    mean, covariance = torch.zeros(size).double(), torch.eye(size).double() * schedule(times[0])[1] ** 2
    for t, s in pairwise(times):
        of_x_t, of_x_0, _ = bridge(schedule, t, s)
        moved = of_x_t * corners + of_x_0 * denoiser(corners, t).mean
        matrix, (alpha, sigma) = (moved[1:] - moved[0]).mT, schedule(t)
        variance = Fixed(0.5)(schedule, Posterior(corners), t, s) if s > 0 else (sigma / alpha) ** 2
        mean = moved[0] + matrix @ mean
        covariance = matrix @ covariance @ matrix.mT + variance * torch.eye(size)
    a = measurement.operator.matrix()
    spread = a @ covariance @ a.mT + measurement.noise.covariance(len(a))
    return torch.distributions.MultivariateNormal(a @ mean, spread).log_prob(measurement.y).item()


@pytest.mark.parametrize(("which", "grid"), [(0, LogSNR()), (1, LogSNR()), (2, Quadratic())])
def test_the_evidence_is_unbiased(which: int, grid: Grid) -> None:
    """Under the prior's chain, of however few steps."""
    denoiser, measurement = gaussian_problem(2)
    estimates = particle_methods(20, 64)[which].log_evidence(denoiser, measurement, populations=256)
    ratio = (estimates - evidence_of_the_chain(denoiser, measurement, grid, 20)).exp()
    error = (ratio.std() / 16).item()
    assert error < 0.02
    assert ratio.mean().item() == pytest.approx(1, abs=3 * error)


@pytest.mark.parametrize("which", range(6))
@pytest.mark.parametrize("problem", ["gaussian", "mixture"])
def test_the_evidence_is_near_the_exact_one(problem: str, which: int) -> None:
    denoiser, measurement = gaussian_problem(2) if problem == "gaussian" else two_modes()
    estimates = particle_methods(100, 64)[which].log_evidence(denoiser, measurement, populations=64)
    ratio = (estimates - log_evidence(denoiser, measurement)).exp()
    error = (ratio.std() / 8).item()
    # the chain's own error falls with its steps: 5.6 % with 60 (and .7 % of luck), measured on the Gaussian
    assert ratio.mean().item() == pytest.approx(1, abs=3 * error + 0.04)


def test_the_evidence_of_a_batch_of_y_on_another_schedule_with_other_noise() -> None:
    denoiser, one = gaussian_problem(1)
    denoiser.schedule = VE()
    sigma = torch.tensor([[0.2, 0.1], [0.1, 0.3]], dtype=torch.float64)
    y = torch.stack((one.y, one.y + 0.5))
    pairs = ((CorrelatedNoise(sigma), TDS(80, 64, TweedieTwist(2))), (DiagonalNoise(sigma.diagonal()), FPS(80, 64)))
    for noise, method in pairs:
        measurement = Measurement(y, one.operator, noise)
        exact = torch.tensor([log_evidence(denoiser, Measurement(v, one.operator, noise)) for v in y])
        found = method.log_evidence(denoiser, measurement, populations=16)
        assert found.shape == (2, 16)
        ratio = (found - exact[:, None]).exp()
        error = ratio.std(1) / 4
        assert bool(((ratio.mean(1) - 1).abs() < 3.5 * error + 0.04).all())


def test_the_evidence_belongs_to_the_populations_that_are_drawn() -> None:
    denoiser, measurement = two_modes()
    method = TDS(8, 16)
    two = method.log_evidence(denoiser, measurement, populations=2, seed=3)
    three = method.log_evidence(denoiser, measurement, populations=3, seed=3)
    torch.testing.assert_close(two, three[:2])
    assert not torch.allclose(three, method.log_evidence(denoiser, measurement, populations=3, seed=4))


@pytest.mark.parametrize("which", range(6))
def test_a_population_is_whole_whoever_asks(which: int) -> None:
    denoiser, measurement = two_modes()
    method = particle_methods(10, 8)[which]
    with counted(denoiser) as cost:
        together = method(denoiser, measurement, samples=24, seed=1)
    assert (cost.forwards, cost.vjps) == (method.nfe, method.vjps)
    some = method(denoiser, measurement, samples=2, seed=1, ids=torch.tensor([19, 3]))
    torch.testing.assert_close(some, together[[19, 3]])
    assert not (together[:8, None] == together[None, 8:16]).all(-1).any()


def test_resampling_keeps_the_evidence_and_takes_each_its_share() -> None:
    cloud = Cloud(0, torch.arange(2)[:, None], 100, 0.5, CPU)
    log_w = torch.stack((torch.linspace(0, 9, 100), torch.linspace(0, 0.1, 100))).double()  # one due, one not
    cloud.weigh(log_w.flatten())
    before, number = cloud.log_evidence, torch.arange(200)
    (kept,) = cloud.resample(number)
    torch.testing.assert_close(cloud.log_evidence, before)
    torch.testing.assert_close(cloud.log_w[0], before[0].expand(100))
    torch.testing.assert_close(cloud.log_w[1], log_w[1])
    assert torch.equal(kept[100:], number[100:])
    counts = kept[:100].bincount(minlength=100).double()
    assert bool(((counts - 100 * log_w[0].softmax(0)).abs() < 1).all())


def test_a_population_that_dies_says_so() -> None:
    cloud = Cloud(0, torch.arange(2)[:, None], 3, 0.5, CPU)
    cloud.weigh(torch.tensor([0.0, -math.inf, 0.0, -math.inf, -math.inf, -math.inf]))
    with pytest.raises(UserError, match="weight 0"):
        cloud.resample()
    with pytest.raises(UserError, match="2 of 6 particles are not finite"):
        cloud.weigh(torch.tensor([0.0, math.nan, 0.0, math.nan, 0.0, 0.0]))


def test_the_determinant_with_and_without_an_svd() -> None:
    wide = torch.randn(3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    spread = torch.tensor(0.7, dtype=torch.float64)
    for matrix in (wide, wide.mT.contiguous()):
        size = len(matrix)
        covariance = torch.eye(size, dtype=torch.float64) * 0.3 + 0.1
        for noise in (GaussianNoise(0.4), DiagonalNoise(torch.linspace(0.1, 0.9, size)), CorrelatedNoise(covariance)):
            measurement = Measurement(torch.zeros(size), LinearOperator.from_matrix(matrix), noise)
            exact = torch.logdet(measurement.noise.covariance(size) + spread * matrix @ matrix.mT)
            torch.testing.assert_close(log_determinant(measurement, spread), exact, atol=1e-6, rtol=1e-6)


def test_the_last_step_weighs_noise_that_is_not_gaussian() -> None:
    """The mean of w over draws is the integral of N(x_0; D, r^2) p(y | x_0), up to the Gaussian's own constant."""
    n = 20000
    measurement = Measurement(
        torch.tensor([0.4, -0.1], dtype=torch.float64), LinearOperator.from_matrix(torch.eye(2)), LaplaceNoise(0.3)
    )
    spread = torch.tensor(0.05, dtype=torch.float64)
    mean = torch.tensor([[0.1, 0.2]], dtype=torch.float64).expand(n, 2)
    _, log_y = close(measurement, mean, spread, Randomness(0, torch.arange(n)))
    w = (log_y - (log_determinant(measurement, spread) + 2 * math.log(2 * math.pi)) / 2).exp()
    x = torch.linspace(-4, 4, 40001, dtype=torch.float64)
    exact = 1.0
    for i in range(2):
        normal = torch.distributions.Normal(mean[0, i], spread.sqrt()).log_prob(x).exp()
        exact *= float(torch.trapezoid(normal * (-(measurement.y[i] - x).abs() / 0.3).exp() / 0.6, x))
    assert float(w.mean()) == pytest.approx(exact, abs=3 * float(w.std()) / n**0.5)


def test_one_y_a_population_with_conditions() -> None:
    """Tensors that belong to samples follow their populations."""

    class Conditioned(GaussianMixtureDenoiser):
        def forward(self, x_t, t, shift=None, **condition):
            assert shift is not None
            assert shift.shape == (len(x_t), 1, 1, 1)
            return super().forward(x_t, t)

    plain, x = image_problem(2)
    denoiser = Conditioned(plain.weights, plain.means.reshape(1, 2, 5, 4), plain._full_covariances(), VP())
    operator = operators["inpaint_half"](shape=(2, 5, 4))
    measurement = Measurement.simulate(operator, GaussianNoise(0.3), x, seed=1)
    out = TDS(4, 8)(denoiser, measurement, samples=3, shift=torch.zeros(6, 1, 1, 1))
    assert out.shape == (2, 3, 2, 5, 4)


def test_bad_input() -> None:
    with pytest.raises(UserError, match="particles: 1"):
        TDS(particles=1)
    with pytest.raises(UserError, match=r"threshold: 1\.5"):
        MCGDiff(threshold=1.5)
    for method in (TDS, MCGDiff, FPS):
        with pytest.raises(UserError, match="steps: 0"):
            method(steps=0)
