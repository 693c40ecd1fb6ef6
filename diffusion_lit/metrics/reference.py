"""Real images as a feature extractor sees them: what samples are compared with."""

from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.metrics.features import Extractor, extract
from diffusion_lit.metrics.frechet import Moments, gather
from diffusion_lit.metrics.kernel import Features, collect, kernel_distance

__all__ = ["Reference"]

_KEPT = 50_000  # images whose features are kept


class Reference:
    """Real images as an extractor sees them. Collective: every process gives its part of the images, once or never.

    Kept are the moments of their features, and, for kernel distances, whose expectation does not depend on how many
    there are, the features of the first 50,000: so the memory does not grow with the data.

    Args:
        batches: with "image" (B, C, H, W) in [-1, 1], as decoded from bytes, and "position" (B,) among all of them.
        extractor: What sees them; batches are taken to its device.
    """

    def __init__(self, batches: Iterable[Mapping[str, Tensor]], extractor: Extractor) -> None:
        self.extractor = extractor
        device = next(extractor.parameters(), torch.zeros(())).device
        moments, rows = Moments(extractor.num_features).to(device), Features().to(device)
        for batch in batches:
            features = extract(extractor, batch["image"].to(device))
            moments.update(features)
            rows.update(features[batch["position"].to(device) < _KEPT])
        self.moments, self.features = moments.compute(), rows.compute()

    def distances(self, samples: Float[Tensor, "m c h w"]) -> tuple[float, float]:
        """Return Frechet and kernel distance of samples (M, C, H, W), rounded to bytes as real images are."""
        features = extract(self.extractor, _rounded(samples))
        return self.moments.distance(gather(features)), kernel_distance(collect(features), self.features)

    def frechet(self, samples: Float[Tensor, "m c h w"]) -> float:
        """Return the Frechet distance alone."""
        return self.moments.distance(gather(extract(self.extractor, _rounded(samples))))


def _rounded(samples: Tensor) -> Tensor:
    return ((samples.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
