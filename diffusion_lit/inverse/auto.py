"""A method for who does not want to choose: picked by the operator, the noise and the budget, and it says why."""

import logging
from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor

from diffusion_lit.denoise import Denoiser
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.base import Method
from diffusion_lit.inverse.guidance import DPS, MMPS
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.noise import GaussianNoise
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.inverse.posterior import DAPS, DDNM, DiffPIR
from diffusion_lit.samplers import DDIM, Karras

__all__ = ["Auto", "Choice"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """A method, and why it."""

    method: Method
    why: str

    def __str__(self) -> str:
        return f"{type(self.method).__name__}, {self.why}"


class Auto(Method):
    """Picks a method for a measurement; `choose` says which and why, and a call logs it.

    Args:
        steps: of the walk.
        products: vector-Jacobian products that may be spent a step; each costs about two calls of the denoiser. 0:
            none, for denoisers without gradients.

    Attributes:
        choice: what was picked last; None before the first measurement.

    Raises:
        UserError: products is negative.
    """

    def __init__(self, steps: int = 50, products: int = 3):
        if products < 0:
            raise UserError(f"products: {products} < 0; 0 is a method without gradients of the denoiser")
        self.steps, self.products = steps, products
        self.choice: Choice | None = None

    def choose(self, measurement: Measurement) -> Choice:
        """Return the method for a measurement."""
        operator, noise = measurement.operator, measurement.noise
        exact = isinstance(noise, GaussianNoise) and noise.variance == 0
        linear = isinstance(operator, LinearOperator)
        if self.products == 0:
            if not linear:
                return Choice(DAPS(self.steps), "not linear, and no gradients of the denoiser: Langevin steps on x_0")
            if exact:
                return Choice(
                    DDNM(self.steps), "a linear operator, no noise, no gradients: the null space is filled in"
                )
            return Choice(DiffPIR(self.steps), "a linear operator with noise and no gradients: proximal steps")
        sampler = DDIM(self.steps, eta=1.0, grid=Karras())
        if linear and not exact and operator.y_size <= self.products:
            return Choice(
                MMPS(iterations=operator.y_size, sampler=sampler),
                f"{operator.y_size} measured values: Tweedie's covariance is inverted exactly",
            )
        return Choice(
            DPS(sampler=sampler),
            f"{operator.y_size} measured values: a gradient through the denoiser, as long as its variance warrants",
        )

    @property
    def nfe(self) -> int:
        """Calls of the denoiser a sample, of what was picked last.

        Raises:
            UserError: nothing has been measured yet.
        """
        return self._last.nfe

    @property
    def vjps(self) -> int:
        return self._last.vjps

    @property
    def _last(self) -> Method:
        if self.choice is None:
            raise UserError("auto: its cost is known when it has seen a measurement; ask choose(measurement).method")
        return self.choice.method

    def draw(
        self, denoiser: Denoiser, measurement: Measurement, ids: Int64[Tensor, "batch *names"], seed: int, **condition
    ) -> Float[Tensor, "batch *x_shape"]:
        choice = self.choose(measurement)
        if self.choice is None or self.choice.why != choice.why:
            _log.info("auto: %s", choice)
        self.choice = choice
        return choice.method.draw(denoiser, measurement, ids, seed, **condition)
