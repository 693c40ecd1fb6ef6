"""Measurements along singular vectors, against explicit matrices."""

import pytest
import torch
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.inverse import (
    CorrelatedNoise,
    DiagonalNoise,
    GaussianNoise,
    LaplaceNoise,
    LinearOperator,
    Measurement,
    Operator,
    PoissonNoise,
)
from diffusion_lit.inverse.operators import operators
from diffusion_lit.inverse.spectrum import Spectrum
from tests.inverse.problems import gaussian_problem, image_problem

SHAPE = (2, 5, 4)


@pytest.mark.parametrize(
    ("name", "options"),
    [("inpaint_random", {"fraction": 0.4}), ("gaussian_blur", {"sigma": 0.8}), ("average_pool", {"factor": 1})],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_structured_decompositions(name: str, options: dict, dtype: torch.dtype) -> None:
    _, x = image_problem(3)
    x = x.to(dtype)
    measurement = Measurement.simulate(operators[name](shape=SHAPE, **options), GaussianNoise(0.2), x, seed=1)
    operator, spectrum = measurement.linear, Spectrum.of(measurement)
    along, rest = spectrum.split(x)
    assert along.shape == (3, len(spectrum.s))
    assert rest.shape == x.shape
    assert along.dtype == rest.dtype == dtype
    torch.testing.assert_close(spectrum.join(along, rest), x)
    assert float(operator(rest).abs().max()) < 1e-5  # A does not see it
    # |y - A x|^2 / sigma^2 = sum of ((y_i - x_i) / deviation_i)^2 + what U does not reach
    white = (spectrum.y - along.double()) / spectrum.deviation
    matrix = operator.matrix()
    assert len(spectrum.s) == int(torch.linalg.matrix_rank(matrix))
    projected = matrix @ torch.linalg.pinv(matrix)
    residual = operator.observe(measurement.residual(x)).double() @ projected / 0.2
    torch.testing.assert_close(white.norm(dim=1), residual.norm(dim=1), rtol=1e-4, atol=1e-4)


def test_one_measurement_is_one_row() -> None:
    _, measurement = gaussian_problem(1)
    spectrum = Spectrum.of(measurement)
    assert spectrum.y.shape == (1, 2)
    assert spectrum.sigma == pytest.approx(0.3)
    torch.testing.assert_close(spectrum.deviation.sort().values, torch.tensor([0.3, 0.75], dtype=torch.float64))
    torch.testing.assert_close(
        spectrum.join(spectrum.y, torch.zeros(1, 4, dtype=torch.float64)),
        measurement.linear.pinv(measurement.y[None]),
    )


@pytest.mark.parametrize(
    "noise",
    [
        DiagonalNoise(torch.tensor([0.3, 0.7], dtype=torch.float64)),
        CorrelatedNoise(torch.tensor([[0.2, 0.1], [0.1, 0.4]], dtype=torch.float64)),
    ],
)
def test_other_noise_is_whitened(noise) -> None:
    """The likelihood is a Gaussian in the coordinates, whatever the noise was."""
    _, measurement = gaussian_problem(2)
    measurement = Measurement(measurement.y, measurement.operator, noise)
    spectrum = Spectrum.of(measurement)
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    along, _ = spectrum.split(x)
    found = -((spectrum.y - along) / spectrum.deviation).square().sum(1) / 2
    exact = measurement.log_likelihood(x)
    torch.testing.assert_close(found - found[0], exact - exact[0])


def test_small_singular_values_are_unseen() -> None:
    matrix = torch.diag(torch.tensor([2.0, 1e-3, 1e-12]))
    measurement = Measurement(torch.ones(3), LinearOperator.from_matrix(matrix), GaussianNoise(0.1))
    for threshold, count in ((1e-10, 2), (1e-3, 1)):
        spectrum = Spectrum.of(measurement, threshold)
        assert len(spectrum.s) == count
        x = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
        along, rest = spectrum.split(x)
        assert rest[0].nonzero().flatten().tolist() == list(range(count, 3))
        torch.testing.assert_close(spectrum.join(along, rest), x)


def test_noise_of_one_variance_that_is_not_gaussian() -> None:
    _, measurement = gaussian_problem(1)
    measurement = Measurement(measurement.y, measurement.operator, LaplaceNoise(0.2))
    assert Spectrum.of(measurement).sigma == pytest.approx(2**0.5 * 0.2)


def test_bad_input() -> None:
    class Square(Operator):
        def forward(self, x: Tensor) -> Tensor:
            return x**2

    class Unknown(LinearOperator):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x

        def svd(self) -> None:
            return None

    for operator in (Square((4,), (4,)), Unknown((4,), (4,))):
        with pytest.raises(UserError, match=f"{operator.name} has no SVD.*needs a singular value decomposition"):
            Spectrum.of(Measurement(torch.zeros(4), operator, GaussianNoise(0.1)))
    zero = Measurement(torch.zeros(2), LinearOperator.from_matrix(torch.zeros(2, 3)), GaussianNoise(0.1))
    with pytest.raises(UserError, match="all 0"):
        Spectrum.of(zero)
    _, x = image_problem(2)
    counts = Measurement.simulate(operators["inpaint_half"](shape=SHAPE), PoissonNoise(50.0, offset=1.5), x, seed=1)
    with pytest.raises(UserError, match="whiten one y at a time"):
        Spectrum.of(counts)
