"""Operators: adjoint, pseudo-inverse, SVD, Gram solve, matrices against independent code, and bad input."""

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from diffusion_lit.errors import UserError
from diffusion_lit.inverse import LinearOperator, Measurement
from diffusion_lit.inverse.measurement import GaussianNoise
from diffusion_lit.inverse.operators import operators

SHAPE = (2, 9, 6)  # odd, and not square


class Plain(LinearOperator):
    """A linear map that tells nothing but A: differences of neighbours along a row."""

    def __init__(self) -> None:
        super().__init__(SHAPE, (2, 9, 5))

    def forward(self, x: Tensor) -> Tensor:
        return 2 * (x[..., 1:] - x[..., :-1])


def matrix(d_y: int, d: int, rank: int) -> LinearOperator:
    generator = torch.Generator().manual_seed(3)
    left = torch.randn(d_y, rank, generator=generator, dtype=torch.float64)
    return LinearOperator.from_matrix(left @ torch.randn(rank, d, generator=generator, dtype=torch.float64))


OPERATORS = {
    "box": lambda: operators["inpaint_box"](shape=SHAPE, size=(3, 2)),
    "half": lambda: operators["inpaint_half"](shape=SHAPE),
    "random": lambda: operators["inpaint_random"](shape=SHAPE, fraction=0.4, seed=1),
    "mask": lambda: operators["inpaint_mask"](shape=SHAPE, mask=torch.eye(9, 6).bool()),
    "pool": lambda: operators["average_pool"](shape=SHAPE, factor=3),
    "bicubic": lambda: operators["bicubic"](shape=SHAPE, factor=3),
    "blur": lambda: operators["gaussian_blur"](shape=SHAPE, sigma=0.8),
    "wide": lambda: matrix(3, 7, 3),
    "tall": lambda: matrix(7, 3, 3),
    "deficient": lambda: matrix(5, 6, 2),
    "plain": Plain,
}


@pytest.fixture(params=OPERATORS)
def operator(request: pytest.FixtureRequest) -> LinearOperator:
    return OPERATORS[request.param]()


def normal(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)), dtype=dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_adjoint(operator: LinearOperator, dtype: torch.dtype, tolerance: float) -> None:
    x, y = normal(3, *operator.x_shape, dtype=dtype), normal(3, *operator.y_shape, dtype=dtype)
    left = (operator(x) * y).flatten(1).sum(1)
    right = (x * operator.transpose(y)).flatten(1).sum(1)
    scale = operator(x).flatten(1).norm(dim=1) * y.flatten(1).norm(dim=1)
    assert operator(x).dtype == operator.transpose(y).dtype == dtype
    assert ((left - right).abs() / scale).max() < tolerance


def test_pinv_is_moore_penrose(operator: LinearOperator) -> None:
    a = operator.matrix()
    x = normal(2, *operator.x_shape)
    seen = operator(x)
    torch.testing.assert_close(operator(operator.pinv(seen)), seen, atol=1e-8, rtol=1e-8)
    # A^+ from the matrix, on data that A cannot make
    y = operator(normal(2, *operator.x_shape)) + 0.3 * (
        normal(2, *operator.y_shape) if operator.observed is None else 0
    )
    expected = (operator.observe(y) @ torch.linalg.pinv(a).mT).reshape_as(x)
    torch.testing.assert_close(operator.pinv(y), expected, atol=1e-7, rtol=1e-6)


