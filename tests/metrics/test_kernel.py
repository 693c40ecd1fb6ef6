"""The kernel distances are the unbiased ones, and features gather over processes."""

import math

import pytest
import torch

from diffusion_lit.errors import UserError
from diffusion_lit.metrics import kernel
from diffusion_lit.metrics.kernel import Features, kernel_distance, median_bandwidth, mmd


def test_against_a_plain_double_sum():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(4, 3, generator=generator), torch.randn(5, 3, generator=generator)

    def k(a, b):
        return (float(a.double() @ b.double()) / 3 + 1) ** 3

    xx = sum(k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j) / 12
    yy = sum(k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j) / 20
    xy = sum(k(a, b) for a in x for b in y) / 20
    assert kernel_distance(x, y) == pytest.approx(xx + yy - 2 * xy, rel=1e-9)


def test_blocks_of_rows_change_nothing_but_the_rounding(monkeypatch):
    x, y = torch.randn(2, 30, 4, generator=torch.Generator().manual_seed(0))
    whole = kernel_distance(x, y)
    monkeypatch.setattr(kernel, "_PAIRS", 7 * 30)
    assert kernel_distance(x, y) == pytest.approx(whole, rel=1e-12)


def test_it_is_unbiased_at_zero_and_positive_for_a_shift():
    generator = torch.Generator().manual_seed(0)
    same = torch.tensor(
        [kernel_distance(*torch.randn(2, 20, 4, generator=generator)) for _ in range(400)], dtype=torch.float64
    )
    assert abs(same.mean()) < 4 * same.std() / 20
    assert same.min() < 0 < same.max()
    x, y = torch.randn(2, 200, 4, generator=generator)
    assert kernel_distance(x, y + 1) > 10 * same.std()


def test_features_gather_over_processes_and_order_does_not_matter():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 30, 4, generator=generator)
    mine = Features(dist_sync_fn=lambda state, group: [x[20:], state], distributed_available_fn=lambda: True)
    mine.update(x[:5])
    mine.update(x[5:20])
    gathered = mine.compute()
    torch.testing.assert_close(gathered, torch.cat([x[20:], x[:20]]))
    assert kernel_distance(gathered, y) == pytest.approx(kernel_distance(x, y), rel=1e-9)


def test_too_few_are_refused():
    with pytest.raises(UserError, match="1 and 3 images"):
        kernel_distance(torch.zeros(1, 2), torch.zeros(3, 2))


def normals(n: int, d: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = torch.randn(2, n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x, y


def test_mmd_of_two_gaussians_in_closed_form():
    """E k(x, y) = (b^2 / (b^2 + 2))^(d/2) exp(-|m|^2 / (2 (b^2 + 2))) for two N(., I) that are m apart."""
    x, y = normals(500, 3, 0)
    shift, b = torch.tensor([0.8, 0.0, 0.6], dtype=torch.float64), 1.5
    found = mmd(x, y + shift, bandwidth=b)
    near = (b**2 / (b**2 + 2)) ** 1.5
    expected = 2 * near * (1 - math.exp(-1 / (2 * (b**2 + 2))))
    assert found.value == pytest.approx(expected, abs=4 * found.standard_error)
    assert found.value > 4 * found.standard_error


@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_mmd_is_unbiased_and_its_error_is_that_of_repetitions(shift):
    found = [mmd(x, y + shift, bandwidth=2.0) for x, y in (normals(60, 2, seed) for seed in range(150))]
    values, said = torch.tensor(found, dtype=torch.float64).unbind(1)
    expected = 2 * (4 / 6) * (1 - math.exp(-2 * shift**2 / 12))
    assert values.mean().item() == pytest.approx(expected, abs=4 * values.std().item() / 150**0.5)
    assert 0.75 < float(said.mean() / values.std()) < 1.3  # a deviation of 150 values is known to 6 to 10 %


def test_the_median_distance_is_the_default():
    x, y = normals(50, 2, 0)
    b = median_bandwidth(x, y)
    pairs = torch.cdist(z := torch.cat((x, y)), z)[*torch.triu_indices(100, 100, 1)]
    assert b == pytest.approx(float(pairs.median()))
    assert mmd(x, y) == mmd(x, y, bandwidth=b)
    assert mmd(10 * x, 10 * y).value == pytest.approx(mmd(x, y).value)
    with pytest.raises(ValueError, match=r"y \(49, 2\)"):
        mmd(x, y[1:])
