"""A residual MLP for vectors, modulated by the noise level."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import silu

from diffusion_lit.networks.embedding import ConditionEmbedding

__all__ = ["MLP"]


class MLPBlock(nn.Module):
    """Residual pair of linear layers behind a layer norm that the embedding modulates; zero at initialisation."""

    def __init__(self, width: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(embedding, 2 * width)
        self.inner = nn.Linear(width, 2 * width)
        self.dropout = nn.Dropout(dropout)
        self.outer = nn.Linear(2 * width, width)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(
        self, x: Float[Tensor, "batch width"], embedding: Float[Tensor, "batch e"]
    ) -> Float[Tensor, "batch width"]:
        scale, shift = self.modulation(embedding).chunk(2, dim=-1)
        hidden = torch.addcmul(shift, self.norm(x), 1 + scale)
        return x + self.outer(self.dropout(silu(self.inner(hidden))))


class MLP(nn.Module):
    """Map a noisy vector and its noise level to a vector of the same size; zero at initialisation.

    Far from the data the output grows linearly with x, as eps and v do: the blocks normalise what they read, nothing
    normalises what the head reads. With a norm there the output saturates, and a sample that strays never comes back.

    Args:
        features: Size d of the vectors.
        width: Features of the hidden layers.
        depth: Number of residual blocks.
        frequencies: Cycles per unit at which sines and cosines of the input are shown beside it (Tancik et al.,
            arXiv:2006.10739, Eq. 5); none by default. Useful for sharp densities in few dimensions.
        classes: Number of classes for the optional `label`; None for an unconditional network.
        dropout: Probability of dropping a feature inside a block, in [0, 1).
        outputs: Size of the output; d unless told. 2 d for a mean and a variance.
    """

    omega: Tensor

    def __init__(
        self,
        features: int,
        width: int = 128,
        depth: int = 3,
        frequencies: Sequence[float] = (),
        classes: int | None = None,
        dropout: float = 0.0,
        outputs: int | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("omega", 2 * math.pi * torch.tensor(list(frequencies)), persistent=False)
        self.embedding = ConditionEmbedding(width, classes)
        self.stem = nn.Linear(features * (1 + 2 * len(frequencies)), width)
        self.blocks = nn.ModuleList(MLPBlock(width, width, dropout) for _ in range(depth))
        self.head = nn.Linear(width, outputs or features)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(
        self,
        x: Float[Tensor, "batch d"],
        noise_level: Float[Tensor, " batch"],
        label: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch outputs"]:
        """Apply the network.

        Args:
            x: Vectors (B, d), already scaled by c_in.
            noise_level: c_noise (B,), roughly in [-2.5, 2.5].
            label: Optional (B,) integers; `classes` means "no label".
        """
        embedding = self.embedding(noise_level, label)
        phase = (x.unsqueeze(-1) * self.omega.to(x.dtype)).flatten(1)
        hidden = self.stem(torch.cat([x, phase.cos(), phase.sin()], dim=1))
        for block in self.blocks:
            hidden = block(hidden, embedding)
        return self.head(silu(hidden))
