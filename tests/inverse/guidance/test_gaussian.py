"""Guidances on Gaussian data against closed forms, and the exact law of what they draw: what each gets wrong."""

import pytest
import torch
from torch import Tensor

from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.cost import counted
from diffusion_lit.errors import UserError
from diffusion_lit.inverse import CorrelatedNoise, GaussianNoise, LinearOperator, Measurement, PoissonNoise
from diffusion_lit.inverse.guidance import ALD, JFPS, MMPS, TMPD, Convolved, DataCovariance, PiGDM
from diffusion_lit.inverse.operators import operators
from diffusion_lit.noise import VE, VP
from diffusion_lit.samplers import AnnealedLangevin
from tests.inverse.guidance.affine import error, law
from tests.inverse.guidance.test_sda import T, points
from tests.inverse.problems import gaussian_problem, image_problem, whitened, whitened_law

EYE = torch.eye(2, dtype=torch.float64)


def pieces(i: int, x: Tensor) -> tuple:
    denoiser, measurement = gaussian_problem(3)
    alpha, sigma = (c[i] for c in VP()(T))
    jacobian = torch.func.jacrev(lambda p: denoiser(p[None], T[i]).mean[0])(x)
    return measurement, measurement.linear.matrix(), denoiser(x[None], T[i]).mean[0], jacobian, alpha, sigma


@pytest.mark.parametrize("noise", [GaussianNoise(0.3), CorrelatedNoise(torch.eye(2) + 0.5)])
@pytest.mark.parametrize("name", ["ald", "convolved", "tmpd"])
def test_score_is_its_formula(name: str, noise) -> None:
    denoiser, _ = gaussian_problem(3)
    sigma_y = noise.covariance(2)
    for i, x in enumerate(points(4)):
        measurement, a, mean, jacobian, alpha, sigma = pieces(i, x)
        measurement = Measurement(measurement.y, measurement.operator, noise)
        gamma2, residual = (sigma / alpha) ** 2, measurement.y - a @ mean
        if name == "tmpd":
            rows = (sigma_y + sigma**2 / alpha * a @ jacobian @ a.mT).sum(1)
            score, method = jacobian.mT @ a.mT @ (residual / rows), TMPD()
        else:
            system = sigma_y + gamma2 * (EYE if name == "ald" else a @ a.mT)
            score = a.mT @ torch.linalg.solve(system, measurement.y - a @ x / alpha) / alpha
            method = ALD() if name == "ald" else Convolved()
        actual = method.guide(denoiser, measurement)(x[None], T[i]).mean[0]
        torch.testing.assert_close(actual, mean + sigma**2 / alpha * score, atol=1e-7, rtol=1e-7)


@pytest.mark.parametrize("schedule", [VP(), VE()])
def test_convolved_is_exact_for_a_flat_prior(schedule) -> None:
    """Against the posterior of N(0, v I), whose error falls like 1 / v."""
    _, measurement = gaussian_problem(3)
    errors = []
    for variance in (1e7, 1e8):
        denoiser = GaussianDenoiser(torch.zeros(4), torch.tensor(variance), schedule)
        exact = denoiser.posterior(measurement)(points(4), T).mean
        errors.append(float((Convolved().guide(denoiser, measurement)(points(4), T).mean - exact).abs().max()))
    assert errors[1] == pytest.approx(errors[0] / 10, rel=0.1)
    assert errors[1] < 1e-2 * float(points(4).norm())


def test_ald_is_convolved_where_the_rows_are_orthonormal() -> None:
    denoiser, x = image_problem(4)
    operator = operators["inpaint_random"](shape=(2, 5, 4), fraction=0.5)
    measurement = Measurement.simulate(operator, GaussianNoise(0.2), x, seed=5)
    ald, convolved = (m.guide(denoiser, measurement)(points(2, 5, 4), T).mean for m in (ALD(), Convolved()))
    torch.testing.assert_close(ald, convolved, atol=1e-7, rtol=1e-7)


