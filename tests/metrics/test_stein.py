"""The Stein kernel against autograd and its mean in closed form; both statistics."""

import pytest
import torch

from diffusion_lit.metrics.stein import stein_discrepancy
from diffusion_lit.randomness import Randomness


def normal(count: int, size: int = 2, seed: int = 0) -> torch.Tensor:
    return Randomness(seed, torch.arange(count)).normal(size, dtype=torch.float64)


def test_the_kernel_is_the_definition():
    x, s, c, beta = normal(5, 3), normal(5, 3, seed=1), 0.7, -0.4

    def k(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (c**2 + (a - b).square().sum()) ** beta

    found = stein_discrepancy(x, s, c=c, beta=beta).kernel
    for i in range(5):
        for j in range(5):
            of_x, of_y = torch.autograd.functional.jacobian(k, (x[i], x[j]))
            hessian = torch.autograd.functional.hessian(k, (x[i], x[j]))[0][1]
            expected = s[i] @ s[j] * k(x[i], x[j]) + s[i] @ of_y + s[j] @ of_x + hessian.trace()
            torch.testing.assert_close(found[i, j], expected, atol=1e-12, rtol=1e-9)


def test_it_is_zero_in_the_mean_for_the_right_law_and_its_error_is_known():
    many = [stein_discrepancy(x := normal(60, seed=seed), -x) for seed in range(200)]
    values = torch.tensor([one.u_statistic for one in many])
    assert abs(values.mean()) < 4 * values.std() / 200**0.5
    said = torch.tensor([one.standard_error for one in many]).mean()
    assert 0.7 < said / values.std() < 1.4  # a deviation of 200 heavy-tailed values is known to about 10 %


@pytest.mark.parametrize("shift", [0.3, 0.6])
def test_a_shift_in_one_dimension_in_closed_form(shift):
    """x ~ N(m, 1), score of N(0, 1): s_p - s_q = -m everywhere, so that E u_p = m^2 E k(x, y)."""
    x = shift + normal(1500, 1)
    found = stein_discrepancy(x, -x)
    gap = torch.linspace(-9, 9, 4001, dtype=torch.float64) * 2**0.5  # x - y ~ N(0, 2)
    density = torch.softmax(-gap.square() / 4, 0)
    expected = shift**2 * (density / (1 + gap.square()).sqrt()).sum().item()
    assert found.u_statistic == pytest.approx(expected, abs=4 * found.standard_error)
    assert found.u_statistic > 4 * found.standard_error


def test_score_ksd_is_not_least_for_exact_samples():
    x = normal(500, 4)
    exact = stein_discrepancy(x, -x)
    # sqrt(E u_p(x, x) / (N d)), u_p(x, x) = |x|^2 + d: sqrt(2 / N), and what the pairs add
    assert exact.score_ksd == pytest.approx((2 / 500) ** 0.5, rel=0.1)
    assert exact.v_statistic == pytest.approx(4 * exact.score_ksd**2)
    wide = stein_discrepancy(1.5 * x, -1.5 * x)
    assert wide.score_ksd > 1.5 * exact.score_ksd
    few = 0.01 * x[:2]  # N points at the mode: no better than sqrt(1 / N) for one score of 0
    assert stein_discrepancy(few, -few).score_ksd == pytest.approx(1.0, rel=0.01)


def test_shapes_must_fit():
    with pytest.raises(ValueError, match=r"x \(3, 2\), score \(3, 1\)"):
        stein_discrepancy(normal(3), normal(3, 1))
