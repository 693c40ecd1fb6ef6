"""The kernel distance is the unbiased one, and features gather over processes."""

import pytest
import torch

from diffusion_lit.errors import UserError
from diffusion_lit.metrics.kernel import Features, kernel_distance


def test_against_a_plain_double_sum():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(4, 3, generator=generator), torch.randn(5, 3, generator=generator)

    def k(a, b):
        return (float(a.double() @ b.double()) / 3 + 1) ** 3

    xx = sum(k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j) / 12
    yy = sum(k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j) / 20
    xy = sum(k(a, b) for a in x for b in y) / 20
    assert kernel_distance(x, y) == pytest.approx(xx + yy - 2 * xy, rel=1e-9)


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
