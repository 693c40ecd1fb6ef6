import math

import pytest
import torch

from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.errors import UserError
from diffusion_lit.likelihood import MMSENLL, GaussianPrior, LogisticLaw, LogSNRLaw, UniformLaw
from diffusion_lit.noise import EDM, VP, Schedule, SubVP

from .exact import gaussian, ring

every_law = pytest.mark.parametrize("law", [UniformLaw(), LogisticLaw(), LogisticLaw(1.0, 3.0)])


@pytest.mark.parametrize("schedule", [SubVP(), EDM()], ids=["subvp", "edm"])
@pytest.mark.parametrize(("data", "variance"), [(ring, 2.04), (gaussian, 0.9)])
@pytest.mark.parametrize("law", [UniformLaw(), LogisticLaw()], ids=["uniform", "logistic"])
def test_it_is_the_negative_log_likelihood(data, variance: float, schedule: Schedule, law: LogSNRLaw):
    exact = data(schedule)
    x = exact.sample(256, seed=1)
    estimate = MMSENLL(32, law, prior=GaussianPrior(exact.means.mean(0), variance))(exact, x)
    error = estimate.nats + exact.log_prob(x)
    assert abs(error.mean().item()) <= 3 * (error.std() / 16).item() + 1e-3  # 3 SE, and the Gaussian ends
    # the standard errors are true: the mean of 256 squared errors, each in its own SE, of 32 draws with heavy tails
    assert (error / estimate.standard_error).square().mean().sqrt().item() == pytest.approx(1, abs=0.35)


def test_pointwise_and_in_the_limit():
    """Many draws: the identity holds for each x, not only in the mean."""
    exact = gaussian(VP())
    x = exact.sample(4, seed=2)
    estimate = MMSENLL(100, prior=GaussianPrior(exact.means[0], 0.9))(exact, x)
    error = (estimate.nats + exact.log_prob(x)).abs()
    assert bool((error <= 3 * estimate.standard_error + 1e-3).all())  # 3 SE, and the Gaussian ends
    assert bool((estimate.standard_error < 0.4).all())


def test_the_early_end_is_corrected_to_first_order():
    """White data stopped at gamma = 8.5: what the end lacks is 1 / (2 gamma) = 0.059 a dimension to first order."""
    exact, t_min = GaussianDenoiser(torch.zeros(4), torch.ones(()), VP()), 0.1
    x = exact.sample(2000, seed=1)
    error = MMSENLL(8, t_min=t_min, prior=GaussianPrior(0.0, 1.0))(exact, x).nats + exact.log_prob(x)
    gamma = VP().log_snr(torch.tensor(t_min, dtype=torch.float64)).exp().item()
    # 3 SE, and what first order leaves, (log(1 + 1 / gamma) - 1 / (1 + gamma)) / 2 in each of 4 dimensions
    left = 2 * (math.log1p(1 / gamma) - 1 / (1 + gamma))
    assert abs(error.mean().item()) <= 3 * error.std().item() / 2000**0.5 + left
    assert 3 * error.std().item() / 2000**0.5 + left < 2 / gamma / 2  # the correction would be missed


@every_law
def test_the_laws_are_laws(law: LogSNRLaw):
    u = torch.linspace(0.001, 0.999, 9, dtype=torch.float64)
    _, density = law(u, -7.0, 9.0)
    slope = torch.func.jvp(lambda u: law(u, -7.0, 9.0)[0], (u,), (torch.ones_like(u),))[1]
    torch.testing.assert_close(density, 1 / slope)  # the density of a quantile function
    ends = law(torch.tensor([1e-9, 1 - 1e-9], dtype=torch.float64), -7.0, 9.0)[0]
    torch.testing.assert_close(ends, torch.tensor([-7.0, 9.0], dtype=torch.float64), rtol=0, atol=1e-5)


def test_a_wrong_denoiser_gives_a_bound():
    right, wrong = ring(VP()), gaussian(VP())
    x = right.sample(256, seed=1)
    wrong.means, wrong.eigenvectors, wrong.eigenvalues = torch.zeros(1, 2), torch.empty(0), torch.full((1, 2), 2.04)
    gap = MMSENLL(32, prior=GaussianPrior(0.0, 2.04))(wrong.double(), x).nats.mean() + right.log_prob(x).mean()
    # N(0, 2.04 I) has cross entropy log(2 pi 2.04) + 1 = 3.55 with the ring, whose entropy is 1.70
    assert gap.item() == pytest.approx(3.551 - 1.697, abs=0.15)


def test_a_sample_depends_on_seed_and_id_only():
    exact = ring(VP())
    x, ids = exact.sample(6, seed=1), torch.tensor([7, 1, 5, 0, 2, 9])
    together = MMSENLL(4)(exact, x, seed=4, ids=ids).nats
    torch.testing.assert_close(
        MMSENLL(4)(exact, x[[4, 2]], 4, ids[[4, 2]]).nats, together[[4, 2]], rtol=1e-10, atol=1e-10
    )
    assert not torch.allclose(MMSENLL(4)(exact, x, 5, ids).nats, together)


def test_one_draw_has_no_standard_error():
    with pytest.raises(UserError, match="draws: 1"):
        MMSENLL(1)
