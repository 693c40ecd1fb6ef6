"""A small U-Net for images, with an optional Haar folding that makes it cheap on a CPU."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import interpolate, scaled_dot_product_attention, silu

from diffusion_lit.errors import UserError
from diffusion_lit.networks import haar
from diffusion_lit.networks.embedding import ConditionEmbedding

__all__ = ["UNet"]


def _norm(channels: int, affine: bool = True) -> nn.GroupNorm:
    groups = next(g for g in (16, 8, 4, 2, 1) if (channels % g == 0 and channels // g >= 4) or g == 1)
    return nn.GroupNorm(groups, channels, affine=affine)


def _zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class Attention(nn.Module):
    """Self-attention over the pixels, added to its input; zero at initialisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // 32)
        while channels % self.heads:
            self.heads -= 1
        self.norm = _norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = _zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
        batch, channels, height, width = x.shape
        tokens = self.qkv(self.norm(x)).flatten(2).mT.reshape(batch, height * width, 3, self.heads, -1)
        q, k, v = tokens.permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(q, k, v).permute(0, 1, 3, 2)
        return x + self.out(mixed.reshape(batch, channels, height, width))


class Block(nn.Module):
    """Residual block of two 3x3 convolutions whose second norm is modulated by the embedding.

    Adaptive group norm as in Dhariwal & Nichol, "Diffusion Models Beat GANs" (arXiv:2105.05233), Sec. 3.
    """

    def __init__(self, inputs: int, outputs: int, embedding: int, dropout: float, attention: bool) -> None:
        super().__init__()
        self.norm_in = _norm(inputs)
        self.conv_in = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * outputs)
        self.norm_out = _norm(outputs, affine=False)
        self.dropout = nn.Dropout(dropout)
        self.conv_out = _zeroed(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.attention = Attention(outputs) if attention else nn.Identity()

    def forward(
        self, x: Float[Tensor, "batch c h w"], embedding: Float[Tensor, "batch e"]
    ) -> Float[Tensor, "batch outputs h w"]:
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        hidden = self.conv_in(silu(self.norm_in(x)))
        hidden = silu(torch.addcmul(shift, self.norm_out(hidden), 1 + scale))
        return self.attention(self.skip(x) + self.conv_out(self.dropout(hidden)))


class Level(nn.ModuleList):
    """The residual blocks of one resolution in one direction, applied in turn."""

    def forward(
        self, x: Float[Tensor, "batch c h w"], embedding: Float[Tensor, "batch e"]
    ) -> Float[Tensor, "batch outputs h w"]:
        for block in self:
            x = block(x, embedding)
        return x


class UNet(nn.Module):
    """Map a noisy image and its noise level to an image of the same shape; zero at initialisation.

    Each level holds `blocks` residual blocks on the way down and as many on the way up, and hands one skip connection
    across. Strided convolutions halve the sides, rounding up; the way up interpolates to the skip's size, so odd
    sides are fine (14 -> 7 -> 4 -> 7 -> 14).

    Args:
        channels: Channels C of the images.
        size: (H, W) the network is meant for; it decides which levels attend. Other sizes run if fold divides them.
        width: Channels of the first level, before the multipliers.
        multipliers: Channels of each level, as multiples of width.
        blocks: Residual blocks of a level, in each direction.
        attention: Heights, in folded pixels, of the levels with self-attention after each block.
        fold: Times the image is Haar-folded first: 28x28x1 -> 14x14x4 -> 7x7x16.
        classes: Number of classes for the optional `label`; None for an unconditional network.
        dropout: Probability of dropping a feature inside a block, in [0, 1).
        outputs: Channels of the output; C unless told. 2 C for a mean and a variance.

    Raises:
        UserError: 2^fold does not divide H and W, or `attention` names a height that no level has.
    """

    def __init__(
        self,
        channels: int = 1,
        size: Sequence[int] = (28, 28),
        width: int = 64,
        multipliers: Sequence[int] = (1, 2),
        blocks: int = 2,
        attention: Sequence[int] = (7,),
        fold: int = 1,
        classes: int | None = None,
        dropout: float = 0.0,
        outputs: int | None = None,
    ) -> None:
        super().__init__()
        haar.check_foldable(size[0], size[1], fold)
        self.fold = fold
        folded = channels * 4**fold
        widths = [width * m for m in multipliers]
        heights = [-(-size[0] // 2 ** (fold + level)) for level in range(len(widths))]
        if unknown := set(attention) - set(heights):
            raise UserError(
                f"attention: no level has height {sorted(unknown)}; with size={tuple(size)}, fold={fold} and "
                f"{len(widths)} multipliers the heights are {heights}."
            )
        embedding = 4 * width
        self.embedding = ConditionEmbedding(embedding, classes)

        def level(inputs: int, outputs: int, height: int) -> Level:
            return Level(
                Block(inputs if i == 0 else outputs, outputs, embedding, dropout, height in attention)
                for i in range(blocks)
            )

        self.stem = nn.Conv2d(folded, width, 3, padding=1)
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList([nn.Identity()])
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        for i, (own, height) in enumerate(zip(widths, heights)):
            last = i == len(widths) - 1
            inputs = width if i == 0 else own
            self.down.append(level(inputs, own, height))
            self.up.append(level(own if last else 2 * own, own, height))
            if not last:
                self.shrink.append(nn.Conv2d(own, widths[i + 1], 3, stride=2, padding=1))
                self.grow.append(nn.Conv2d(widths[i + 1], own, 1))
        self.norm = _norm(widths[0])
        self.head = _zeroed(nn.Conv2d(widths[0], (outputs or channels) * 4**fold, 3, padding=1))

    def forward(
        self,
        x: Float[Tensor, "batch c h w"],
        noise_level: Float[Tensor, " batch"],
        label: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch outputs h w"]:
        """Apply the network.

        Args:
            x: Images (B, C, H, W), already scaled by c_in.
            noise_level: c_noise (B,), roughly in [-2.5, 2.5].
            label: Optional (B,) integers; `classes` means "no label".

        Raises:
            UserError: 2^fold does not divide H and W.
        """
        embedding = self.embedding(noise_level, label)
        hidden = self.stem(haar.fold(x, self.fold).contiguous(memory_format=torch.channels_last))
        skips: list[Tensor] = []
        for shrink, level in zip(self.shrink, self.down):
            hidden = level(shrink(hidden), embedding)
            skips.append(hidden)
        for i in reversed(range(len(self.up))):
            if i < len(self.grow):
                hidden = interpolate(self.grow[i](hidden), size=skips[i].shape[-2:], mode="nearest-exact")
                hidden = torch.cat([hidden, skips[i]], dim=1)
            hidden = self.up[i](hidden, embedding)
        return haar.unfold(self.head(silu(self.norm(hidden))), self.fold)
