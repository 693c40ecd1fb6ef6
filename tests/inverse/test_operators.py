"""What every operator keeps: adjoint, pseudo-inverse, SVD, Gram solve, batches, gradients; masks and bad input."""

import inspect
import pickle
from types import FunctionType

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from diffusion_lit.errors import UserError
from diffusion_lit.inverse import GaussianNoise, LinearOperator, Measurement, Operator, methods
from diffusion_lit.inverse.operators import check_adjoint, check_linear, operators, stack
from tests.inverse.problems import image_problem

SHAPE = (2, 9, 6)  # odd, and not square


class Plain(LinearOperator):
    """A linear map that tells nothing but A: differences of neighbours along a row."""

    def __init__(self) -> None:
        super().__init__(SHAPE, (2, 9, 5))

    def forward(self, x: Tensor) -> Tensor:
        return 2 * (x[..., 1:] - x[..., :-1])


class Large(Plain):
    """The same, as if it were too large for an SVD."""

    def svd(self) -> None:
        return None


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
    "large": Large,
    "identity": lambda: operators["identity"](shape=SHAPE),
    "lines": lambda: operators["inpaint_lines"](shape=SHAPE, every=2),
    "convolve": lambda: operators["convolve"](shape=SHAPE, kernel=KERNEL),
    "reflect": lambda: operators["convolve"](shape=SHAPE, kernel=KERNEL, boundary="reflect"),
    "even": lambda: operators["convolve"](shape=(2, 8, 6), kernel=KERNEL),
    "motion": lambda: operators["motion_blur"](shape=SHAPE, length=4, angle=20),
    "fourier": lambda: operators["fourier_mask"](shape=SHAPE, acceleration=2),
    "fourier_even": lambda: operators["fourier_mask"](shape=(1, 8, 6), mask=torch.eye(8, 6) + torch.eye(8, 6).flip(1)),
    "mri": lambda: operators["mri"](shape=SHAPE, acceleration=2),
    "coils": lambda: operators["mri"](shape=SHAPE, coils=3, acceleration=2, pattern="gaussian"),
    "radon": lambda: operators["radon"](shape=SHAPE, angles=5),
    "few_detectors": lambda: operators["radon"](shape=(1, 6, 9), angles=[10.0, 100.0, -35.0], detectors=4),
    "gaussian_sensing": lambda: operators["gaussian_sensing"](shape=SHAPE, ratio=0.3),
    "hadamard_sensing": lambda: operators["hadamard_sensing"](shape=SHAPE, ratio=0.3),
    "colourise": lambda: operators["colourise"](shape=SHAPE),
    "luma": lambda: operators["colourise"](shape=(3, 4, 5), grey="luma"),
    "lens": lambda: operators["gravitational_lens"](shape=SHAPE),
    "lens_psf": lambda: operators["gravitational_lens"](shape=SHAPE, axis_ratio=1.0, psf=torch.ones(3, 3) / 9),
    "composed": lambda: (
        operators["average_pool"](shape=SHAPE, factor=3) @ operators["motion_blur"](shape=SHAPE, length=3)
    ),
    "masked": lambda: OPERATORS["box"]() @ OPERATORS["reflect"](),
    "scaled": lambda: -2.5 * OPERATORS["bicubic"](),
    "scaled_mask": lambda: 2 * OPERATORS["random"](),
    "stacked": lambda: stack(OPERATORS["pool"](), OPERATORS["random"](), 3 * OPERATORS["plain"]()),
    "function": lambda: LinearOperator.from_function(lambda x: x.cumsum(-1)[..., ::2], SHAPE),
}
NONLINEAR = {
    "nonlinear_blur": lambda: operators["nonlinear_blur"](shape=SHAPE, length=3),
    "hdr": lambda: operators["hdr"](shape=SHAPE),
    "phase_retrieval": lambda: operators["phase_retrieval"](shape=SHAPE, oversampling=1.5),
    "function": lambda: Operator.from_function(lambda x: x.square().sum(1), SHAPE),
    "composed": lambda: NONLINEAR["hdr"]() @ OPERATORS["motion"](),
    "scaled": lambda: 2 * NONLINEAR["hdr"](),
    "stacked": lambda: stack(NONLINEAR["phase_retrieval"](), OPERATORS["box"]()),
}
KERNEL = torch.tensor([[0.0, 0.3, 0.1, 0.0], [0.2, 0.5, -0.1, 0.2], [0.0, 0.1, 0.0, 0.7]])  # even and odd sides