def test_svd_reconstructs(operator: LinearOperator) -> None:
    svd = operator.svd()
    if svd is None:
        assert isinstance(operator, Plain)
        return
    x, z = normal(2, *operator.x_shape), normal(2, len(svd.s))
    torch.testing.assert_close(svd.u(svd.s * svd.vt(x)), operator(x), atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(svd.ut(svd.u(z)), z)
    torch.testing.assert_close(svd.vt(svd.v(z)), z)


def test_gram_solve_against_dense(operator: LinearOperator) -> None:
    a = operator.matrix()
    scale, shift = torch.tensor([0.5, 2.0], dtype=torch.float64), torch.tensor([0.3, 0.01], dtype=torch.float64)
    y = normal(2, *operator.y_shape)
    y = y if operator.observed is None else torch.where(operator.observed, y, 0.0)
    system = scale[:, None, None] * (a @ a.mT) + shift[:, None, None] * torch.eye(len(a), dtype=torch.float64)
    expected = torch.linalg.solve(system, operator.observe(y))
    torch.testing.assert_close(operator.observe(operator.gram_solve(y, scale, shift)), expected, atol=1e-8, rtol=1e-7)


def test_gram_solve_without_noise_is_the_pseudo_inverse() -> None:
    for name in ("wide", "deficient", "random", "pool"):
        operator = OPERATORS[name]()
        y = operator(normal(2, *operator.x_shape))
        solved = operator.gram_solve(y, torch.tensor(1.0), torch.tensor(0.0))
        torch.testing.assert_close(operator.transpose(solved), operator.pinv(y), atol=1e-8, rtol=1e-8)


def test_matrix_has_the_measured_rows() -> None:
    operator = OPERATORS["random"]()
    assert operator.matrix().shape == (operator.y_size, 108)
    assert operator.y_size == int(operator.observed.sum()) == 108 - 2 * round(0.4 * 54)
    assert torch.equal(operator.hidden, ~operator.observed)
    assert torch.equal(operator.hidden[0], operator.hidden[1])


def test_average_pool_is_torchs() -> None:
    x = normal(2, *SHAPE)
    torch.testing.assert_close(OPERATORS["pool"]()(x), functional.avg_pool2d(x, 3))


def test_bicubic_is_torchs_inside() -> None:
    operator = operators["bicubic"](shape=(1, 32, 24), factor=4)
    x = normal(1, 1, 32, 24)
    expected = functional.interpolate(x, size=(8, 6), mode="bicubic", antialias=True, align_corners=False)
    torch.testing.assert_close(operator(x)[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2])
    torch.testing.assert_close(operator(torch.ones_like(x)), torch.ones_like(expected))


def test_blur_is_a_mirrored_convolution() -> None:
    operator = operators["gaussian_blur"](shape=(1, 9, 6), sigma=1.3, size=5)
    x = normal(1, 1, 9, 6)
    kernel = (-((torch.arange(5) - 2.0) ** 2) / (2 * 1.3**2)).exp().double()
    kernel = kernel / kernel.sum()
    padded = torch.cat((x[..., :2, :].flip(-2), x, x[..., -2:, :].flip(-2)), dim=-2)
    padded = torch.cat((padded[..., :2].flip(-1), padded, padded[..., -2:].flip(-1)), dim=-1)
    expected = functional.conv2d(padded, (kernel[:, None] * kernel)[None, None])
    torch.testing.assert_close(operator(x), expected)


def test_masks_hide_what_they_say(tmp_path) -> None:
    box = operators["inpaint_box"](shape=(1, 7, 5), size=3)
    assert torch.equal(box.hidden[0].nonzero().amin(0), torch.tensor([2, 1]))
    assert torch.equal(box.hidden[0].nonzero().amax(0), torch.tensor([4, 3]))
    assert operators["inpaint_box"](shape=(1, 7, 5), size=2, top=0, left=3).hidden[0, :2, 3:].all()
    for side, index in {"left": (..., 0), "right": (..., -1), "top": (0,), "bottom": (-1,)}.items():
        half = operators["inpaint_half"](shape=(1, 7, 5), side=side)
        assert half.hidden[0][index].all()
        assert not half.hidden[0][3, 2]
    again = operators["inpaint_random"](shape=SHAPE, fraction=0.4, seed=1)
    assert torch.equal(again.hidden, OPERATORS["random"]().hidden)
    assert not torch.equal(operators["inpaint_random"](shape=SHAPE, fraction=0.4, seed=2).hidden, again.hidden)

    marked = torch.zeros(7, 5, dtype=torch.uint8)
    marked[2, 1:3] = 255
    Image.fromarray(marked.numpy()).convert("RGB").save(tmp_path / "mask.png")
    from_file = operators["inpaint_mask"](shape=(3, 7, 5), mask=tmp_path / "mask.png")
    assert torch.equal(from_file.hidden, (marked > 0).expand(3, 7, 5))
    assert torch.equal(operators["inpaint_mask"](shape=(3, 7, 5), mask=marked / 255).hidden, from_file.hidden)


def test_hidden_pixels_never_matter() -> None:
    operator = OPERATORS["box"]()
    y = torch.where(operator.observed, normal(1, *SHAPE)[0], torch.nan)
    measurement = Measurement(y, operator, GaussianNoise(0.1))
    assert bool((measurement.y[operator.hidden] == 0).all())
    assert bool(measurement.residual(torch.zeros(1, *SHAPE)).isfinite().all())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: operators["inpaint_box"](shape=SHAPE, size=7), "7 x 7 .* does not fit in 9 x 6"),
        (lambda: operators["inpaint_box"](shape=SHAPE, size=3, top=8), "top 8"),
        (lambda: operators["inpaint_box"](shape=SHAPE, size=(9, 6)), "hides 108 of 108"),
        (lambda: operators["inpaint_half"](shape=SHAPE, side="middle"), "'middle' is not one of"),
        (lambda: operators["inpaint_random"](shape=SHAPE, fraction=1.0), "fraction 1.0"),
        (lambda: operators["inpaint_random"](shape=SHAPE, fraction=1e-4), "hides 0 of 108"),
        (lambda: operators["inpaint_mask"](shape=SHAPE, mask=torch.zeros(6, 9)), "resize the mask to 9 x 6"),
        (lambda: operators["inpaint_mask"](shape=SHAPE, mask="no/such.png"), "no/such.png"),
        (lambda: operators["average_pool"](shape=SHAPE, factor=2), "factor 2 does not divide images of 9 x 6"),
        (lambda: operators["bicubic"](shape=SHAPE, factor=4), "factor 4"),
        (lambda: operators["gaussian_blur"](shape=SHAPE, sigma=0.0), "sigma 0.0"),
        (lambda: operators["gaussian_blur"](shape=SHAPE, sigma=1.0, size=4), "odd"),
        (lambda: operators["gaussian_blur"](shape=(9, 6), sigma=1.0), "channels, height, width"),
        (lambda: OPERATORS["pool"]()(torch.zeros(1, 2, 6, 9)), "expected"),
        (lambda: LinearOperator.from_matrix(torch.ones(3)), "d_y, d"),
    ],
)
def test_bad_input(make, words: str) -> None:
    with pytest.raises(UserError, match=words):
        make()