def test_no_jacobian_asks_for_no_gradient() -> None:
    class Closed(GaussianDenoiser):
        def forward(self, x_t, t, **condition):
            with torch.no_grad():
                return super().forward(x_t, t, **condition)

    vp, measurement = gaussian_problem(1)
    denoiser = Closed(vp.means[0], vp._full_covariances()[0], VP())
    for method in (ALD(4), Convolved(4), JFPS(4), ALD(sampler=AnnealedLangevin(3, 2))):
        with counted(denoiser) as cost:
            method(denoiser, measurement, samples=2)
        assert (cost.forwards, cost.vjps) == (method.nfe, 0)


def test_jfps_is_the_exact_conditional_mean() -> None:
    """With the data's covariance: full, isotropic and of each entry; through any operator and noise."""
    denoiser, measurement = gaussian_problem(3)
    correlated = Measurement(measurement.y, measurement.operator, CorrelatedNoise(torch.eye(2) + 0.5))
    diagonal = torch.tensor([2.0, 1.0, 0.5, 0.1], dtype=torch.float64)
    cases = [
        (denoiser, measurement, DataCovariance.of(denoiser)),
        (denoiser, correlated, DataCovariance.matrix(denoiser._full_covariances()[0])),
        (GaussianDenoiser(torch.ones(4), diagonal.diag(), VP()), measurement, DataCovariance(diagonal)),
        (GaussianDenoiser(torch.ones(4), torch.tensor(0.7), VE()), measurement, DataCovariance.isotropic(0.7)),
    ]
    for prior, seen, covariance in cases:
        exact = prior.posterior(seen)(points(4), T).mean
        guided = JFPS(covariance=covariance).guide(prior, seen)(points(4), T).mean
        torch.testing.assert_close(guided, exact, atol=1e-6, rtol=1e-6)
    images, x = image_problem(1)
    operator = operators["gaussian_blur"](shape=(2, 5, 4), sigma=0.6)
    seen = Measurement.simulate(operator, GaussianNoise(0.3), x[0], seed=1)
    exact = images.posterior(seen)(points(2, 5, 4), T).mean
    guided = JFPS(covariance=DataCovariance.of(images)).guide(images, seen)(points(2, 5, 4), T).mean
    torch.testing.assert_close(guided, exact, atol=1e-6, rtol=1e-6)


def test_the_law_of_the_samples_is_what_they_have() -> None:
    """`law` against 4,000 samples: 4 standard errors of a mean, and of a variance."""
    denoiser, measurement = gaussian_problem(1)
    for method in (Convolved(20), TMPD(20)):
        mean, covariance = law(method, denoiser, measurement)
        x = method(denoiser, measurement, samples=4000, seed=7)
        deviation = covariance.diagonal().sqrt()
        assert bool(((x.mean(0) - mean).abs() < 4 * deviation / 4000**0.5).all())
        assert bool((x.var(0) / deviation**2 - 1).abs().max() < 4 * (2 / 4000) ** 0.5)


def test_jfps_is_exact_but_for_the_steps() -> None:
    """W2 to the posterior halves when the steps double, and it is the same method as an exact mmps here."""
    for seed in (1, 2):
        denoiser, measurement = gaussian_problem(seed)
        posterior, covariance = denoiser.posterior(measurement), DataCovariance.of(denoiser)
        few, many = (whitened_law(*law(JFPS(n, covariance), denoiser, measurement), posterior)[1] for n in (30, 60))
        assert 0.4 * few < many < 0.6 * few < 0.06
    same = law(MMPS(30, iterations=2), denoiser, measurement)
    torch.testing.assert_close(same, law(JFPS(30, covariance), denoiser, measurement), atol=1e-4, rtol=1e-4)
    x = JFPS(100, covariance)(denoiser, measurement, samples=4000, seed=7)
    assert whitened(x, posterior)[1] < 0.08  # exact samples: .041, standard deviation .010; the walk's own error: .025


