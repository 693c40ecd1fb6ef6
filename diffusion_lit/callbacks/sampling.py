"""Evaluate generation: a grid of samples, and their Frechet and kernel distances to the data, beside two landmarks."""

import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.callbacks.evaluation import Evaluation
from diffusion_lit.callbacks.pictures import Picture
from diffusion_lit.callbacks.share import Share
from diffusion_lit.callbacks.training_images import pixel_moments
from diffusion_lit.data import ShardsDataModule
from diffusion_lit.denoise import Denoiser
from diffusion_lit.metrics.features import extract, extractor
from diffusion_lit.metrics.frechet import floor, identity
from diffusion_lit.metrics.reference import Reference
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
        self._reference: dict[str, Reference] = {}

    def __call__(self, denoiser: Denoiser, data: ShardsDataModule, share: Share, weights: str) -> Evaluation:
        began = time.perf_counter()
        part, drawn = share.part(self.n), []
        for ids in part.samples.split(self.batch_size):
            share.check()
            drawn.append(self.sampler(denoiser, (len(ids), *data.shape), seed=self.seed, ids=ids))
        images = torch.cat(drawn).clamp(-1, 1)
        found = Evaluation()
        found.metrics["samples/seconds"] = time.perf_counter() - began
        how = f"{weights}/{type(self.sampler).__name__.lower()}-{self.sampler.nfe}"
        share.meet()
        for name in self.extractors:
            found.metrics |= self._distances(name, images[: part.count], data, share, how)
        rows = int(min(self.grid, self.n) ** 0.5)
        shown = part.gather(images, images.device, first=rows * rows).reshape(rows, rows, *data.shape)
        about = {"sampler": type(self.sampler).__name__, "nfe": self.sampler.nfe, "n": rows * rows, "weights": weights}
        found.pictures.append(Picture("samples/{images_seen}", shown, about))
        return found

    def _distances(self, name: str, images: Tensor, data: ShardsDataModule, share: Share, how: str) -> dict[str, float]:
        if name not in self._reference:  # the training images, seen once
            self._reference[name] = Reference(_read(data, share), extractor(name, str(images.device)))
        reference = self._reference[name]
        seen_by = reference.extractor.identity
        frechet, kernel = reference.distances(images)
        fd, kd = identity("fd", seen_by, self.n), identity("kd", seen_by, self.n)
        result = {f"{fd}/{how}": frechet, f"{kd}/{how}": kernel}
        if self.landmarks:
            _, mean, covariance = pixel_moments(data)
            gaussian = GaussianDenoiser(mean.reshape(data.shape), covariance, VP()).sample(self.n, self.seed).float()
            result[f"{fd}/gaussian"] = reference.frechet(gaussian[torch.tensor(share.of(self.n))])
            held_out = _held_out(data, self.n)
            n = len(held_out)
            seen = extract(reference.extractor, held_out.to(images.device))
            result[f"{identity('fd', seen_by, n)}/floor"] = floor(reference.moments, seen, n)
        return result


def _read(data: ShardsDataModule, share: Share) -> Iterator[dict[str, Tensor]]:
    """This process's share of the training images; at its end all wait for each other."""
    for batch in data.share("train"):
        share.check()
        yield batch
    share.meet()


def _held_out(data: ShardsDataModule, n: int) -> Tensor:
    """The first n images that are not trained on, or all if there are fewer."""
    found: list[Tensor] = []
    for split in [split for split in data.splits if split != "train"]:
        left = n - sum(map(len, found))
        if left:
            found.append(data.held_out(split, min(left, data.manifest.count(split)))["image"])
    return torch.cat(found)
