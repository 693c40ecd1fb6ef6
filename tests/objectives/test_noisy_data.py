"""Scores of noisy data, without clean ones: AR-DAE is denoising score matching with a little further noise.

Lim et al. 2020 minimise E |u + sigma_a l(y + sigma_a u)|^2 for the score l of y's law, sigma_a from 0.1 to 0.001; in
the terms here, the error of eps over VE(0.001, 0.1) on data y. Noise2Score (Kim & Ye 2021) puts l at the least sigma_a
into Tweedie's formula.
"""

import torch

from diffusion_lit.analytic import GaussianMixtureDenoiser
from diffusion_lit.noise import VE
from diffusion_lit.objectives import DenoisingScoreMatching, EpsWeighting, Ladder
from diffusion_lit.randomness import Randomness, weyl

LADDER = VE(1e-3, 0.1)
LOWEST = torch.tensor(1e-12, dtype=torch.float64)
NOISE = 0.5  # standard deviation of y given x
WEIGHTS, MEANS, VARIANCES = torch.tensor([0.3, 0.7]), torch.tensor([[-1.0], [1.5]]), torch.tensor([0.2, 0.5])


def law_of_y(schedule: VE) -> GaussianMixtureDenoiser:
    return GaussianMixtureDenoiser(WEIGHTS, MEANS, VARIANCES.double() + NOISE**2, schedule)


Y = torch.linspace(-3, 4, 15, dtype=torch.float64)[:, None]


def test_ar_dae_is_denoising_score_matching():
    denoiser, y, positions = law_of_y(LADDER), Y, torch.arange(len(Y))
    loss = DenoisingScoreMatching(EpsWeighting(), Ladder(10))(denoiser, y, seed=0, positions=positions)
    t = Ladder(10)(weyl(0, positions), LADDER)
    sigma = LADDER(t)[1][:, None]
    u = Randomness(0, positions).normal(1, dtype=torch.float64)
    torch.testing.assert_close(loss, (u + sigma * denoiser.score(y + sigma * u, t)).square()[:, 0])


def test_the_score_at_the_lowest_level_is_that_of_the_noisy_data():
    """To the second order in sigma_a."""
    y = Y.clone().requires_grad_()
    (exact,) = torch.autograd.grad(law_of_y(LADDER).log_prob(y).sum(), y)
    errors = []
    for sigma_a in (2e-3, 1e-3):
        found = law_of_y(VE(sigma_a, 0.1)).score(Y, LOWEST)
        errors.append((found - exact).abs().max().item())
    assert errors[1] < 1e-4
    assert 3.5 < errors[0] / errors[1] < 4.5


def test_noise_to_score_gives_the_posterior_mean_of_the_clean_data():
    """x = y + s^2 l(y), against the exact denoiser of the clean mixture in that noise."""
    found = Y + NOISE**2 * law_of_y(LADDER).score(Y, LOWEST)
    clean = GaussianMixtureDenoiser(WEIGHTS, MEANS, VARIANCES, VE(NOISE, 1.0))
    torch.testing.assert_close(found, clean(Y, LOWEST).mean, rtol=0, atol=1e-5)
