"""Samples of a class: whether they are of it, how far from the training images, and how varied."""

from pathlib import Path

import torch
from sklearn.neighbors import KNeighborsClassifier

import diffusion_lit
from diffusion_lit.commands.build import build_data_of, build_reference
from diffusion_lit.conditional import ClassifierFree
from diffusion_lit.samplers import Heun


def measure(seed: int, *, run: Path, w: float, n: int) -> dict[str, float]:
    """The numbers of n samples, of each class as many.

    `accuracy`: share that three nearest training images take for the class asked for (.98 for held-out images), also
    `real`; `fd`: Frechet distance to the training images; `spread`: variance within the classes over that of the data.
    """
    train, test = (build_data_of(run).held_out(split) for split in ("train", "test"))
    judge = KNeighborsClassifier(3).fit(train["image"].flatten(1), train["label"])
    label = torch.arange(n) % 10
    denoiser = ClassifierFree(diffusion_lit.load(run), w, {"label": 10})
    samples = Heun(18)(denoiser, (n, *build_data_of(run).shape), seed=seed, label=label)
    return {
        "accuracy": float(judge.score(samples.flatten(1), label)),
        "real": float(judge.score(test["image"].flatten(1), test["label"])),
        "fd": build_reference(run).frechet(samples),
        "spread": _within(samples, label) / _within(train["image"], train["label"]),
    }


def _within(images: torch.Tensor, label: torch.Tensor) -> float:
    """The variance of a pixel within a class, averaged."""
    return float(sum(images[label == c].var(0).mean() for c in range(10)) / 10)
