"""Haar folding is an exact, orthonormal change of coordinates."""

import pytest
import torch

from diffusion_lit.errors import UserError
from diffusion_lit.networks.haar import fold, unfold


@pytest.mark.parametrize("times", [0, 1, 2])
def test_fold_is_an_orthonormal_matrix_and_unfold_its_inverse(times):
    basis = torch.eye(2 * 4 * 8, dtype=torch.float64).reshape(-1, 2, 4, 8)
    folded = fold(basis, times)
    assert folded.shape[1:] == (2 * 4**times, 4 // 2**times, 8 // 2**times)
    matrix = folded.flatten(1)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(64, dtype=torch.float64))
    torch.testing.assert_close(unfold(folded, times), basis)


def test_the_first_band_is_the_local_mean_and_the_others_ignore_constants():
    x = torch.randn(3, 2, 6, 4)
    torch.testing.assert_close(fold(x)[:, :2], 2 * torch.nn.functional.avg_pool2d(x, 2))
    torch.testing.assert_close(fold(torch.ones(1, 2, 6, 4))[:, 2:], torch.zeros(1, 6, 3, 2))


def test_odd_sizes_are_refused_by_name():
    with pytest.raises(UserError, match="6 x 10 cannot be folded 2 times"):
        fold(torch.zeros(1, 1, 6, 10), 2)
