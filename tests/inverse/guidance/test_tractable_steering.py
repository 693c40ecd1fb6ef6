"""Tractable steering against enumeration and its formula."""

import itertools

import pytest
import torch
from torch import Tensor

from diffusion_lit.analytic import GaussianDenoiser, GaussianMixtureDenoiser
from diffusion_lit.errors import UserError
from diffusion_lit.inverse import CorrelatedNoise, DiagonalNoise, GaussianNoise, Inpainting, LinearOperator, Measurement
from diffusion_lit.inverse.guidance import TractableSteering
from diffusion_lit.inverse.tractable import HiddenMarkovDenoiser
from diffusion_lit.noise import VE, VP
from tests.inverse.problems import gaussian_problem
from tests.inverse.test_paths import right, two_modes

T = torch.tensor([0.02, 0.2, 0.5, 0.9], dtype=torch.float64)


def chain() -> tuple[HiddenMarkovDenoiser, GaussianMixtureDenoiser]:
    """Two states on four sites, each with its means, and the same law as a mixture of sixteen Gaussians."""
    initial = torch.tensor([0.3, 0.7], dtype=torch.float64)
    transition = torch.tensor([[0.9, 0.1], [0.2, 0.8]], dtype=torch.float64)
    means = torch.tensor([[-1, 1], [0, 2], [-2, 0.5], [0.3, 1]], dtype=torch.float64)
    variances = torch.tensor([0.1, 0.3], dtype=torch.float64)
    weights, centres, covariances = [], [], []
    for states in itertools.product((0, 1), repeat=4):
        steps = [transition[a, b] for a, b in itertools.pairwise(states)]
        weights.append(initial[states[0]] * torch.stack(steps).prod())
        centres.append(torch.stack([means[i, k] for i, k in enumerate(states)]).reshape(1, 2, 2))
        covariances.append(torch.diag(variances[list(states)]))
    mixture = GaussianMixtureDenoiser(torch.stack(weights), torch.stack(centres), torch.stack(covariances), VP())
    return HiddenMarkovDenoiser(initial, transition, means, variances, (1, 2, 2), VP()), mixture


def inpainting() -> Measurement:
    observed = torch.tensor([[[True, False], [False, True]]])
    noise = DiagonalNoise(torch.tensor([0.3, 0.6], dtype=torch.float64))
    return Measurement(torch.tensor([[[0.5, 0], [0, 0.1]]], dtype=torch.float64), Inpainting(observed), noise)


def points(*event: int) -> Tensor:
    return torch.randn(len(T), *event, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_a_hidden_markov_chain_is_its_mixture_with_and_without_y() -> None:
    markov, mixture = chain()
    for a, b in ((markov, mixture), (markov.posterior(inpainting()), mixture.posterior(inpainting()))):
        torch.testing.assert_close(a(points(1, 2, 2), T).mean, b(points(1, 2, 2), T).mean)
        torch.testing.assert_close(a(points(1, 2, 2), T).variance, b(points(1, 2, 2), T).variance)


def test_exact_if_the_model_is_the_law_of_the_data() -> None:
    markov, mixture = chain()
    measurement, x = inpainting(), points(1, 2, 2)
    markov.schedule = VE()  # the model's own schedule is not read
    for model in (markov, mixture):
        guided = TractableSteering(model=model).guide(mixture, measurement)
        torch.testing.assert_close(guided(x, T).mean, mixture.posterior(measurement)(x, T).mean)
    assert isinstance(markov.schedule, VE)
    # any operator, one y a row
    denoiser, one = gaussian_problem(2)
    y = torch.stack((one.y, one.y + 1, one.y, one.y - 1))
    guided = TractableSteering(model=denoiser).guide(denoiser, Measurement(y, one.operator, one.noise))
    for i, mean in enumerate(guided(points(4), T).mean):
        posterior = denoiser.posterior(Measurement(y[i], one.operator, one.noise))
        torch.testing.assert_close(mean, posterior(points(4)[i : i + 1], T[i : i + 1]).mean[0])


def test_it_is_the_product_of_pixels() -> None:
    """N(D, u) N(T_y, u_y) / N(T, u), with a model that is not the law of the data."""
    denoiser, measurement = gaussian_problem(2)
    model = GaussianDenoiser(torch.ones(4), torch.diag(torch.tensor([0.5, 1.0, 2.0, 0.3])), VP())
    x = points(4)
    prior, given_y, mean = model(x, T), model.posterior(measurement)(x, T), denoiser(x, T).mean
    assert prior.variance is not None
    assert given_y.variance is not None
    precision = 1 / given_y.variance
    exact = (mean / prior.variance + given_y.mean / given_y.variance - prior.mean / prior.variance) / precision
    torch.testing.assert_close(TractableSteering(model=model).guide(denoiser, measurement)(x, T).mean, exact)


def test_a_rough_mixture_gives_modes_their_shares() -> None:
    """A model with the right modes and wrong widths steers better than one Gaussian does."""
    denoiser, measurement = two_modes()
    posterior = denoiser.posterior(measurement)
    exact = (posterior.weights @ (posterior.means[:, 0] > 0).double()).item()
    rough = GaussianMixtureDenoiser(denoiser.weights, denoiser.means, denoiser._full_covariances() * 1.2, VP())
    one = GaussianDenoiser.fit(denoiser.sample(4000, 0), VP())
    errors = [
        abs(right(TractableSteering(60, model)(denoiser, measurement, samples=2000)) - exact) for model in (rough, one)
    ]
    assert errors[0] < 0.08
    assert errors[0] < errors[1]


def test_bad_input() -> None:
    markov, _ = chain()
    one = inpainting()
    sigma = CorrelatedNoise(torch.tensor([[1, 0.5], [0.5, 1]], dtype=torch.float64))
    with pytest.raises(UserError, match="the noise is correlated"):
        markov.posterior(Measurement(one.y, one.operator, sigma))
    mixed = LinearOperator.from_matrix(torch.ones(1, 4))
    with pytest.raises(UserError, match="not on MatrixOperator"):
        markov.posterior(Measurement(torch.zeros(1), mixed, GaussianNoise(0.1)))
    two = torch.ones(2, dtype=torch.float64)
    with pytest.raises(UserError, match="expected"):
        HiddenMarkovDenoiser(two, torch.eye(3), two, two, (4,), VP())
    with pytest.raises(UserError, match="variances above 0"):
        HiddenMarkovDenoiser(two, torch.eye(2), two, -two, (4,), VP())
