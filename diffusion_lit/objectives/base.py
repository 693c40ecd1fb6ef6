"""The one contract of objectives."""

from abc import abstractmethod
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser
from diffusion_lit.objectives.times import TimeSampler
from diffusion_lit.randomness import weyl

__all__ = ["Objective", "Prepared"]


@runtime_checkable
class Objective(Protocol):
    """Data x_0 (B, *) -> one loss a sample (B,), with the time and the noise that (seed, position) names.

    Attributes:
        times: the law of t.
    """

    times: TimeSampler

    def __call__(
        self, denoiser: Denoiser, x_0: Batch, *, seed: int, positions: Int64[Tensor, " batch"], **condition
    ) -> Float[Tensor, " batch"]:
        """Return the loss of each sample (B,).

        Args:
            denoiser: what is trained.
            x_0: (B, *) data.
            seed: with a position it names the time and the noise that an image gets.
            positions: (B,) places in the training stream.
            condition: passed on to the denoiser.
        """
        t = self.times(weyl(seed, positions), denoiser.schedule)
        return self.loss_at(denoiser, x_0, t, seed=seed, positions=positions, **condition)

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


class Prepared(Objective):
    """An objective of data or conditions that are changed first, each by noise that (seed, position) names.

    Args:
        objective: any objective.
    """

    def __init__(self, objective: Objective):
        self.objective, self.times = objective, objective.times

    @abstractmethod
    def prepare(
        self, x_0: Batch, condition: dict[str, Tensor], seed: int, positions: Int64[Tensor, " batch"]
    ) -> tuple[Batch, dict[str, Tensor]]:
        """Return what takes the place of x_0 (B, *) and of the condition."""

    def __call__(
        self, denoiser: Denoiser, x_0: Batch, *, seed: int, positions: Int64[Tensor, " batch"], **condition
    ) -> Float[Tensor, " batch"]:
        x_0, condition = self.prepare(x_0, condition, seed, positions)
        return self.objective(denoiser, x_0, seed=seed, positions=positions, **condition)

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
        x_0, condition = self.prepare(x_0, condition, seed, positions)
        return self.objective.loss_at(denoiser, x_0, t, seed=seed, positions=positions, **condition)
