"""Operators from functions: shapes are found, A^T derived, and lies found out."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from diffusion_lit.errors import UserError
from diffusion_lit.inverse import LinearOperator, Operator
from diffusion_lit.inverse.operators import check_adjoint, check_linear

SHAPE = (2, 4, 3)
WEIGHT = torch.randn(3, 2, 3, 3, generator=torch.Generator().manual_seed(0))
X = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def convolution(x: Tensor) -> Tensor:
    return functional.conv2d(x, WEIGHT, padding=1)


def test_shape_transpose_and_pseudo_inverse_are_found() -> None:
    operator = LinearOperator.from_function(lambda x: x.mean(1).diff(dim=-1), SHAPE)
    assert operator.y_shape == (4, 2)
    a = operator.matrix()
    torch.testing.assert_close(
        operator.transpose(operator(X)), (operator(X).flatten(1) @ a).reshape(X.shape), atol=1e-12, rtol=1e-12
    )
    torch.testing.assert_close(operator.pinv(operator(X)).flatten(1), X.flatten(1) @ (torch.linalg.pinv(a) @ a).mT)


def test_functions_of_one_precision_are_called_in_it() -> None:
    for weight in (WEIGHT, WEIGHT.double()):
        operator = LinearOperator.from_function(lambda x, w=weight: functional.conv2d(x, w), SHAPE)
        assert operator.dtypes == [weight.dtype]
        for dtype in (torch.float32, torch.float64):
            x = X.to(dtype)
            assert operator(x).dtype == operator.transpose(operator(x)).dtype == dtype
            torch.testing.assert_close(operator(x), functional.conv2d(x, WEIGHT.to(dtype)), atol=1e-5, rtol=1e-5)


def test_a_transpose_that_is_given_is_checked_and_used() -> None:
    calls = []

    def back(y: Tensor) -> Tensor:
        calls.append(len(y))
        return functional.conv_transpose2d(y, WEIGHT.to(y), padding=1)

    operator = LinearOperator.from_function(lambda x: functional.conv2d(x, WEIGHT.to(x), padding=1), SHAPE, back)
    assert calls
    derived = LinearOperator.from_function(convolution, SHAPE)
    y = operator(X)
    torch.testing.assert_close(operator.transpose(y), derived.transpose(y), atol=1e-5, rtol=1e-5)


def test_any_function_is_an_operator() -> None:
    operator = Operator.from_function(lambda x: x.abs().amax((2, 3)), SHAPE)
    assert not isinstance(operator, LinearOperator)
    assert operator.y_shape == (2,)
    torch.testing.assert_close(operator(X), X.abs().amax((2, 3)))


def breaks(x: Tensor) -> Tensor:
    raise RuntimeError("the scanner is off")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LinearOperator.from_function(lambda x: x + 1, SHAPE), "is not linear: .* differ by .*norm"),
        (lambda: LinearOperator.from_function(torch.sigmoid, SHAPE), "'sigmoid' is not linear"),
        (lambda: LinearOperator.from_function(lambda x: x * torch.rand(()), SHAPE), "not linear"),
        (lambda: LinearOperator.from_function(lambda x: x * torch.nan, SHAPE), "not linear"),
        (lambda: LinearOperator.from_function(breaks, SHAPE), "'breaks' raised RuntimeError .*the scanner is off"),
        (lambda: Operator.from_function(breaks, SHAPE), "'breaks' raised RuntimeError"),
        (lambda: Operator.from_function(lambda x: x.sum(0), SHAPE), r"returned shape \(2, 4, 3\).*batch first"),
        (lambda: Operator.from_function(lambda x: x > 0, SHAPE), "bool.*real numbers"),
        (lambda: Operator.from_function(lambda x: 3, SHAPE), "returned int"),
        (
            lambda: LinearOperator.from_function(lambda x: 2 * x, SHAPE, transpose=lambda y: 3 * y),
            "A\\^T is not the transpose of its A: <A x, y> = .*, but <x, A\\^T y> = ",
        ),
        (lambda: LinearOperator.from_function(lambda x: x, SHAPE, transpose=lambda y: y[:, :1]), "A\\^T y has shape"),
        (lambda: check_linear(Operator.from_function(torch.relu, SHAPE)), "not linear"),
    ],
)
def test_bad_input(make, words: str) -> None:
    with pytest.raises(UserError, match=words):
        make()


class Lying(LinearOperator):
    """A difference whose given A^T forgets the sign."""

    def __init__(self) -> None:
        super().__init__((5,), (4,))

    def forward(self, x: Tensor) -> Tensor:
        return x.diff(dim=1)

    def transpose(self, y: Tensor) -> Tensor:
        return functional.pad(y, (0, 1)) + functional.pad(y, (1, 0))


def test_a_wrong_transpose_of_a_class_is_found() -> None:
    with pytest.raises(UserError, match="Lying: its A\\^T is not the transpose"):
        check_adjoint(Lying())


def test_an_error_at_use_names_the_function() -> None:
    def only_three(x: Tensor) -> Tensor:
        if len(x) != 3:
            raise ValueError("I take three")
        return x

    operator = Operator.from_function(only_three, SHAPE)
    with pytest.raises(UserError, match=r"operator 'only_three' raised ValueError.*I take three"):
        operator(X)
