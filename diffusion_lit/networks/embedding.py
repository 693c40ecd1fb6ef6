"""Embeddings of the noise level and of the optional label, shared by every network."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from diffusion_lit.errors import UserError

__all__ = ["ConditionEmbedding", "Fourier"]


class Fourier(nn.Module):
    """Map a scalar to sines and cosines of fixed, log-spaced angular frequencies.

    Args:
        frequencies: Number F of frequencies; the output has 2 F features.
        lowest, highest: Range of the angular frequencies, in radians per unit. c_noise spans about 5 units, so the
            defaults go from a fifth of a period over its range to about twelve periods.
    """

    omega: Tensor

    def __init__(self, frequencies: int = 32, lowest: float = 0.25, highest: float = 16.0) -> None:
        super().__init__()
        steps = torch.linspace(math.log(lowest), math.log(highest), frequencies)
        self.register_buffer("omega", steps.exp(), persistent=False)

    def forward(self, x: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch features"]:
        phase = x.unsqueeze(-1) * self.omega.to(x.dtype)
        return torch.cat([phase.cos(), phase.sin()], dim=-1)


class ConditionEmbedding(nn.Module):
    """Embed the noise level, and the label when there are classes, into one vector per sample.

    Args:
        width: Size E of the embedding.
        classes: Number of classes; None for an unconditional network. Label `classes` means "no label".
    """

    def __init__(self, width: int, classes: int | None = None) -> None:
        super().__init__()
        self.classes = classes
        self.fourier = Fourier()
        features = 2 * len(self.fourier.omega)
        self.mlp = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width))
        self.label = nn.Embedding(classes + 1, width) if classes is not None else None

    def forward(
        self, noise_level: Float[Tensor, " batch"], label: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch width"]:
        """Embed a batch of conditions.

        Args:
            noise_level: c_noise, (B,), roughly in [-2.5, 2.5].
            label: (B,) integers in [0, classes]; None means "no label" for all.

        Raises:
            UserError: A label is given to a network without classes.
        """
        embedding = self.mlp(self.fourier(noise_level))
        if self.label is None:
            if label is not None:
                raise UserError("label: this network has no classes; build it with classes=K or call it without label.")
        else:
            if label is None:
                label = torch.full(noise_level.shape, self.label.num_embeddings - 1, device=noise_level.device)
            embedding = embedding + self.label(label)
        return nn.functional.silu(embedding)
