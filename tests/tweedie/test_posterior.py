import pytest
import torch
from torch import Tensor

from diffusion_lit.analytic import GaussianMixtureDenoiser
from diffusion_lit.denoise import NetworkDenoiser
from diffusion_lit.networks.unet import UNet
from diffusion_lit.noise import EDM, VP, Rectified, Schedule
from diffusion_lit.tweedie import covariance, estimated_variance, variance

schedules = pytest.mark.parametrize("schedule", [VP(), EDM(), Rectified()], ids=["vp", "edm", "rectified"])


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def mixture(schedule: Schedule) -> GaussianMixtureDenoiser:
    root = draw(3, 4, 4, seed=1) / 2
    eye = torch.eye(4, dtype=torch.float64)
    return GaussianMixtureDenoiser(torch.ones(3), draw(3, 4, seed=2), root @ root.mT + 0.05 * eye, schedule)


@schedules
@pytest.mark.parametrize("chunk", [None, 3])
def test_covariance_and_variance_are_those_of_the_exact_posterior(schedule: Schedule, chunk: int | None):
    exact, x_t, t = mixture(schedule), draw(5, 4), torch.tensor([0.05, 0.2, 0.5, 0.7, 0.9], dtype=torch.float64)
    expected = exact.covariance(x_t, t)
    torch.testing.assert_close(covariance(exact, x_t, t, chunk=chunk), expected, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(
        variance(exact, x_t, t, chunk=chunk), expected.diagonal(dim1=1, dim2=2), rtol=1e-6, atol=1e-9
    )
    one = covariance(exact, x_t[2:3], t[2])  # one time for all
    torch.testing.assert_close(one, expected[2:3], rtol=1e-6, atol=1e-9)


def test_estimated_variance_is_unbiased():
    exact, x_t, t = mixture(VP()), draw(1, 4), torch.tensor(0.3, dtype=torch.float64)
    copies = x_t.expand(4000, 4)
    estimates = estimated_variance(exact, copies, t, projections=1, seed=0)
    error = estimates.mean(0) - variance(exact, x_t, t)[0]
    assert bool((error.abs() <= 3 * estimates.std(0) / 4000**0.5).all())  # 3 SE
    assert bool((estimates.std(0) > 1e-3).all())  # there is an error to bound
    spread = estimated_variance(exact, copies, t, projections=4, seed=0).var(0) / estimates.var(0)
    # falls as 1 / projections; a ratio of two variances of 4000 draws is good to about 0.02
    torch.testing.assert_close(spread, torch.full_like(spread, 0.25), rtol=0, atol=0.06)


def test_an_estimate_depends_on_seed_and_id_only():
    exact, x_t, t = mixture(VP()), draw(6, 4), torch.tensor(0.3, dtype=torch.float64)
    ids = torch.tensor([7, 1, 5, 0, 2, 9])

    def estimate(rows: list[int], seed: int = 0) -> Tensor:
        return estimated_variance(exact, x_t[rows], t, projections=2, seed=seed, ids=ids[rows])

    together = estimate([0, 1, 2, 3, 4, 5])
    torch.testing.assert_close(estimate([4, 2]), together[[4, 2]], rtol=1e-12, atol=1e-12)
    assert not torch.allclose(estimate([0, 1, 2, 3, 4, 5], seed=1), together)


def test_an_image_network_with_attention():
    torch.manual_seed(0)
    network = UNet(channels=1, size=(4, 4), width=8, multipliers=(1,), blocks=1, attention=(4,), fold=0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    denoiser, x_t, t = NetworkDenoiser(network, EDM()), draw(2, 1, 4, 4).float(), torch.tensor(0.3)
    full = covariance(denoiser, x_t, t, chunk=5)
    assert full.shape == (2, 16, 16)
    torch.testing.assert_close(full, full.mT)  # which the Jacobian of this network is not
    torch.testing.assert_close(variance(denoiser, x_t, t).flatten(1), full.diagonal(dim1=1, dim2=2))
    # against central differences of D in direction e, in the symmetric quadratic form
    e = draw(2, 1, 4, 4, seed=3).float()
    step = 1e-2
    slope = (denoiser(x_t + step * e, t).mean - denoiser(x_t - step * e, t).mean) / (2 * step)
    alpha, sigma = denoiser.schedule(t)
    expected = (sigma**2 / alpha) * (slope * e).flatten(1).sum(1)
    flat = e.flatten(1)
    torch.testing.assert_close(torch.einsum("bi,bij,bj->b", flat, full, flat), expected, rtol=2e-3, atol=1e-5)
