"""Conditions are left out with the probability that was asked for, and by name."""

import pytest
import torch

from diffusion_lit.denoise import Denoiser, Posterior
from diffusion_lit.errors import UserError
from diffusion_lit.noise import VP
from diffusion_lit.objectives import ConditionDropout, DenoisingScoreMatching


class Seen(Denoiser):
    """Remembers the labels it is given."""

    def forward(self, x_t, t, label):
        self.label = label
        return Posterior(x_t * label[:, None])


@pytest.fixture
def denoiser():
    return Seen(VP())


def test_the_share_is_right_and_the_rest_is_untouched(denoiser):
    n, label = 20_000, torch.arange(20_000) % 10
    objective = ConditionDropout(DenoisingScoreMatching(), {"label": 10}, probability=0.2)
    objective(denoiser, torch.zeros(n, 1), seed=0, positions=torch.arange(n), label=label)
    left_out = denoiser.label == 10
    assert abs(left_out.double().mean().item() - 0.2) < 3 * (0.2 * 0.8 / n) ** 0.5
    assert bool((denoiser.label == label)[~left_out].all())


def test_it_is_named_and_the_noise_is_that_of_the_objective(denoiser):
    plain, x, label = DenoisingScoreMatching(), torch.ones(50, 1), torch.arange(50) % 10
    objective = ConditionDropout(plain, {"label": 10}, probability=0.5)
    losses = objective(denoiser, x, seed=1, positions=torch.arange(50), label=label)
    chosen = denoiser.label
    torch.testing.assert_close(losses, plain(denoiser, x, seed=1, positions=torch.arange(50), label=chosen))
    t = torch.full((50,), 0.4)
    at = objective.loss_at(denoiser, x, t, seed=1, positions=torch.arange(50), label=label)
    torch.testing.assert_close(at, plain.loss_at(denoiser, x, t, seed=1, positions=torch.arange(50), label=chosen))
    objective(denoiser, x[7:9], seed=1, positions=torch.tensor([7, 8]), label=label[7:9])
    assert torch.equal(denoiser.label, chosen[7:9])


def test_no_probability():
    with pytest.raises(UserError, match="probability: 2"):
        ConditionDropout(DenoisingScoreMatching(), {"label": 10}, probability=2.0)
