"""The one contract of objectives."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser
from diffusion_lit.objectives.times import TimeSampler

__all__ = ["Objective"]


@runtime_checkable
class Objective(Protocol):
    """Data x_0 (B, *) -> one loss a sample (B,), with the time and the noise that (seed, position) names.

    Attributes:
        times: the law of t.
    """

    times: TimeSampler

    def __call__(
        self, denoiser: Denoiser, x_0: Batch, *, seed: int, positions: Int64[Tensor, " batch"], **condition
    ) -> Float[Tensor, " batch"]: ...

    def loss_at(
        self,
        denoiser: Denoiser,
        x_0: Batch,
        t: Float[Tensor, " batch"],
        *,
        seed: int,
        positions: Int64[Tensor, " batch"],
        **condition,
    ) -> Float[Tensor, " batch"]:
        """The same at given times t (B,)."""
        ...
