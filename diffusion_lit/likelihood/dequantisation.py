"""Densities of pixels that are whole numbers: uniform dequantisation (Theis et al. 2016, section 3.1).

With k uniform over its bin, E log p(k + u) <= log P(k) for the P(k) that is p's mass on the bin: the bits per dimension
of the noisy pixels bound those of the whole ones from above.
"""

import math
from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor

from diffusion_lit.denoise import Batch
from diffusion_lit.errors import UserError
from diffusion_lit.objectives.base import Objective, Prepared
from diffusion_lit.randomness import Randomness, beside

__all__ = ["Dequantisation", "Dequantised"]

_STREAM = 0x44455155  # the noise of pixels is another stream than what an objective draws for the same image


@dataclass(frozen=True)
class Dequantisation:
    """x -> x + width (U - 1/2): uniform over the bin around x, whose centres are evenly spaced over [low, high].

    Args:
        levels: number of values a pixel has, ends included: 256 for bytes, 17 for the 8x8 digits.
        low, high: what the first and the last are mapped to.
    """

    levels: int = 256
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self):
        if self.levels < 2 or not self.high > self.low:
            raise UserError(f"levels: {self.levels} between {self.low} and {self.high}; need two or more, low < high")

    @property
    def width(self) -> float:
        """The width of a bin."""
        return (self.high - self.low) / (self.levels - 1)

    def __call__(self, x: Batch, *, seed: int, ids: Int64[Tensor, "batch *names"]) -> Batch:
        """Move x (B, *) to the nearest level and spread it over that level's bin.

        Args:
            x: (B, *) in [low, high]; levels that went through bytes may be off by half a byte.
            seed: with an id it names a sample's noise.
            ids: (B,) names of the samples.
        """
        u = Randomness(seed, beside(ids, _STREAM), x.device).uniform(*x.shape[1:])
        levels = ((x.double() - self.low) / self.width).round()
        return (self.low + self.width * (levels + u - 0.5)).to(x.dtype)

    def bits_per_dim(self, nats: Float[Tensor, "*batch"], dims: int) -> Float[Tensor, "*batch"]:
        """-log p(x) in nats -> bits per dimension of the levels: nats / (d log 2) - log2 width.

        The uniform density over all bins has log2(levels).
        """
        return nats / (dims * math.log(2)) - math.log2(self.width)


class Dequantised(Prepared):
    """An objective on dequantised data, with fresh noise at each position of the stream.

    Args:
        objective: any objective, called as `objective(denoiser, x_0, seed=, positions=, **condition)`.
        dequantisation: of the pixels.
    """

    def __init__(self, objective: Objective, dequantisation: Dequantisation):
        super().__init__(objective)
        self.dequantisation = dequantisation

    def prepare(
        self, x_0: Batch, condition: dict[str, Tensor], seed: int, positions: Int64[Tensor, " batch"]
    ) -> tuple[Batch, dict[str, Tensor]]:
        return self.dequantisation(x_0, seed=seed, ids=positions), condition
