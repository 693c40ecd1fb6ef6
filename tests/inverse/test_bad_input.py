"""What every method says of input that it cannot work with: a UserError, never zeros or NaN in silence."""

import pytest
import torch

from diffusion_lit.denoise import Denoiser, Posterior
from diffusion_lit.errors import UserError
from diffusion_lit.inverse import GaussianNoise, LinearOperator, Measurement, Operator, methods
from diffusion_lit.inverse.operators import operators
from tests.inverse.problems import image_problem

SHAPE = (2, 5, 4)


class Broken(Denoiser):
    """Returns NaN for the second of the samples."""

    def __init__(self, denoiser: Denoiser):
        super().__init__(denoiser.schedule)
        self.denoiser = denoiser

    def forward(self, x_t: torch.Tensor, t: torch.Tensor, **condition) -> Posterior:
        mean = self.denoiser(x_t, t).mean
        return Posterior(torch.where(torch.arange(len(mean)).reshape(-1, 1, 1, 1) == 1, torch.nan, mean))

    @property
    def reference(self) -> torch.Tensor:
        return self.denoiser.reference


@pytest.fixture(params=methods)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def measured(sigma: float, operator: Operator | None = None) -> tuple[Denoiser, Measurement]:
    denoiser, x = image_problem(1)
    operator = operator or operators["inpaint_half"](shape=SHAPE)
    return denoiser, Measurement.simulate(operator, GaussianNoise(sigma), x[0], seed=5)


def test_a_denoiser_that_returns_nan(name: str) -> None:
    denoiser, measurement = measured(0.2)
    with pytest.raises(UserError, match="finite"):
        methods[name](steps=2)(Broken(denoiser), measurement, samples=3)


def test_no_noise(name: str) -> None:
    """Finite samples, or a sentence that says what to do."""
    denoiser, measurement = measured(0.0)
    method = methods[name](steps=4)
    try:
        x = method(denoiser, measurement, samples=2)
    except UserError as error:
        assert "sigma" in str(error) or "noise" in str(error)  # noqa: PT017
        return
    assert bool(x.isfinite().all())


def test_an_operator_that_is_not_linear(name: str) -> None:
    operator = Operator.from_function(lambda x: x.clamp(-0.1, 0.1) + 0.1 * x.sin(), SHAPE)
    denoiser, measurement = measured(0.2, operator)
    method = methods[name](steps=2)
    if method.needs is Operator:
        assert bool(method(denoiser, measurement, samples=2).isfinite().all())
    else:
        with pytest.raises(UserError, match="works with"):
            method(denoiser, measurement, samples=2)


def test_an_operator_that_raises(name: str) -> None:
    method, mistake = methods[name](steps=2), []

    def halved(x: torch.Tensor) -> torch.Tensor:
        if mistake:
            raise ZeroDivisionError(mistake[0])
        return x[..., ::2, :] / 2

    if not issubclass(LinearOperator, method.needs):
        return  # for masks, which no user writes
    denoiser, measurement = measured(0.2, LinearOperator.from_function(halved, SHAPE))
    mistake.append("a user's mistake")
    with pytest.raises(UserError, match="a user's mistake"):
        method(denoiser, measurement, samples=2)
