"""Noise: likelihoods against torch's distributions, draws, masks, and the Gaussian that stands for each."""

import math

import pytest
import torch
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.inverse import (
    CorrelatedNoise,
    DiagonalNoise,
    Gaussian,
    GaussianNoise,
    LaplaceNoise,
    Measurement,
    Noise,
    NoNoise,
    PoissonNoise,
    methods,
)
from diffusion_lit.inverse.operators import operators
from diffusion_lit.randomness import Randomness
from tests.inverse.problems import image_problem

SHAPE = (2, 5, 4)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def covariance(n: int) -> Tensor:
    root = draw(n, n, seed=7)
    return 0.02 * root @ root.mT / n + 0.01 * torch.eye(n, dtype=torch.float64)


SIGMA = torch.linspace(0.1, 0.5, 40, dtype=torch.float64).reshape(SHAPE)
NOISES: dict[str, Noise] = {
    "scalar": GaussianNoise(0.2),
    "diagonal": DiagonalNoise(SIGMA),
    "channels": DiagonalNoise(torch.tensor([0.1, 0.3]).reshape(2, 1, 1)),
    "correlated": CorrelatedNoise(covariance(40)),
    "poisson": PoissonNoise(gain=20, offset=3),
    "laplace": LaplaceNoise(0.2),
}


@pytest.fixture(params=NOISES)
def noise(request: pytest.FixtureRequest) -> Noise:
    return NOISES[request.param]


def masks() -> list:
    return [operators["identity"](shape=SHAPE), operators["inpaint_random"](shape=SHAPE, fraction=0.4)]


def test_log_likelihoods_are_torchs() -> None:
    _, x = image_problem(3)
    for operator in masks():
        kept = (torch.ones(SHAPE).bool() if operator.observed is None else operator.observed).flatten()
        ax = x.flatten(1)[:, kept]
        sizes = {"scalar": torch.full_like(SIGMA, 0.2), "diagonal": SIGMA}
        expected = {name: torch.distributions.Normal(ax, s.flatten()[kept]) for name, s in sizes.items()}
        expected["laplace"] = torch.distributions.Laplace(ax, torch.tensor(0.2).double())
        for name, distribution in expected.items():
            measurement = Measurement.simulate(operator, NOISES[name], x, seed=3)
            torch.testing.assert_close(measurement.log_likelihood(x), distribution.log_prob(measurement.values).sum(1))
        correlated = torch.distributions.MultivariateNormal(ax, covariance(40)[kept][:, kept])
        measurement = Measurement.simulate(operator, NOISES["correlated"], x, seed=3)
        torch.testing.assert_close(measurement.log_likelihood(x), correlated.log_prob(measurement.values))
        measurement = Measurement.simulate(operator, NOISES["poisson"], x, seed=3)
        counts = (20 * (measurement.values + 3)).round()
        torch.testing.assert_close(counts, 20 * (measurement.values + 3))
        poisson = torch.distributions.Poisson(20 * (ax + 3))
        torch.testing.assert_close(measurement.log_likelihood(x), poisson.log_prob(counts).sum(1))


def test_draws_have_the_mean_and_the_covariance_that_is_claimed(noise: Noise) -> None:
    """`gaussian` has the two moments of y given A x, which for the others is all that it claims."""
    n = 4000
    ax = draw(1, *SHAPE).clamp(-1, 1).expand(n, *SHAPE)
    y = noise.sample(ax, Randomness(1, torch.arange(n)))
    residual = (y - ax).flatten(1)
    whole = noise.restrict(SHAPE, None).gaussian(ax.flatten(1)[:1])
    white = whole.whiten(residual)
    assert float(white.mean(0).abs().max()) < 5 / math.sqrt(n)
    moment = white.mT @ white / n
    kurtosis = 6 if isinstance(noise, LaplaceNoise) else 3
    assert float((moment.diag() - 1).abs().max()) < 5 * math.sqrt((kurtosis - 1) / n)
    assert float((moment - moment.diag().diag()).abs().max()) < 5 / math.sqrt(n)


def test_a_draw_follows_its_id(noise: Noise) -> None:
    _, x = image_problem(4)
    operator = operators["identity"](shape=SHAPE)
    whole = Measurement.simulate(operator, noise, x, seed=4)
    part = Measurement.simulate(operator, noise, x[2:3], seed=4, ids=torch.tensor([2]))
    torch.testing.assert_close(part.y[0], whole.y[2])
    assert not torch.equal(whole.y[0] - x[0], whole.y[1] - x[1])


def test_likelihood_has_a_gradient_and_sees_every_image_alone(noise: Noise) -> None:
    _, x = image_problem(3)
    for operator in masks():
        x = x.detach()
        measurement = Measurement.simulate(operator, noise, x[0], seed=3)
        x.requires_grad_()
        together = measurement.log_likelihood(x)
        (gradient,) = torch.autograd.grad(together.sum(), x)
        assert bool(gradient.isfinite().all())
        assert operator.hidden is None or bool((gradient[:, operator.hidden] == 0).all())
        torch.testing.assert_close(measurement.log_likelihood(x[1:2])[0], together[1])
        assert measurement.log_likelihood(x.float()).dtype == torch.float32
        assert float(measurement.misfit(x.detach())[0]) < 1.5 * measurement.expected_misfit


