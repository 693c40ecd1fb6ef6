"""Real images as a feature extractor sees them: what samples are compared with."""

from jaxtyping import Float
from torch import Tensor

from diffusion_lit.metrics.features import Extractor, extract
from diffusion_lit.metrics.frechet import Gaussian, gather
from diffusion_lit.metrics.kernel import Features, kernel_distance

__all__ = ["Reference"]


class Reference:
    """Real images as an extractor sees them. Collective: every process gives its part of the images, once or never.

    Args:
        images: (N, C, H, W) in [-1, 1], as they are decoded from bytes.
        extractor: What sees them.
    """

    def __init__(self, images: Float[Tensor, "n c h w"], extractor: Extractor) -> None:
        self.extractor = extractor
        self.moments, self.features = self._see(images)

    def distances(self, samples: Float[Tensor, "m c h w"]) -> tuple[float, float]:
        """Return Frechet and kernel distance of samples (M, C, H, W), rounded to bytes as real images are."""
        moments, features = self._see(_rounded(samples))
        return self.moments.distance(moments), kernel_distance(features, self.features)

    def frechet(self, samples: Float[Tensor, "m c h w"]) -> float:
        """Return the Frechet distance alone."""
        return self.moments.distance(gather(extract(self.extractor, _rounded(samples))))

    def _see(self, images: Tensor) -> tuple[Gaussian, Tensor]:
        features = extract(self.extractor, images)
        rows = Features().to(features.device)
        rows.update(features)
        return gather(features), rows.compute()


def _rounded(samples: Tensor) -> Tensor:
    return ((samples.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
