"""What landmarks and baselines know of the training images: found in a pass over the shards, whatever their number."""

from functools import lru_cache

import torch
from jaxtyping import Float64
from torch import Tensor

from diffusion_lit.data import HeldOutLoader, ShardsDataModule
from diffusion_lit.metrics.frechet import Gaussian, Moments

__all__ = ["mean_image", "pixel_moments"]

_BATCH = 256  # images in memory at a time


@lru_cache(maxsize=1)
def mean_image(data: ShardsDataModule) -> Float64[Tensor, "c h w"]:
    """The mean of the training images; each process reads all of them, once."""
    total = torch.zeros(data.shape, dtype=torch.float64)
    for batch in _training_images(data):
        total += batch["image"].double().sum(0)
    return total / data.manifest.count("train")


@lru_cache(maxsize=1)
def pixel_moments(data: ShardsDataModule) -> Gaussian:
    """Mean (d,) and covariance (d, d) of the training images' pixels; each process reads all of them, once."""
    moments = Moments(data.shape[0] * data.shape[1] * data.shape[2], sync_on_compute=False)
    for batch in _training_images(data):
        moments.update(batch["image"].flatten(1))
    return moments.compute()


def _training_images(data: ShardsDataModule) -> HeldOutLoader:
    return HeldOutLoader(data.manifest, "train", _BATCH)
