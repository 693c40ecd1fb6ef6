"""Two classes, each a mixture of Gaussians: the conditional score is known, and so is p(c | x_t)."""

import pytest
import torch
from torch import Tensor

from diffusion_lit.analytic import GaussianMixtureDenoiser
from diffusion_lit.conditional import ClassifierFree, ClassifierGuided
from diffusion_lit.denoise import Denoiser, Posterior
from diffusion_lit.noise import EDM, VP, Schedule
from diffusion_lit.samplers import Heun

MEANS = torch.tensor([[-2.0, 0.0], [-1.0, 1.5], [1.0, -1.0], [2.0, 1.0]], dtype=torch.float64)
WEIGHTS = torch.tensor([0.3, 0.1, 0.4, 0.2], dtype=torch.float64)  # the first two are class 0, the others class 1
VARIANCES = torch.tensor([0.3, 0.1, 0.5, 0.2], dtype=torch.float64)
NONE = 2


class TwoClasses(Denoiser):
    """The exact denoiser given a label; NONE is the mixture of both classes."""

    def __init__(self, schedule: Schedule):
        super().__init__(schedule)
        parts = (slice(0, 2), slice(2, 4), slice(0, 4))
        self.of = [GaussianMixtureDenoiser(WEIGHTS[p], MEANS[p], VARIANCES[p], schedule) for p in parts]

    def forward(self, x_t: Tensor, t: Tensor, label: Tensor) -> Posterior:
        means = torch.stack([one(x_t, t).mean for one in self.of])
        return Posterior(means[label, torch.arange(len(x_t))])

    def log_likelihood(self, x_t: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """log p(c | x_t) = log p(x_t | c) + log p(c) - log p(x_t)."""
        given = torch.stack([one.log_density(x_t, t) for one in self.of])
        share = torch.stack((WEIGHTS[:2].sum(), WEIGHTS[2:].sum())).log()
        return given[label, torch.arange(len(x_t))] + share[label] - given[NONE]


@pytest.fixture(params=[VP(), EDM()], ids=["vp", "edm"])
def both(request) -> TwoClasses:
    return TwoClasses(request.param)


@pytest.fixture
def points(both) -> tuple[Tensor, Tensor, Tensor]:
    t = torch.linspace(0.05, 0.95, 12, dtype=torch.float64)
    alpha, sigma = both.schedule(t)
    noise = torch.randn(12, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x_t = alpha[:, None] * MEANS.repeat(3, 1) + (0.5 * alpha**2 + sigma**2).sqrt()[:, None] * noise
    return x_t, t, torch.arange(12) % 2


def test_the_unconditional_score_and_the_classifiers_gradient_are_the_conditional_score(both, points):
    x_t, t, label = points
    guided = ClassifierGuided(both.of[NONE], both.log_likelihood)
    torch.testing.assert_close(guided.score(x_t, t, label=label), both.score(x_t, t, label=label), rtol=1e-6, atol=1e-6)
    with torch.inference_mode():  # as in an evaluation
        inside = guided(x_t, t, label=label).mean
    torch.testing.assert_close(inside, both(x_t, t, label=label).mean, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("w", [-1.0, 0.0, 0.7, 3.0])
def test_classifier_free_guidance_is_classifier_guidance_of_scale_one_and_w(both, points, w):
    x_t, t, label = points
    free = ClassifierFree(both, w, {"label": NONE})
    guided = ClassifierGuided(both.of[NONE], both.log_likelihood, scale=1 + w)
    torch.testing.assert_close(free(x_t, t, label=label).mean, guided(x_t, t, label=label).mean, rtol=1e-6, atol=1e-6)
    # the paper's form: eps~ = (1 + w) eps_c - w eps
    eps = (1 + w) * both.eps(x_t, t, label=label) - w * both.eps(x_t, t, label=torch.full_like(label, NONE))
    torch.testing.assert_close(free.eps(x_t, t, label=label), eps, rtol=1e-6, atol=1e-6)


def test_samples_are_of_their_class_and_more_so_with_guidance():
    both = TwoClasses(VP())
    label = torch.arange(400) % 2
    found = {}
    for w in (0.0, 3.0):
        x = Heun(24)(ClassifierFree(both, w, {"label": NONE}), (400, 2), seed=0, label=label).double()
        found[w] = both.log_likelihood(x, torch.tensor(1e-3), label).exp()
    exact = torch.cat([both.of[c].sample(20_000, seed=1) for c in (0, 1)])
    own = both.log_likelihood(exact, torch.tensor(1e-3), torch.arange(2).repeat_interleave(20_000)).exp()
    # p(c | x) averaged over p(x | c): 3 standard errors of 400 samples
    assert abs(found[0.0].mean() - own.mean()) < 3 * own.std() / 400**0.5
    assert found[3.0].mean() > found[0.0].mean()
