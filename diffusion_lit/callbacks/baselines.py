"""What a restoration must beat: point estimates that need no denoiser."""

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.callbacks.training_images import mean_image, pixel_moments
from diffusion_lit.data import ShardsDataModule
from diffusion_lit.inverse import Inpainting, LinearOperator, Measurement, Operator, Separable

__all__ = ["Baseline", "Bicubic", "Biharmonic", "GaussianMean", "MeanImage"]

Images = Float[Tensor, "batch c h w"]


@runtime_checkable
class Baseline(Protocol):
    """What a restoration evaluation needs of a baseline: a measurement of (B, *y_shape) -> images (B, C, H, W).

    Attributes:
        needs: the operators that it inverts.
    """

    needs: type[Operator]

    def __call__(self, measurement: Measurement, data: ShardsDataModule) -> Images: ...


class MeanImage:
    """The mean of the training images, whatever was measured."""

    needs = Operator

    def __call__(self, measurement: Measurement, data: ShardsDataModule) -> Images:
        return mean_image(data).float().expand(len(measurement.y), -1, -1, -1).clone()


class Biharmonic:
    """Smooth inpainting by the biharmonic equation (scikit-image; Damelin & Hoang 2018)."""

    needs = Inpainting

    def __call__(self, measurement: Measurement, data: ShardsDataModule) -> Images:
        from skimage.restoration import inpaint_biharmonic  # a second to import

        assert isinstance(measurement.operator, Inpainting)
        hidden = measurement.operator.hidden.any(0).numpy()
        images = measurement.y.permute(0, 2, 3, 1).double().numpy()
        restored = [inpaint_biharmonic(image, hidden, channel_axis=-1) for image in images]
        return torch.from_numpy(np.stack(restored)).permute(0, 3, 1, 2).float()


class Bicubic:
    """Blow a smaller measurement up to the image by cubic splines; one of the image's size is left as it is."""

    needs = Separable

    def __call__(self, measurement: Measurement, data: ShardsDataModule) -> Images:
        size = measurement.operator.x_shape[-2:]
        return torch.nn.functional.interpolate(measurement.y, size=size, mode="bicubic", align_corners=False).float()


class GaussianMean:
    """The exact posterior mean under the full-covariance Gaussian fitted to the training images: the linear bar.

    E[x | y] = m + C A^T (A C A^T + sigma^2 I)^-1 (y - A m)
    """

    needs = LinearOperator

    def __call__(self, measurement: Measurement, data: ShardsDataModule) -> Images:
        _, mean, covariance = pixel_moments(data)
        matrix = measurement.linear.matrix()
        cross = matrix @ covariance  # (d_y, d)
        innovation = cross @ matrix.mT + measurement.noise.covariance(len(matrix))
        residual = measurement.values.double() - matrix @ mean
        restored = mean + residual @ torch.linalg.solve(innovation, cross)
        return restored.reshape(-1, *measurement.operator.x_shape).float()
