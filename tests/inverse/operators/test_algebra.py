"""A after B, multiples, stacks: what they are, and what they say when they do not fit."""

import pytest
import torch
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.inverse import GaussianNoise, LinearOperator, Measurement, Operator
from diffusion_lit.inverse.operators import operators, stack

SHAPE = (1, 6, 4)
X = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def pool() -> LinearOperator:
    return operators["average_pool"](shape=SHAPE, factor=2)


def test_composition() -> None:
    blur, mask = operators["motion_blur"](shape=SHAPE, length=2, angle=0), operators["inpaint_half"](shape=SHAPE)
    both = mask @ blur
    assert isinstance(both, LinearOperator)
    assert torch.equal(both.observed, mask.observed)
    assert both.hidden is None  # blur brings what is hidden into the measured pixels
    torch.testing.assert_close(both(X), mask(blur(X)))
    torch.testing.assert_close(both.matrix(), mask.matrix() @ blur.matrix())
    assert both.name == "Inpainting @ CircularConvolution"
    clipped = operators["hdr"](shape=SHAPE) @ blur
    assert not isinstance(clipped, LinearOperator)
    torch.testing.assert_close(clipped(X), (2 * blur(X)).clamp(-1, 1))
    assert isinstance((pool() @ (2 * blur)) @ operators["identity"](shape=SHAPE), LinearOperator)


def test_multiples() -> None:
    mask = operators["inpaint_half"](shape=SHAPE)
    for twice in (2 * mask, mask * 2, 2.0 * mask):
        assert isinstance(twice, LinearOperator)
        torch.testing.assert_close(twice(X), 2 * mask(X))
        torch.testing.assert_close(twice.pinv(twice(X)), mask(X))
        assert torch.equal(twice.hidden, mask.hidden)
        assert float(twice.svd().s.max()) == 2
    assert not isinstance(2 * operators["hdr"](shape=SHAPE), LinearOperator)


def test_a_stack_of_operators_is_measured_as_one_vector() -> None:
    mask = operators["inpaint_half"](shape=SHAPE, side="top")
    both = stack(pool(), mask)
    y = both(X)
    assert y.shape == (3, 6 + 24)
    parts = both.split(y)
    torch.testing.assert_close(parts[0], pool()(X))
    torch.testing.assert_close(parts[1], mask(X))
    assert both.y_size == 6 + 12
    assert both.hidden is None
    torch.testing.assert_close(both.matrix(), torch.cat((pool().matrix(), mask.matrix())))
    other = operators["inpaint_half"](shape=SHAPE, side="left")
    assert torch.equal(stack(mask, other).hidden, mask.hidden & other.hidden)
    measurement = Measurement.simulate(both, GaussianNoise(0.1), X, seed=1)
    separate = Measurement(both.split(measurement.y)[0], pool(), GaussianNoise(0.1)).log_likelihood(X)
    separate = separate + Measurement(both.split(measurement.y)[1], mask, GaussianNoise(0.1)).log_likelihood(X)
    torch.testing.assert_close(measurement.log_likelihood(X), separate)
    assert not isinstance(stack(pool(), operators["hdr"](shape=SHAPE)), LinearOperator)


class Broken(Operator):
    def __init__(self) -> None:
        super().__init__(SHAPE, SHAPE)

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, 99]


class Crooked(Broken):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, 1:]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: operators["identity"](shape=SHAPE) @ pool(), r"Separable gives \(1, 3, 2\).*takes \(1, 6, 4\)"),
        (lambda: 0 * pool(), "0 .* Separable"),
        (lambda: float("nan") * pool(), "finite"),
        (lambda: stack(pool(), operators["identity"](shape=(1, 6, 6))), "all of the same x"),
        (lambda: stack(), "at least one"),
        (lambda: Broken()(X), r"Broken raised IndexError for x of shape \(3, 1, 6, 4\)"),
        (lambda: (2 * Broken())(X), "Broken raised IndexError"),
        (lambda: Crooked()(X), r"Crooked returned shape \(3, 1, 5, 4\).*expected \(3, 1, 6, 4\)"),
    ],
)
def test_bad_input(make, words: str) -> None:
    with pytest.raises(UserError, match=words):
        make()


def test_other_things_are_no_operators() -> None:
    for make in (lambda: pool() @ X, lambda: pool() * "2"):
        with pytest.raises(TypeError):
            make()