def test_every_name_is_tested() -> None:
    """A new operator belongs in one of the two lists above."""
    made = "".join(inspect.getsource(make) for make in (OPERATORS | NONLINEAR).values())
    assert [name for name in operators if f'operators["{name}"]' not in made] == []


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
        assert isinstance(operator, Large)
        return
    assert svd.s.dtype == torch.float64
    assert float(svd.s.min()) >= 0
    x, z = normal(2, *operator.x_shape), normal(2, len(svd.s))
    torch.testing.assert_close(svd.u(svd.s * svd.vt(x)), operator(x), atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(svd.ut(svd.u(z)), z)
    torch.testing.assert_close(svd.vt(svd.v(z)), z)


def test_known_singular_values_are_those_of_the_matrix(operator: LinearOperator) -> None:
    svd = operator.svd()
    if svd is not None:
        expected = torch.linalg.svdvals(operator.matrix())
        found = functional.pad(svd.s.sort(descending=True).values, (0, max(0, len(expected) - len(svd.s))))
        torch.testing.assert_close(found[: len(expected)], expected, atol=1e-12, rtol=1e-9)


def test_checks_pass(operator: LinearOperator) -> None:
    for dtype in (torch.float32, torch.float64):
        check_adjoint(operator, dtype)
        check_linear(operator, dtype)


@pytest.fixture(params=[*OPERATORS, *(f"nonlinear {name}" for name in NONLINEAR)])
def any_operator(request: pytest.FixtureRequest) -> Operator:
    name = request.param.removeprefix("nonlinear ")
    return (OPERATORS if name == request.param else NONLINEAR)[name]()


def test_images_do_not_see_each_other(any_operator: Operator) -> None:
    x = normal(3, *any_operator.x_shape, dtype=torch.float32)
    together = any_operator(x)
    assert together.dtype == torch.float32
    for i in range(3):
        torch.testing.assert_close(any_operator(x[i : i + 1])[0], together[i], atol=1e-5, rtol=1e-5)
    if any_operator.observed is not None:
        assert bool((together[:, ~any_operator.observed] == 0).all())


@pytest.mark.parametrize("fill", [None, 0.0, -1.0, 1.0])
def test_gradients_are_finite_and_right(any_operator: Operator, fill: float | None) -> None:
    x = (
        normal(2, *any_operator.x_shape) * 0.4
        if fill is None
        else torch.full((2, *any_operator.x_shape), fill).double()
    )
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(any_operator(x).square().sum(), x)
    assert bool(gradient.isfinite().all())
    if fill is None:
        way = normal(2, *any_operator.x_shape).roll(1, -1)
        with torch.no_grad():
            ends = [any_operator(x + step * way).square().sum() for step in (1e-6, -1e-6)]
        expected = (ends[0] - ends[1]) / 2e-6
        torch.testing.assert_close((gradient * way).sum(), expected, atol=1e-4, rtol=1e-4)


def test_derivatives_both_ways_and_in_batches(any_operator: Operator) -> None:
    x = normal(2, *any_operator.x_shape)
    way = x.roll(1, -1)
    y, back = torch.func.vjp(any_operator, x)
    _, forth = torch.func.jvp(any_operator, (x,), (way,))
    torch.testing.assert_close((back(y)[0] * way).sum(), (y * forth).sum())
    torch.testing.assert_close(torch.func.vmap(lambda one: any_operator(one[None])[0])(x), y)
    if isinstance(any_operator, LinearOperator):
        torch.testing.assert_close(back(y)[0], any_operator.transpose(y))
        torch.testing.assert_close(forth, any_operator(way))


def test_half_precision_comes_back_as_it_went(any_operator: Operator) -> None:
    x = normal(2, *any_operator.x_shape)
    y = any_operator(x.bfloat16())
    assert y.dtype == torch.bfloat16
    assert float((y - any_operator(x)).norm() / any_operator(x).norm()) < 0.03
    if isinstance(any_operator, LinearOperator):
        assert any_operator.transpose(y).dtype == torch.bfloat16


def test_operators_are_sent_to_other_processes(operator: LinearOperator) -> None:
    if isinstance(getattr(operator, "f", None), FunctionType):  # this one's function has no name to be found by
        return
    operator.svd()
    x = normal(2, *operator.x_shape)
    torch.testing.assert_close(pickle.loads(pickle.dumps(operator))(x), operator(x))


def test_gram_solve_against_dense(operator: LinearOperator) -> None:
    a = operator.matrix()
    scale, shift = torch.tensor([0.5, 2.0], dtype=torch.float64), torch.tensor([0.3, 0.01], dtype=torch.float64)
    y = normal(2, *operator.y_shape)
    y = y if operator.observed is None else torch.where(operator.observed, y, 0.0)
    system = scale[:, None, None] * (a @ a.mT) + shift[:, None, None] * torch.eye(len(a), dtype=torch.float64)
    expected = torch.linalg.solve(system, operator.observe(y))
    torch.testing.assert_close(operator.observe(operator.gram_solve(y, scale, shift)), expected, atol=1e-8, rtol=1e-7)


def test_gram_solve_without_noise_is_the_pseudo_inverse() -> None:
    for name in ("wide", "deficient", "random", "pool", "fourier", "mri", "hadamard_sensing", "radon", "large"):
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


def test_lines_are_shown_or_hidden_as_a_whole() -> None:
    shown = OPERATORS["lines"]().observed
    assert shown[:, ::2].all()
    assert not shown[:, 1::2].any()
    columns = operators["inpaint_lines"](shape=SHAPE, fraction=0.7, axis="columns", seed=3)
    assert torch.equal(columns.hidden, columns.hidden[:1, :1].expand(SHAPE))
    assert int(columns.hidden[0, 0].sum()) == 4
    again = operators["inpaint_lines"](shape=SHAPE, fraction=0.7, axis="columns", seed=4)
    assert not torch.equal(columns.hidden, again.hidden)


def test_grey_is_a_mean() -> None:
    x = normal(2, *SHAPE)
    torch.testing.assert_close(OPERATORS["colourise"]()(x), x.mean(1, keepdim=True))
    assert OPERATORS["luma"]()(torch.ones(1, 3, 4, 5)).sub(1).abs().max() < 1e-6


def test_methods_take_any_linear_operator() -> None:
    denoiser, x = image_problem()
    for operator in (
        operators["mri"](shape=(2, 5, 4), coils=2, acceleration=2),
        operators["radon"](shape=(2, 5, 4), angles=4),
        stack(operators["hadamard_sensing"](shape=(2, 5, 4)), operators["inpaint_lines"](shape=(2, 5, 4))),
    ):
        measurement = Measurement.simulate(operator, GaussianNoise(0.1), x[0], seed=1)
        exact = denoiser.posterior(measurement)
        found = methods["mmps"](steps=20, iterations=6)(denoiser, measurement, samples=30, seed=0)
        assert float((found.mean(0) - exact.means[0].reshape(2, 5, 4)).norm()) < 0.5


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
        (lambda: operators["inpaint_lines"](shape=SHAPE, every=1), "every 1"),
        (lambda: operators["inpaint_lines"](shape=SHAPE, axis="diagonal"), "'diagonal' is not one of"),
        (lambda: operators["inpaint_lines"](shape=SHAPE, fraction=0.01), "hides 0 of 108"),
        (lambda: operators["inpaint_lines"](shape=SHAPE, fraction=0.0), "fraction 0.0"),
        (lambda: operators["colourise"](shape=(1, 3, 3)), "1 channel"),
        (lambda: operators["colourise"](shape=SHAPE, grey="luma"), "luma of 3"),
        (lambda: OPERATORS["pool"]()(torch.zeros(1, 2, 6, 9)), "expected"),
        (lambda: LinearOperator.from_matrix(torch.ones(3)), "d_y, d"),
    ],
)
def test_bad_input(make, words: str) -> None:
    with pytest.raises(UserError, match=words):
        make()
