"""The one contract of posterior methods: a denoiser and a measurement become samples of p(x_0 | y)."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from diffusion_lit.denoise import Denoiser
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.noise import GaussianNoise
from diffusion_lit.inverse.operators.base import Operator

__all__ = ["Method"]


class Method(ABC):
    """Samples p(x_0 | y).

    Attributes:
        needs: the kind of operator that the method works with.
        needs_noise: whether it divides by the variance of the noise.
    """

    needs: ClassVar[type[Operator]] = Operator
    needs_noise: ClassVar[bool] = False

    @property
    @abstractmethod
    def nfe(self) -> int:
        """Calls of the denoiser a sample."""

    @property
    @abstractmethod
    def vjps(self) -> int:
        """Vector-Jacobian products through the denoiser a sample."""

    @abstractmethod
    def draw(
        self, denoiser: Denoiser, measurement: Measurement, ids: Int64[Tensor, "batch *names"], seed: int, **condition
    ) -> Float[Tensor, "batch *x_shape"]:
        """Draw one sample for each id; a batched y has one row for each id."""

    def __call__(
        self,
        denoiser: Denoiser,
        measurement: Measurement,
        *,
        samples: int = 1,
        seed: int = 0,
        ids: Int64[Tensor, "..."] | None = None,
        **condition,
    ) -> Float[Tensor, "..."]:
        """Return x_0 of shape (samples, *x_shape), or (B, samples, *x_shape) if y is batched.

        Args:
            denoiser: the prior.
            measurement: y, operator and noise.
            samples: how many for each y.
            seed: with an id it names a sample, which depends on (seed, id), its own y and nothing else.
            ids: (samples,) or (B, samples) integers that name the samples, or with a further axis, of integers that
                name one together, such as (image, sample); 0, 1, ... in the order of the output unless given. To
                draw in chunks, or on several processes, ask for different ids.
            condition: passed on to the denoiser, for the flat batch of B * samples.

        Raises:
            UserError: the method does not fit the operator or the noise, ids do not fit, or a sample is not finite.
        """
        if not isinstance(measurement.operator, self.needs):
            raise UserError(
                f"{type(self).__name__} works with {self.needs.__name__} operators, not with "
                f"{type(measurement.operator).__name__}; choose another method, or describe the operator as such"
            )
        if self.needs_noise and isinstance(measurement.noise, GaussianNoise) and measurement.noise.variance <= 0:
            raise UserError(
                f"{type(self).__name__} divides by the variance of the noise, which is {measurement.noise.variance:g}; "
                f"give a small sigma > 0, or choose a method for measurements without noise (ddnm, replacement)"
            )
        leading = (len(measurement.y), samples) if measurement.batched else (samples,)
        ids = torch.arange(math.prod(leading)).reshape(leading) if ids is None else ids
        if tuple(ids.shape[: len(leading)]) != leading or ids.ndim > len(leading) + 1:
            raise UserError(
                f"ids: shape {tuple(ids.shape)} does not name {leading} samples; give one integer for each, or leave it"
            )
        # Lightning validates in inference mode, where no gradient can be taken, and its tensors cannot be saved for one
        with torch.inference_mode(False), torch.no_grad():
            measurement = measurement.repeat(samples).to(denoiser.reference.device)
            x = self.draw(denoiser, measurement, ids.reshape(-1, *ids.shape[len(leading) :]).clone(), seed, **condition)
        bad = ~x.flatten(1).isfinite().all(1)
        if bool(bad.any()):
            raise UserError(
                f"{type(self).__name__}: {int(bad.sum())} of {len(x)} samples are not finite, the first has ids "
                f"{ids.reshape(len(x), -1)[bad.cpu()][0].tolist()}; the method's step is too long for this "
                f"measurement, or the denoiser returns such numbers"
            )
        return x.reshape(*leading, *measurement.operator.x_shape)
