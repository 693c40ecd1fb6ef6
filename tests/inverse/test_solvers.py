"""Conjugate gradients: the solution, and a word where there is none."""

import math
import warnings

import pytest
import torch
from torch import Tensor

from diffusion_lit.inverse import LinearOperator
from diffusion_lit.inverse.solvers import conjugate_gradient

VALUES = torch.logspace(0, -5, 40, dtype=torch.float64)
B = torch.randn(3, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def diagonal(x: Tensor) -> Tensor:
    return VALUES * x


def test_a_solution_is_one_and_says_nothing() -> None:
    torch.testing.assert_close(conjugate_gradient(diagonal, B), B / VALUES, rtol=1e-8, atol=0)
    assert not conjugate_gradient(diagonal, torch.zeros_like(B)).any()


def test_the_limit_of_iterations_is_told_with_what_is_left() -> None:
    with pytest.warns(RuntimeWarning, match=r"residual of up to 1e[+-]\d\d \|b\|.*limit of 5 iterations.*svd") as told:
        x = conjugate_gradient(diagonal, B, iterations=5)
    left = ((diagonal(x) - B).norm(dim=1) / B.norm(dim=1)).max().item()
    assert f" {10.0 ** math.ceil(math.log10(left)):.0e} " in str(told[0].message)


def test_a_derived_pseudo_inverse_says_so_too() -> None:
    class Narrow(LinearOperator):
        """Too ill-conditioned for conjugate gradients, and without an SVD."""

        def __init__(self) -> None:
            super().__init__((400,), (400,))

        def forward(self, x: Tensor) -> Tensor:
            return torch.logspace(0, -6, 400, dtype=x.dtype) * x

        def svd(self) -> None:
            return None

    with pytest.warns(RuntimeWarning, match="limit of 500 iterations"):
        Narrow().pinv(torch.ones(1, 400, dtype=torch.float64))


def test_a_matrix_that_is_not_positive_is_told() -> None:
    sign = torch.tensor([[-1.0], [1.0], [1.0]])
    with pytest.warns(RuntimeWarning, match="not positive.*check_adjoint"):
        x = conjugate_gradient(lambda x: sign * diagonal(x), B)
    torch.testing.assert_close(x[1:], (B / VALUES)[1:], rtol=1e-8, atol=0)


def test_a_sample_that_is_not_a_number_stays_so_alone() -> None:
    b = B.clone()
    b[1, 3] = math.nan
    x = conjugate_gradient(diagonal, b)
    assert x[1].isnan().all()
    torch.testing.assert_close(x[[0, 2]], conjugate_gradient(diagonal, B)[[0, 2]])


def test_nearly_the_same_again_is_shown_once() -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        for factor in (1.0, 1.001, 1.002):
            conjugate_gradient(lambda x, factor=factor: factor * diagonal(x) + 1e-3 * x, B, iterations=5)
    assert len(told) == 1