def test_repeat_and_devices_keep_the_noise(noise: Noise) -> None:
    _, x = image_problem(2)
    operator = masks()[1]
    measurement = Measurement.simulate(operator, noise, x, seed=3)
    twice = measurement.repeat(2).to("cpu")
    expected = measurement.log_likelihood(x).repeat_interleave(2)
    torch.testing.assert_close(twice.log_likelihood(x.repeat_interleave(2, 0)), expected)


def test_a_gaussian_whitens_multiplies_and_solves(noise: Noise) -> None:
    _, x = image_problem(2)
    for operator in (*masks(), operators["radon"](shape=SHAPE, angles=3, detectors=5)):
        if not isinstance(noise, GaussianNoise | LaplaceNoise) and operator.y_shape != SHAPE:
            continue
        measurement = Measurement.simulate(operator, noise, x, seed=3)
        gaussian = measurement.gaussian(x)
        z = operator.place(draw(2, operator.y_size))
        n = operator.y_size
        sigma = torch.stack([gaussian.multiply(row.expand(2, n)) for row in torch.eye(n, dtype=torch.float64)], dim=2)
        white = operator.place(gaussian.whiten(operator.observe(z)))
        covaried = measurement.covary(measurement.covary(z, gaussian), gaussian)
        torch.testing.assert_close(operator.observe(covaried), (sigma @ sigma @ operator.observe(z)[..., None])[..., 0])
        norm = operator.observe(white).square().sum(1)
        expected = torch.einsum("bi,bi->b", operator.observe(z), torch.linalg.solve(sigma, operator.observe(z)))
        torch.testing.assert_close(norm, expected)
        torch.testing.assert_close(gaussian.log_determinant(n) + torch.zeros(2).double(), sigma.logdet())

        scale, a = torch.tensor([0.5, 2.0], dtype=torch.float64), operator.matrix()
        solved = measurement.gram_solve(z, scale, gaussian)
        system = scale[:, None, None] * (a @ a.mT) + sigma
        torch.testing.assert_close(
            operator.observe(solved), torch.linalg.solve(system, operator.observe(z)), atol=1e-8, rtol=1e-7
        )


def test_the_exact_posterior_knows_every_gaussian() -> None:
    denoiser, x = image_problem()
    points = denoiser.sample(4, 3)
    for name in ("diagonal", "channels", "correlated"):
        for operator in masks():
            measurement = Measurement.simulate(operator, NOISES[name], x[0], seed=1)
            posterior = denoiser.posterior(measurement)
            difference = posterior.log_prob(points) - denoiser.log_prob(points) - measurement.log_likelihood(points)
            torch.testing.assert_close(difference, difference[:1].expand(4), atol=1e-6, rtol=1e-6)


def test_noise_may_be_given_for_the_measured_entries_only() -> None:
    _, x = image_problem(2)
    operator = masks()[1]
    kept = operator.observed.flatten()
    for whole, part in (
        (NOISES["diagonal"], DiagonalNoise(SIGMA.flatten()[kept])),
        (NOISES["correlated"], CorrelatedNoise(covariance(40)[kept][:, kept])),
    ):
        found = [Measurement(x, operator, noise).log_likelihood(x + 0.1) for noise in (whole, part)]
        torch.testing.assert_close(found[0], found[1])


def test_large_counts_are_almost_gaussian() -> None:
    noise, ax = PoissonNoise(gain=1e5, offset=1), draw(3, 20).clamp(-0.5, 0.9)
    y = noise.sample(ax, Randomness(0, torch.arange(3)))
    exact = noise.log_likelihood(y, ax)
    # a count's probability is its density times the distance of counts, 1 / gain
    near = noise.gaussian(ax).log_likelihood(y, ax) - 20 * math.log(1e5)
    torch.testing.assert_close(exact, near, atol=0.1, rtol=1e-3)


def test_no_light_gives_no_counts() -> None:
    noise = PoissonNoise(gain=10)
    dark = noise.sample(torch.tensor([[-1.0, 0.0]]), Randomness(0, torch.zeros(1, dtype=torch.int64)))
    assert bool((dark == 0).all())
    assert float(noise.log_likelihood(dark, torch.tensor([[-1.0, 0.0]]))) == pytest.approx(-2e-3, rel=1e-3)
    assert bool(noise.gaussian(torch.tensor([[-1.0, 0.0]])).sigma.eq(0.1).all())


