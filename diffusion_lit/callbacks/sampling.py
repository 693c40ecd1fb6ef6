"""Evaluate generation: a grid of samples, and their Frechet and kernel distances to the data, beside two landmarks."""

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.callbacks.evaluation import Evaluation
from diffusion_lit.callbacks.pictures import Picture, to_bytes
from diffusion_lit.callbacks.share import Share
from diffusion_lit.data import ShardsDataModule
from diffusion_lit.denoise import Denoiser
from diffusion_lit.metrics.features import extract, extractor
from diffusion_lit.metrics.frechet import Gaussian, floor, gather, identity
from diffusion_lit.metrics.kernel import Features, kernel_distance
from diffusion_lit.noise import VP
from diffusion_lit.samplers import Sampler

__all__ = ["Sampling"]


class Sampling:
    """Draw n images, ids 0..n-1, and compare them with the training images.

    Args:
        sampler: how images are drawn.
        n: how many; a distance depends on it, so it is part of the metric's name.
        extractors: names of feature extractors; none draws the grid only.
        seed: with an id it names a sample.
        batch_size: images drawn at a time.
        grid: images in the picture.
        landmarks: also report the full-covariance Gaussian fitted to the training images ("gaussian") and real held-out
            images ("floor"), at the same n.
    """

    def __init__(
        self,
        sampler: Sampler,
        n: int = 64,
        extractors: Sequence[str] = (),
        seed: int = 0,
        batch_size: int = 256,
        grid: int = 64,
        landmarks: bool = False,
    ):
        self.sampler, self.n, self.extractors, self.seed = sampler, n, tuple(extractors), seed
        self.batch_size, self.grid, self.landmarks = batch_size, grid, landmarks
        self._reference: dict[str, tuple[Gaussian, Tensor]] = {}

    def __call__(self, denoiser: Denoiser, data: ShardsDataModule, share: Share, weights: str) -> Evaluation:
        began = time.perf_counter()
        ids = torch.tensor(share.of(self.n), dtype=torch.int64)
        images = torch.cat(
            [
                self.sampler(denoiser, (len(part), *data.shape), seed=self.seed, ids=part)
                for part in ids.split(self.batch_size)
            ]
        ).clamp(-1, 1)
        found = Evaluation()
        found.metrics["samples/seconds"] = time.perf_counter() - began
        how = f"{weights}/{type(self.sampler).__name__.lower()}-{self.sampler.nfe}"
        for name in self.extractors:
            found.metrics |= self._distances(name, images, data, share, how)
        rows = max(1, int(min(self.grid, len(images)) ** 0.5))
        shown = images[: rows * rows].reshape(rows, rows, *data.shape)
        about = {"sampler": type(self.sampler).__name__, "nfe": self.sampler.nfe, "n": rows * rows, "weights": weights}
        found.pictures.append(Picture("samples/{images_seen}", shown, about))
        return found

    def _distances(self, name: str, images: Tensor, data: ShardsDataModule, share: Share, how: str) -> dict[str, float]:
        features = extractor(name, str(images.device))
        reference, real = self._real(name, data, share, images.device)

        def gathered(x: Tensor) -> tuple[Gaussian, Tensor]:
            return _gather(extract(features, _as_seen(x)))

        moments, drawn = gathered(images)
        fd, kd = identity("fd", features.identity, self.n), identity("kd", features.identity, self.n)
        result = {f"{fd}/{how}": reference.distance(moments), f"{kd}/{how}": kernel_distance(drawn, real)}
        if self.landmarks:
            train = data.images("train")
            gaussian = GaussianDenoiser.fit(train, VP()).sample(self.n, self.seed).float().clamp(-1, 1)
            result[f"{fd}/gaussian"] = reference.distance(gathered(gaussian[torch.tensor(share.of(self.n))])[0])
            held_out = torch.cat([data.images(split) for split in data.splits if split != "train"])
            n = min(self.n, len(held_out))
            result[f"{identity('fd', features.identity, n)}/floor"] = floor(
                reference, extract(features, held_out[:n].to(images.device)), n
            )
        return result

    def _real(self, name: str, data: ShardsDataModule, share: Share, device: torch.device) -> tuple[Gaussian, Tensor]:
        """Moments and features of the training images, found once: the reference of every distance."""
        if name not in self._reference:
            features = extractor(name, str(device))
            train = data.images("train")
            own = train[torch.tensor(share.of(len(train)))].to(device)
            self._reference[name] = _gather(extract(features, own))
        return self._reference[name]


def _gather(features: Tensor) -> tuple[Gaussian, Tensor]:
    """The moments and the features of all processes together; collective."""
    rows = Features().to(features.device)
    rows.update(features)
    return gather(features), rows.compute()


def _as_seen(images: Tensor) -> Tensor:
    """Round to the bytes that an image file holds, as the training images were."""
    return to_bytes(images).to(images) / 127.5 - 1
