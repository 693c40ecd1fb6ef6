"""The machine against automatic differentiation and against the mixture that it is."""

import itertools

import torch
from torch import nn

from diffusion_lit.divergence import Exact
from diffusion_lit.networks.rbm import GaussianBernoulliRBM
from diffusion_lit.objectives.implicit import hyvarinen


def machine() -> GaussianBernoulliRBM:
    torch.manual_seed(0)
    rbm = GaussianBernoulliRBM(features=4, hidden=3, scale=1.0).double()
    nn.init.normal_(rbm.visible_bias)
    nn.init.normal_(rbm.hidden_bias)
    return rbm


def test_the_score_is_the_gradient_of_the_energy():
    rbm, x = machine(), torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(rbm(x).sum(), x)
    torch.testing.assert_close(rbm.score(x), -gradient)


def test_the_closed_form_is_implicit_score_matching():
    rbm, x = machine(), torch.randn(5, 4, dtype=torch.float64)
    closed, general = rbm.implicit_loss(x), hyvarinen(rbm.score, x, Exact())
    torch.testing.assert_close(closed, general)
    for a, b in zip(*(torch.autograd.grad(loss.sum(), list(rbm.parameters())) for loss in (closed, general))):
        torch.testing.assert_close(a, b)


def test_the_energy_is_that_of_a_mixture_of_gaussians():
    """exp(-E) summed over hidden patterns: means a + W^T h of unit covariance."""
    rbm, x = machine(), torch.randn(5, 4, dtype=torch.float64)
    patterns = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)), dtype=torch.float64)
    joint = -(x - rbm.visible_bias).square().sum(1, keepdim=True) / 2 + rbm._input(x) @ patterns.mT
    torch.testing.assert_close(-rbm(x), joint.logsumexp(1))
