"""A diffusion transformer: patches as tokens, modulated by the noise level through adaLN-Zero."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from diffusion_lit.errors import UserError
from diffusion_lit.networks.embedding import ConditionEmbedding

__all__ = ["DiT"]


class DiTBlock(nn.Module):
    """Attention and MLP, each with a shift, a scale and a gate computed from the embedding; the gates start at zero."""

    def __init__(self, width: int, heads: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Dropout(dropout), nn.Linear(4 * width, width)
        )
        self.modulation = nn.Linear(embedding, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(
        self, x: Float[Tensor, "batch tokens width"], embedding: Float[Tensor, "batch e"]
    ) -> Float[Tensor, "batch tokens width"]:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(embedding).unsqueeze(1).chunk(6, dim=-1)
        x = x + gate1 * self.attend(torch.addcmul(shift1, self.norm1(x), 1 + scale1))
        return x + gate2 * self.mlp(torch.addcmul(shift2, self.norm2(x), 1 + scale2))

    def attend(self, x: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class DiT(nn.Module):
    """Map a noisy image and its noise level to an image of the same shape; zero at initialisation.

    Peebles & Xie, "Scalable Diffusion Models with Transformers" (arXiv:2212.09748), Sec. 3, with fixed sine-cosine
    positions, so that one network runs at any size that the patch divides.

    Args:
        channels: Channels C of the images.
        size: (H, W) the network is meant for; checked against the patch at once.
        patch: Side of a patch, in pixels; it divides H and W.
        width: Features of a token, a multiple of 4 and of heads.
        depth: Number of blocks.
        heads: Attention heads; None takes one per 64 features.
        classes: Number of classes for the optional `label`; None for an unconditional network.
        dropout: Probability of dropping a feature inside an MLP, in [0, 1).

    Raises:
        UserError: The patch does not divide H and W, or the width is no multiple of 4 and of heads.
    """

    def __init__(
        self,
        channels: int = 1,
        size: Sequence[int] = (28, 28),
        patch: int = 4,
        width: int = 192,
        depth: int = 6,
        heads: int | None = None,
        classes: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        heads = max(1, width // 64) if heads is None else heads
        if width % 4 or width % heads:
            raise UserError(f"width: {width} must be a multiple of 4 and of heads = {heads}; change one of the two.")
        self.patch, self.width = patch, width
        self._grid(size[0], size[1])
        self.embedding = ConditionEmbedding(width, classes)
        self.stem = nn.Linear(channels * patch**2, width)
        self.blocks = nn.ModuleList(DiTBlock(width, heads, width, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(width, 2 * width)
        self.head = nn.Linear(width, channels * patch**2)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(
        self,
        x: Float[Tensor, "batch c h w"],
        noise_level: Float[Tensor, " batch"],
        label: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch c h w"]:
        """Apply the network.

        Args:
            x: Images (B, C, H, W), already scaled by c_in.
            noise_level: c_noise (B,), roughly in [-2.5, 2.5].
            label: Optional (B,) integers; `classes` means "no label".

        Raises:
            UserError: The patch does not divide H and W.
        """
        rows, columns = self._grid(x.shape[-2], x.shape[-1])
        embedding = self.embedding(noise_level, label)
        patches = x.unflatten(3, (columns, self.patch)).unflatten(2, (rows, self.patch))
        tokens = self.stem(patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2))
        tokens = tokens + sine_cosine_positions(rows, columns, self.width).to(tokens)
        for block in self.blocks:
            tokens = block(tokens, embedding)
        shift, scale = self.modulation(embedding).unsqueeze(1).chunk(2, dim=-1)
        patches = self.head(torch.addcmul(shift, self.norm(tokens), 1 + scale))
        patches = patches.unflatten(2, (-1, self.patch, self.patch)).unflatten(1, (rows, columns))
        return patches.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)

    def _grid(self, height: int, width: int) -> tuple[int, int]:
        if height % self.patch or width % self.patch:
            raise UserError(
                f"size: {height} x {width} cannot be cut into patches of {self.patch} x {self.patch}; "
                "choose a patch that divides both sides, or pad the images."
            )
        return height // self.patch, width // self.patch


def sine_cosine_positions(rows: int, columns: int, width: int) -> Float[Tensor, "tokens width"]:
    """Return the fixed positions (rows * columns, width): a quarter each of sin and cos of the row and of the column.

    The frequencies are those of Vaswani et al. (arXiv:1706.03762), Sec. 3.5.
    """
    omega = torch.exp(torch.arange(width // 4) * (-math.log(10000.0) / (width // 4)))
    row, column = torch.arange(rows)[:, None] * omega, torch.arange(columns)[:, None] * omega
    phase = torch.cat([row.repeat_interleave(columns, dim=0), column.repeat(rows, 1)], dim=1)
    return torch.cat([phase.sin(), phase.cos()], dim=1)
