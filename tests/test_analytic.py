import math

import pytest
import torch
from torch import Tensor

from diffusion_lit.analytic import EmpiricalDenoiser, GaussianDenoiser, GaussianMixtureDenoiser
from diffusion_lit.denoise import Denoiser
from diffusion_lit.inverse import GaussianNoise, Inpainting, LinearOperator, Measurement
from diffusion_lit.noise import EDM, VP, Rectified, Schedule

times = pytest.mark.parametrize("time", [0.05, 0.3, 0.9])
schedules = pytest.mark.parametrize("schedule", [VP(), EDM(), Rectified()], ids=["vp", "edm", "rectified"])


def f64(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def mixture(size: int = 3, components: int = 4, schedule: Schedule | None = None) -> GaussianMixtureDenoiser:
    """Overlapping components with covariances of any direction."""
    root = draw(components, size, size, seed=1) / 2
    covariances = root @ root.mT + 0.05 * torch.eye(size, dtype=torch.float64)
    weights = torch.arange(1, components + 1, dtype=torch.float64)
    return GaussianMixtureDenoiser(weights, 1.5 * draw(components, size, seed=2), covariances, schedule or VP())


def tweedie_covariance(denoiser: Denoiser, x_t: Tensor, t: Tensor) -> Tensor:
    """(sigma^2 / alpha) dD/dx_t by autograd."""
    alpha, sigma = denoiser.schedule(t)
    jacobian = torch.autograd.functional.jacobian(lambda x: denoiser(x, t).mean.flatten(1).sum(0), x_t.flatten(1))
    return (sigma**2 / alpha) * jacobian.transpose(0, 1)


@schedules
@times
def test_mean_and_variance_are_those_of_the_posterior_by_quadrature(schedule: Schedule, time: float):
    prior, t = mixture(size=2, schedule=schedule), f64(time)[0]
    alpha, sigma = schedule(t)
    x_0 = prior.sample(2, seed=5)
    x_t = alpha * x_0 + sigma * draw(2, 2, seed=3)
    for point in x_t:
        posterior = prior(point[None], t)
        # the trapezium rule is exact to rounding for a smooth density whose tails are inside
        half = 9 * posterior.variance.sqrt().max()
        axes = [torch.linspace(-1, 1, 201, dtype=torch.float64) * half + m for m in posterior.mean[0]]
        grid = torch.cartesian_prod(*axes)
        log_density = prior.log_prob(grid) - (point - alpha * grid).square().sum(1) / (2 * sigma**2)
        share = log_density.softmax(0)
        mean = share @ grid
        covariance = (share[:, None] * (grid - mean)).mT @ (grid - mean)
        torch.testing.assert_close(posterior.mean[0], mean, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(posterior.variance[0], covariance.diagonal(), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(prior.covariance(point[None], t)[0], covariance, rtol=1e-6, atol=1e-6)


@schedules
@times
def test_covariance_is_tweedies_second_formula(schedule: Schedule, time: float):
    t, x_t = f64(time)[0], draw(5, 3)
    isotropic = GaussianMixtureDenoiser(torch.ones(4), draw(4, 3, seed=2), f64(0.1, 0.2, 0.3, 0.0), schedule)
    points = EmpiricalDenoiser(draw(20, 3, seed=4), schedule)
    for denoiser in (mixture(schedule=schedule), isotropic, points):
        covariance = denoiser.covariance(x_t, t)
        torch.testing.assert_close(covariance, tweedie_covariance(denoiser, x_t, t), rtol=1e-6, atol=1e-7)
        variance = covariance.diagonal(dim1=1, dim2=2)
        torch.testing.assert_close(denoiser(x_t, t).variance, variance, rtol=1e-6, atol=1e-9)


@schedules
@times
def test_score_is_the_gradient_of_the_log_density(schedule: Schedule, time: float):
    prior, x_t = mixture(schedule=schedule), draw(5, 3).requires_grad_()
    (gradient,) = torch.autograd.grad(prior.log_prob(x_t, time).sum(), x_t)
    torch.testing.assert_close(prior.score(x_t.detach(), f64(time)[0]), gradient, rtol=1e-6, atol=1e-8)


def test_log_prob_is_torchs():
    prior = mixture()
    covariances = prior.eigenvectors * prior.eigenvalues[:, None] @ prior.eigenvectors.mT
    torch_mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(prior.weights),
        torch.distributions.MultivariateNormal(prior.means, covariances),
    )
    x = draw(10, 3)
    torch.testing.assert_close(prior.log_prob(x), torch_mixture.log_prob(x), rtol=1e-9, atol=1e-9)


@times
def test_a_gaussian_is_a_mixture_of_one(time: float):
    root = draw(3, 3)
    mean, covariance, x_t, t = draw(3, seed=1), root @ root.mT, draw(6, 3, seed=2), f64(time)[0]
    gaussian = GaussianDenoiser(mean, covariance, VP())
    split = GaussianMixtureDenoiser(f64(0.3, 0.7), mean.expand(2, 3), covariance.expand(2, 3, 3), VP())
    alpha, sigma = VP()(t)
    total = alpha**2 * covariance + sigma**2 * torch.eye(3)
    by_hand = mean + alpha * torch.linalg.solve(total, (x_t - alpha * mean).mT).mT @ covariance
    for denoiser in (gaussian, split):
        torch.testing.assert_close(denoiser(x_t, t).mean, by_hand, rtol=1e-8, atol=1e-8)


def test_isotropic_components_equal_full_ones():
    means, values, x_t, t = draw(3, 2), f64(0.5, 1.0, 0.0), draw(4, 2, seed=1), f64(0.2)[0]
    short = GaussianMixtureDenoiser(torch.ones(3), means, values, VP())
    full = GaussianMixtureDenoiser(torch.ones(3), means, torch.eye(2).double() * values[:, None, None], VP())
    for one, other in zip(short(x_t, t), full(x_t, t)):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(short.covariance(x_t, t), full.covariance(x_t, t), rtol=1e-9, atol=1e-9)


def test_fit_takes_mean_and_covariance():
    data = draw(50, 2, 2)
    flat = data.flatten(1)
    fitted = GaussianDenoiser.fit(data, VP())
    centred = flat - flat.mean(0)
    torch.testing.assert_close(fitted.means[0], flat.mean(0))
    torch.testing.assert_close(fitted._full_covariances()[0], centred.mT @ centred / 49, rtol=1e-9, atol=1e-9)


@times
def test_points_are_weighed_by_their_likelihood(time: float):
    data, x_t, t = draw(20, 1, 2, 2), draw(5, 1, 2, 2, seed=1), f64(time)[0]
    alpha, sigma = VP()(t)
    squared = (x_t[:, None] - alpha * data).square().flatten(2).sum(2)
    share = (-squared / (2 * sigma**2)).softmax(1)
    mean = torch.einsum("bn,nchw->bchw", share, data)
    posterior = EmpiricalDenoiser(data, VP())(x_t, t)
    torch.testing.assert_close(posterior.mean, mean, rtol=1e-8, atol=1e-8)
    variance = torch.einsum("bn,bnchw->bchw", share, (data - mean[:, None]) ** 2)
    torch.testing.assert_close(posterior.variance, variance, rtol=1e-6, atol=1e-9)


def test_one_point_is_known_without_seeing_it():
    point = draw(1, 3)
    posterior = EmpiricalDenoiser(point, VP())(draw(4, 3, seed=1), f64(1.0)[0])
    torch.testing.assert_close(posterior.mean, point.expand(4, 3))
    torch.testing.assert_close(posterior.variance, torch.zeros(4, 3).double())


def test_images_and_times_of_each_sample():
    flat = mixture(size=12)
    images = GaussianMixtureDenoiser(flat.weights, flat.means.reshape(4, 3, 2, 2), flat._full_covariances(), VP())
    x_t, t = draw(5, 3, 2, 2), torch.linspace(0.1, 0.9, 5, dtype=torch.float64)
    posterior = images(x_t, t)
    assert posterior.mean.shape == posterior.variance.shape == x_t.shape
    torch.testing.assert_close(posterior.mean.flatten(1), flat(x_t.flatten(1), t).mean, rtol=1e-8, atol=1e-8)
    for i in range(5):
        torch.testing.assert_close(images(x_t[i : i + 1], t[i]).mean[0], posterior.mean[i], rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(images.log_prob(x_t), flat.log_prob(x_t.flatten(1)), rtol=1e-8, atol=1e-8)
    assert images.sample(7, seed=0).shape == (7, 3, 2, 2)
    assert images(x_t.float(), t).mean.dtype == torch.float32


def test_samples_have_the_moments_of_the_mixture():
    prior, n = mixture(), 20_000
    x = prior.sample(n, seed=3)
    mean = prior.weights @ prior.means
    deviation = prior.means - mean
    covariance = torch.einsum("k,kij->ij", prior.weights, prior._full_covariances())
    covariance = covariance + torch.einsum("k,ki,kj->ij", prior.weights, deviation, deviation)
    products = ((x - mean)[:, :, None] * (x - mean)[:, None]).flatten(1)
    for draws, expected in ((x, mean), (products, covariance.flatten())):
        z = (draws.mean(0) - expected) / (draws.std(0) / math.sqrt(n))
        assert float(z.abs().max()) < 3
    # the log-density averages to minus the entropy, which a mixture of another shape misses
    assert prior.log_prob(x).mean() > mixture().posterior(seen(size=3)).log_prob(x).mean()


def test_a_sample_depends_on_seed_and_place_only():
    prior = mixture()
    torch.testing.assert_close(prior.sample(5, seed=1), prior.sample(50, seed=1)[:5], rtol=0, atol=1e-12)
    assert not torch.allclose(prior.sample(5, seed=1), prior.sample(5, seed=2))


def seen(size: int) -> Measurement:
    return Measurement(f64(0.7, -0.4), LinearOperator.from_matrix(draw(2, size, seed=7)), GaussianNoise(0.3))


def test_posterior_by_the_information_form():
    prior, measurement = mixture(), seen(size=3)
    matrix, y = draw(2, 3, seed=7), f64(0.7, -0.4)
    posterior = prior.posterior(measurement)
    log_evidence = []
    for k, covariance in enumerate(prior._full_covariances()):
        precision = covariance.inverse() + matrix.mT @ matrix / 0.09
        mean = precision.inverse() @ (covariance.inverse() @ prior.means[k] + matrix.mT @ y / 0.09)
        torch.testing.assert_close(posterior.means[k], mean, rtol=1e-7, atol=1e-7)
        torch.testing.assert_close(posterior._full_covariances()[k], precision.inverse(), rtol=1e-7, atol=1e-7)
        total = matrix @ covariance @ matrix.mT + 0.09 * torch.eye(2)
        seen_law = torch.distributions.MultivariateNormal(matrix @ prior.means[k], total)
        log_evidence.append(prior.weights[k].log() + seen_law.log_prob(y))
    torch.testing.assert_close(posterior.weights, torch.stack(log_evidence).softmax(0), rtol=1e-7, atol=1e-9)


def isotropic() -> GaussianMixtureDenoiser:
    return GaussianMixtureDenoiser(f64(1.0, 2.0), draw(2, 3), f64(0.5, 1.5), VP())


@pytest.mark.parametrize("prior", [mixture(), isotropic()], ids=["full", "isotropic"])
def test_posterior_obeys_bayes_rule(prior: GaussianMixtureDenoiser):
    measurement, x = seen(size=3), draw(20, 3, seed=9)
    evidence = prior.log_prob(x) + measurement.log_likelihood(x) - prior.posterior(measurement).log_prob(x)
    torch.testing.assert_close(evidence, evidence.mean().expand(20), rtol=0, atol=1e-8)


def test_posterior_of_an_inpainted_image_obeys_bayes_rule():
    flat = mixture(size=4)
    prior = GaussianMixtureDenoiser(flat.weights, flat.means.reshape(4, 1, 2, 2), flat._full_covariances(), VP())
    operator = Inpainting(torch.tensor([[[True, False], [False, True]]]))
    measurement = Measurement(draw(1, 2, 2, seed=8), operator, GaussianNoise(0.2))
    x = draw(20, 1, 2, 2, seed=9)
    posterior = prior.posterior(measurement)
    assert posterior.sample(3, seed=0).shape == (3, 1, 2, 2)
    evidence = prior.log_prob(x) + measurement.log_likelihood(x) - posterior.log_prob(x)
    torch.testing.assert_close(evidence, evidence.mean().expand(20), rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("covariances", "message"),
    [
        (torch.ones(3), "expected"),
        (torch.tensor([[[1.0, 0.5], [0.0, 1.0]]]), "symmetric"),
        (torch.tensor([[[1.0, 2.0], [2.0, 1.0]]]), "eigenvalue"),
    ],
)
def test_a_covariance_that_is_none_is_refused(covariances: Tensor, message: str):
    with pytest.raises(ValueError, match=message):
        GaussianMixtureDenoiser(torch.ones(1), torch.zeros(1, 2), covariances, VP())


def test_log_density_is_differentiable_and_takes_a_time_each():
    prior = GaussianMixtureDenoiser(torch.tensor([0.3, 0.7]), torch.randn(2, 3), torch.tensor([0.5, 2.0]), VP())
    x, t = torch.randn(4, 3, dtype=torch.float64, requires_grad=True), torch.tensor([0.1, 0.4, 0.7, 1.0]).double()
    (gradient,) = torch.autograd.grad(prior.log_density(x, t).sum(), x)
    torch.testing.assert_close(gradient, prior.score(x, t).detach())
    for i in range(4):
        torch.testing.assert_close(prior.log_prob(x[i : i + 1], t[i].item()), prior.log_density(x, t)[i : i + 1])