@pytest.mark.parametrize(
    ("method", "distance"),
    [
        (lambda n: PiGDM(n, data_variance=0.9), 0.164),  # an isotropic covariance for eigenvalues 2 to .1
        (lambda n: JFPS(n, DataCovariance.isotropic(0.9)), 0.336),  # the same in place of J too
        (Convolved, 0.494),  # a flat prior
        (ALD, 0.634),  # and A A^T = 1
    ],
)
def test_what_is_wrong_is_wrong_at_any_number_of_steps(method, distance: float) -> None:
    """W2 of 200 steps, found by `law`, and of 50: they differ by less than the walk's own error at 50, 4 x .0127."""
    assert error(method(50))[1] == pytest.approx(distance, abs=0.05)


def test_tmpd_depends_on_its_row_sums() -> None:
    """Where all are positive its error is its approximation's; on problem 4 one passes 0 near t = 0.3."""
    assert error(TMPD(50), seeds=(1, 2, 3))[1] == pytest.approx(0.245, abs=0.05)
    denoiser, measurement = gaussian_problem(4)
    a, c = measurement.linear.matrix(), denoiser._full_covariances()[0]
    sums = []
    for t in (0.5, 0.3):
        alpha, sigma = VP()(torch.tensor(t, dtype=torch.float64))
        spread = torch.linalg.inv(torch.linalg.inv(c) + (alpha / sigma) ** 2 * torch.eye(4))
        sums.append(float((a @ spread @ a.mT + 0.09 * EYE).sum(1).min()))
    assert sums[0] < 0 < sums[1]
    assert error(TMPD(50), seeds=(4,))[1] > 1  # and how far it is thrown depends on the grid


def test_tmpd_repels_where_measurements_oppose_each_other() -> None:
    """A A^T = ((1, -2), (-2, 4.01)) has a row sum of -1: the more the first value is missed, the further away."""
    denoiser = GaussianDenoiser(torch.zeros(2), torch.tensor(1.0), VP())
    matrix = torch.tensor([[1.0, 0.0], [-2.0, 0.1]], dtype=torch.float64)
    measurement = Measurement(torch.tensor([1.0, 0.0]).double(), LinearOperator.from_matrix(matrix), GaussianNoise(0.1))
    x = torch.zeros(1, 2, dtype=torch.float64)
    mean = TMPD().guide(denoiser, measurement)(x, torch.tensor(0.5, dtype=torch.float64)).mean
    exact = denoiser.posterior(measurement)(x, torch.tensor(0.5, dtype=torch.float64)).mean
    assert float(mean[0, 0]) < 0 < float(exact[0, 0])


def test_poisson_counts() -> None:
    denoiser, x = image_problem(2)
    operator = operators["average_pool"](shape=(2, 5, 4), factor=1)
    measurement = Measurement.simulate(operator, PoissonNoise(50.0, 4.0), x, seed=1)
    for method in (ALD(6), Convolved(6), JFPS(6), TMPD(6)):
        assert bool(method(denoiser, measurement, samples=2).isfinite().all())


def test_pigdm_without_noise_meets_the_data() -> None:
    """r^2 -> 0 with sigma_t: the last D_y has A D_y = y up to sigma^2 / alpha J - r^2, of order t_min's noise."""
    denoiser, measurement = gaussian_problem(2)
    seen = Measurement(measurement.y, measurement.operator, GaussianNoise(0.0))
    out = PiGDM(100, 0.9)(denoiser, seen, samples=50, seed=1)
    assert float(seen.residual(out).abs().max()) < 0.01
    images, x = image_problem(2)
    operator = operators["inpaint_random"](shape=(2, 5, 4), fraction=0.5)
    seen = Measurement.simulate(operator, GaussianNoise(0.0), x, seed=5)
    out = PiGDM(50, 0.3)(images, seen, samples=8, seed=1)
    assert float(seen.repeat(8).residual(out.flatten(0, 1)).abs().max()) < 0.01


def test_bad_input() -> None:
    for values in (torch.tensor([1.0, -0.1]), torch.zeros(2)):
        with pytest.raises(UserError, match="eigenvalues run from"):
            DataCovariance(values)
