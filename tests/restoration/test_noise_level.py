"""An unknown noise level is found: by the median rule on smooth images, by EM where y is no image."""

import pytest
import torch

from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.inverse import GaussianNoise, LinearOperator, Measurement
from diffusion_lit.inverse.operators import operators
from diffusion_lit.noise import VP
from diffusion_lit.restoration.noise_level import by_likelihood, from_details, keeps_images

f64 = torch.float64


def smooth(size: int = 48) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.linspace(0, 4, size), torch.linspace(0, 3, size), indexing="ij")
    return (0.6 * rows.sin() * columns.cos())[None]


def noise(seed: int, like: torch.Tensor) -> torch.Tensor:
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("mask", [None, "inpaint_box", "inpaint_random"])
def test_the_median_of_details_finds_the_sigma_of_smooth_images(sigma, mask):
    x = smooth()
    observed = None
    if mask is not None:
        arguments = {"size": 20} if mask == "inpaint_box" else {"fraction": 0.3}
        observed = operators[mask](shape=tuple(x.shape), **arguments).observed
    for seed in range(3):
        y = x + sigma * noise(seed, x)
        if observed is not None:
            y = torch.where(observed, y, 0.0)
        assert from_details(y, observed) == pytest.approx(sigma, rel=0.15)


def test_edges_and_clipped_pixels_are_not_taken_for_noise():
    x = torch.full((1, 48, 48), -0.5)
    x[:, 10:30, 12:20] = 0.5
    assert from_details(x + 0.1 * noise(0, x)) == pytest.approx(0.1, rel=0.15)
    y = (x + 0.1 * noise(0, x)).clamp(-1, 1)
    y[:, 30:] = -1.0  # a background that is clipped has no noise to measure
    assert from_details(y) == pytest.approx(0.1, rel=0.2)


def test_too_little_that_is_whole_gives_no_answer():
    x = smooth()
    assert from_details(x, operators["inpaint_lines"](shape=tuple(x.shape), every=2).observed) is None
    assert from_details(torch.zeros(1, 6, 6)) is None


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("identity", True),
        ("inpaint_box", True),
        ("average_pool", True),
        ("gaussian_blur", True),
        ("fourier_mask", False),
        ("gaussian_sensing", False),
        ("phase_retrieval", False),
    ],
)
def test_what_makes_images_of_images_is_recognised(name, kept):
    arguments = {"inpaint_box": {"size": 8}, "average_pool": {"factor": 2}, "gaussian_blur": {"sigma": 1.0}}
    assert keeps_images(operators[name](shape=(1, 32, 32), **arguments.get(name, {}))) is kept


@pytest.mark.parametrize("sigma", [0.1, 0.5])
def test_em_reaches_the_maximum_of_the_evidence(sigma):
    generator = torch.Generator().manual_seed(0)
    d, d_y = 30, 150
    matrix = torch.randn(d_y, d, dtype=f64, generator=generator) / d**0.5
    root = torch.randn(d, d, dtype=f64, generator=generator) / d**0.5
    prior = GaussianDenoiser(torch.ones(d, dtype=f64), root @ root.mT + 0.1 * torch.eye(d, dtype=f64), VP())
    operator = LinearOperator.from_matrix(matrix)
    x = prior.sample(1, 0)[0]
    y = operator(x[None])[0] + sigma * torch.randn(d_y, dtype=f64, generator=generator)

    def evidence(s: float) -> float:
        covariance = matrix @ (root @ root.mT + 0.1 * torch.eye(d, dtype=f64)) @ matrix.mT
        of_y = torch.distributions.MultivariateNormal(matrix.sum(1), covariance + s**2 * torch.eye(d_y, dtype=f64))
        return float(of_y.log_prob(y))

    grid = [sigma * 1.02**i for i in range(-20, 21)]
    best = max(grid, key=evidence)

    def draw(measurement: Measurement) -> torch.Tensor:
        return prior.posterior(measurement).sample(64, 1)

    found = by_likelihood(draw, y, operator, rounds=30, tolerance=0.001)
    assert found == pytest.approx(best, rel=0.03)
    assert by_likelihood(draw, y, operator) == pytest.approx(sigma, rel=0.15)
    assert isinstance(Measurement(y, operator, GaussianNoise(found)), Measurement)
