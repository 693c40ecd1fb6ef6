import math

import pytest
import torch
from torch import Tensor

from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.divergence import Exact
from diffusion_lit.errors import UserError
from diffusion_lit.likelihood import MMSENLL, DormandPrince, GaussianPrior, ProbabilityFlowNLL, VariationalBound
from diffusion_lit.noise import VP, DiscreteVP
from diffusion_lit.objectives import Continuous, FixedVariance, LearnedVariance

from .exact import ring

ENTROPY = math.log(2 * math.pi * math.e) / 2


def white(schedule: VP | DiscreteVP) -> tuple[GaussianDenoiser, Tensor]:
    """N(0, 1), and points with mean square 1: the bound's terms are quadratic in x_0."""
    exact = GaussianDenoiser(torch.zeros(1), torch.ones(()), schedule)
    return exact, torch.tensor([[-1.0], [1.0]], dtype=torch.float64).repeat(500, 1)


@pytest.mark.parametrize(("v", "expected"), [(1.0, ENTROPY), (0.0, 1.883831)], ids=["beta, tight", "beta-tilde"])
def test_ddpm_chain_on_white_data(v: float, expected: float):
    exact, x = white(DiscreteVP.linear())
    x = x.repeat(10, 1)
    bound = VariationalBound(1000, 50, FixedVariance(1000, v), Continuous())(exact, x)
    error = bound.nats.mean().item() - expected
    spread = bound.nats.std().item() / 10000**0.5
    assert abs(error) <= 3 * spread  # 3 SE
    assert spread < 0.06
    assert bound.weight == pytest.approx(19.98)


def test_every_step_once():
    exact, x = white(VP())
    bound = VariationalBound(20, None, FixedVariance(20), Continuous())(exact, x)
    torch.testing.assert_close(bound.times, ((torch.arange(19) + 2).double() / 20)[:, None].expand(19, 1000))
    total = bound.prior + bound.terms.sum(0) + bound.decoder
    torch.testing.assert_close(bound.nats, total)
    torch.testing.assert_close(bound.bits_per_dim(1), total / math.log(2))
    assert abs(bound.nats.mean().item() - ENTROPY) <= 3 * bound.nats.std().item() / 1000**0.5  # 3 SE; tight at any T
    assert bool((bound.terms >= 0).all())
    assert bool((bound.prior >= 0).all())


def test_a_draw_of_steps_estimates_the_sum():
    exact = ring(VP())
    x = exact.sample(1, seed=3).expand(600, 2)
    whole = VariationalBound(60, None, FixedVariance(60), Continuous())(exact, x)
    drawn = VariationalBound(60, 12, FixedVariance(60), Continuous())(exact, x, seed=1)
    se = (whole.nats.var() / 600 + drawn.nats.var() / 600).sqrt()
    assert abs((whole.nats.mean() - drawn.nats.mean()).item()) <= 3 * se.item()  # 3 SE
    inner = drawn.weight * drawn.terms.sum(0)
    # the root mean square of the claimed errors against the true spread; both are known to some 5 %
    assert drawn.standard_error.square().mean().sqrt().item() == pytest.approx(inner.std().item(), rel=0.25)


def test_the_three_estimators_agree():
    """On the ring the flow and I-MMSE are exact, and the bound of a long chain with the exact variance nearly so."""
    exact = ring(VP())
    x = exact.sample(1000, seed=1)
    prior = GaussianPrior(0.0, 2.04)
    flow = ProbabilityFlowNLL(Exact(None), DormandPrince(), prior=prior)(exact, x)
    torch.testing.assert_close(flow, -exact.log_prob(x), rtol=0, atol=1e-3)
    mmse = MMSENLL(32, prior=prior)(exact, x).nats - flow
    bound = VariationalBound(100, None, LearnedVariance(), Continuous())(exact, x).nats - flow
    assert abs(mmse.mean().item()) <= 3 * mmse.std().item() / 1000**0.5  # 3 SE
    # 3 SE, and the looseness of 100 steps, which goes as 1 / T: 0.09 +- 0.02 was measured at 50 steps
    assert -3 * bound.std().item() / 1000**0.5 <= bound.mean().item() <= 3 * bound.std().item() / 1000**0.5 + 0.09 / 2
    assert bound.std().item() / 1000**0.5 < 0.06  # about 0.05, against an entropy of 1.70


def test_a_sample_depends_on_seed_and_id_only():
    exact = ring(VP())
    x, ids = exact.sample(6, seed=1), torch.tensor([7, 1, 5, 0, 2, 9])
    bound = VariationalBound(10, 3, FixedVariance(10), Continuous())
    together = bound(exact, x, seed=4, ids=ids).nats
    torch.testing.assert_close(bound(exact, x[[4, 2]], 4, ids[[4, 2]]).nats, together[[4, 2]], rtol=1e-9, atol=1e-9)
    assert not torch.allclose(bound(exact, x, 5, ids).nats, together)


@pytest.mark.parametrize("draws", [1, 10])
def test_draws_are_among_the_inner_steps(draws: int):
    with pytest.raises(UserError, match=f"draws: {draws} is not between 2 and 9"):
        VariationalBound(10, draws)