def test_methods_that_need_one_variance_say_so() -> None:
    denoiser, x = image_problem()
    operator = operators["inpaint_half"](shape=SHAPE)
    for name in ("diagonal", "correlated", "poisson"):
        measurement = Measurement.simulate(operator, NOISES[name], x[0], seed=1)
        with pytest.raises(UserError, match="Noise has not one variance for all entries"):
            methods["replacement"](steps=3)(denoiser, measurement)
        assert bool(methods["dps"](steps=3)(denoiser, measurement, samples=2).isfinite().all())
    for noise in (LaplaceNoise(0.1), NoNoise()):
        measurement = Measurement.simulate(operator, noise, x[0], seed=1)
        assert bool(methods["replacement"](steps=3)(denoiser, measurement).isfinite().all())
    assert LaplaceNoise(0.1).variance == pytest.approx(0.02)


def test_whitened_measurements_have_the_same_posterior() -> None:
    denoiser, x = image_problem()
    for operator in masks():
        for name in ("diagonal", "channels", "correlated"):
            measurement = Measurement.simulate(operator, NOISES[name], x[0], seed=1)
            white = measurement.whitened()
            assert white.noise.variance == 1
            found, expected = denoiser.posterior(white), denoiser.posterior(measurement)
            torch.testing.assert_close(found.means, expected.means)
            torch.testing.assert_close(found.eigenvalues, expected.eigenvalues)
            torch.testing.assert_close(white.misfit(x), measurement.misfit(x))
            batch = Measurement.simulate(operator, NOISES[name], x, seed=1)
            torch.testing.assert_close(batch.whitened().y[0], white.y)
    poisson = Measurement.simulate(operator, NOISES["poisson"], x, seed=1)
    with pytest.raises(UserError, match="whiten one y at a time"):
        poisson.whitened()
    alone = Measurement.simulate(operator, NOISES["poisson"], x[0], seed=1)
    restored = methods["pigdm"](steps=10)(denoiser, alone.whitened(), samples=8)
    expected = denoiser.posterior(alone.whitened()).means[0].reshape(SHAPE)
    assert float((restored.mean(0) - expected).norm()) < float((x[0] - expected).norm())
    scalar = flat(GaussianNoise(0.1))
    assert scalar.whitened() is scalar


class Uniform(Noise):
    """A user's own noise, without a Gaussian."""

    def log_likelihood(self, y: Tensor, ax: Tensor) -> Tensor:
        return torch.where((y - ax).abs().amax(1) < 0.5, 0.0, -math.inf)

    def sample(self, ax: Tensor, noise: Randomness) -> Tensor:
        return ax + noise.uniform(*ax.shape[1:]).to(ax) - 0.5


def test_a_users_own_noise() -> None:
    denoiser, x = image_problem()
    measurement = Measurement.simulate(masks()[0], Uniform(), x, seed=1)
    assert bool((measurement.log_likelihood(x) == 0).all())
    for call in (
        lambda: measurement.misfit(x),
        lambda: measurement.gaussian(x),
        lambda: measurement.noise.variance,
        lambda: denoiser.posterior(measurement),
    ):
        with pytest.raises(UserError, match="Uniform"):
            call()


def flat(noise: Noise, y: Tensor | None = None) -> Measurement:
    return Measurement(torch.zeros(SHAPE) if y is None else y, masks()[0], noise)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: GaussianNoise(math.nan), "sigma: nan"),
        (lambda: NoNoise().log_likelihood(torch.zeros(1, 2), torch.zeros(1, 2)), "only equality"),
        (lambda: DiagonalNoise(torch.tensor([0.1, 0.0, -1.0])), "2 of 3 standard deviations are not above 0"),
        (lambda: flat(DiagonalNoise(torch.ones(3))), r"shape \(3,\) fits neither y of \(2, 5, 4\) nor its 40"),
        (lambda: CorrelatedNoise(torch.ones(2, 3)), r"\(2, 3\); expected a symmetric matrix"),
        (lambda: CorrelatedNoise(torch.tensor([[1.0, 0.5], [0.0, 1.0]])), "symmetric"),
        (lambda: CorrelatedNoise(torch.ones(3, 3)), "eigenvalues run from .*positive definite"),
        (lambda: flat(CorrelatedNoise(torch.eye(3))), "3 x 3 fits neither the 40 entries"),
        (
            lambda: Measurement.simulate(masks()[0], CorrelatedNoise(torch.eye(3)), torch.zeros(SHAPE), seed=0),
            "y has 40 entries",
        ),
        (lambda: PoissonNoise(0), "gain 0"),
        (lambda: flat(PoissonNoise(10), torch.full(SHAPE, -0.5)), "least entry is -0.5.*offset=1"),
        (lambda: LaplaceNoise(0.0), "scale: 0.0"),
        (lambda: flat(PoissonNoise(10)).noise.covariance(40), "PoissonNoise is not Gaussian"),
        (lambda: flat(LaplaceNoise(0.1)).covary(torch.zeros(1, *SHAPE)), "LaplaceNoise is not Gaussian"),
    ],
)
def test_bad_input(make, words: str) -> None:
    with pytest.raises(UserError, match=words):
        make()


def test_gaussians_are_their_own_gaussian() -> None:
    assert isinstance(NOISES["diagonal"], Gaussian)
    measurement = flat(GaussianNoise(0.1))
    assert measurement.gaussian(torch.zeros(1, *SHAPE)) is measurement.noise
