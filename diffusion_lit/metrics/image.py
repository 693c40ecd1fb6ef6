"""Per-image fidelity: PSNR, over all pixels or those of a mask, and SSIM."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from diffusion_lit.errors import UserError

__all__ = ["psnr", "ssim"]

# Side of SSIM's Gaussian window of standard deviation 1.5, truncated at 3.5 standard deviations.
WINDOW = 11


def psnr(
    images: Float[Tensor, "batch *event"],
    references: Float[Tensor, "batch *event"],
    mask: Bool[Tensor, "..."] | None = None,
    data_range: float = 2.0,
) -> Float[Tensor, " batch"]:
    """Peak signal-to-noise ratio of each image, 10 log10(data_range^2 / MSE), in dB; infinite when equal.

    Args:
        images, references: (B, ...), both in the same units.
        mask: True where a pixel counts (for instance the hidden ones); broadcasts against images. None counts all.
        data_range: Largest minus smallest possible value; 2 for images in [-1, 1].

    Raises:
        UserError: The mask does not broadcast against the images, or selects no pixel of one.
    """
    squared = (images - references).square()
    weights = torch.ones_like(squared)
    if mask is not None:
        try:
            weights = mask.to(squared).expand_as(squared)
        except RuntimeError:
            raise UserError(
                f"mask: shape {tuple(mask.shape)} does not fit images of shape {tuple(images.shape)}; "
                "give one value per pixel, (H, W), (1, H, W) or (B, 1, H, W)."
            ) from None
    counts = weights.flatten(1).sum(dim=1)
    if not counts.all():
        raise UserError("mask: it selects no pixel of some image, so there is no PSNR there; mark pixels with True.")
    mse = (squared * weights).flatten(1).sum(dim=1) / counts
    return 10 * torch.log10(data_range**2 / mse)


def ssim(
    images: Float[Tensor, "batch c h w"], references: Float[Tensor, "batch c h w"], data_range: float = 2.0
) -> Float[Tensor, " batch"]:
    """Structural similarity of each image, at most 1, with the Gaussian window of 11 pixels.

    Wang et al., "Image quality assessment: from error visibility to structural similarity" (2004), Eq. 13.

    Args:
        images, references: (B, C, H, W), both in the same units.
        data_range: Largest minus smallest possible value; 2 for images in [-1, 1].

    Raises:
        UserError: A side is shorter than the window.
    """
    if min(images.shape[-2:]) < WINDOW:
        raise UserError(
            f"ssim: images of {images.shape[-2]} x {images.shape[-1]} are smaller than the {WINDOW}-pixel window; "
            "use psnr for them, or enlarge both sides first."
        )
    _, similarity = structural_similarity_index_measure(
        images, references, data_range=data_range, reduction="none", return_full_image=True
    )
    # Only windows that lie inside the image count, as in the paper's code and scikit-image.
    edge = WINDOW // 2
    return similarity[..., edge:-edge, edge:-edge].flatten(1).mean(dim=1)
