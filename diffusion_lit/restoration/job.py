"""A folder of images, restored one group after the other; what fails is named and the others go on."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from diffusion_lit.denoise import Denoiser
from diffusion_lit.errors import UserError
from diffusion_lit.inverse import GaussianNoise, Measurement, Method, Operator
from diffusion_lit.restoration.case import Case, match
from diffusion_lit.restoration.folder import Folder
from diffusion_lit.restoration.inputs import Input, Shape, load_clean
from diffusion_lit.restoration.noise_level import by_likelihood, from_details, keeps_images
from diffusion_lit.restoration.outcome import describe, write
from diffusion_lit.restoration.recipes import Recipe
from diffusion_lit.restoration.sizes import Sizes, enlarge

__all__ = ["Job"]

_QUANTISED = 1 / 127.5 / 12**0.5  # the standard deviation of rounding to bytes, in units of [-1, 1]


@dataclass
class Job:
    """How the images of a folder are restored.

    Args:
        denoiser: the prior.
        trained: (C, H, W) of the images it was trained on.
        method: draws the samples.
        recipe: makes the operators.
        sigma: standard deviation of the noise in the units of y; None estimates it, image by image.
        measured: the inputs are measurements; else clean images, which are measured with noise of that sigma.
        samples: of each image.
        seed: with an image's name it names its samples.
        size: (H, W) of the restored images; None takes the input's own.
        batch: samples drawn at a time, of images of the size of training; of larger ones fewer.
    """

    denoiser: Denoiser
    trained: tuple[int, int, int]
    method: Method
    recipe: Recipe
    sigma: float | None
    measured: bool
    samples: int = 4
    seed: int = 0
    size: tuple[int, int] | None = None
    batch: int = 128

    def run(self, inputs: Sequence[Input], folder: Folder, say: Callable[[str], None] = print) -> None:
        """Restore what is not finished.

        Of several processes each takes what no other has; at the end it waits for the last of the others, and takes
        over if one dies.
        """
        waiting = self._pass(inputs, folder, say, wait=False)
        self._pass(waiting, folder, say, wait=True)

    def _pass(self, inputs: Sequence[Input], folder: Folder, say: Callable[[str], None], wait: bool) -> list[Input]:
        """Go through the inputs, a batch at a time, and return those that others are at."""
        others: list[Input] = []
        coming = list(inputs)
        while coming:
            cases: list[Case] = []
            with ExitStack() as locks:
                while coming and sum(self.samples / self._at_once(case.operator.x_shape) for case in cases) < 1:
                    entry = coming.pop(0)
                    try:
                        digest = entry.digest + self.recipe.digest(entry)
                        if folder.finished(entry, digest):
                            continue
                        if not locks.enter_context(folder.locked(f"images/{entry.stem}", wait)):
                            others.append(entry)
                        elif not folder.finished(entry, digest) and not folder.tried(entry):
                            cases.append(self._prepare(entry, digest, say))
                    except Exception as error:
                        _fail(folder, entry, error, say)
                for group in self._groups(cases):
                    self._restore_group(group, folder, say)
        return others

    def _groups(self, cases: Sequence[Case]) -> list[list[Case]]:
        """Cases that are drawn together: of one operator and one sigma, and not too large."""
        groups: dict[tuple[int, float], list[Case]] = {}
        for case in cases:
            groups.setdefault((id(case.operator), case.sigma), []).append(case)
        return [
            group[i : i + together]
            for group in groups.values()
            for together in [max(1, self._at_once(group[0].operator.x_shape) // self.samples)]
            for i in range(0, len(group), together)
        ]

    def _at_once(self, x_shape: Shape) -> int:
        """How many samples of this shape are as large as a batch of the size of training."""
        pixels, usual = (int(np.prod(shape[1:])) for shape in (x_shape, self.trained))
        return max(1, self.batch * usual // max(pixels, 1))

    def _restore_group(self, cases: Sequence[Case], folder: Folder, say: Callable[[str], None]) -> None:
        try:
            began = time.perf_counter()
            drawn = self._draw(
                [case.entry.id for case in cases], cases[0].operator, [c.y for c in cases], cases[0].sigma
            )
            seconds = (time.perf_counter() - began) / len(cases)
        except Exception as error:
            if len(cases) > 1:  # find out which
                for case in cases:
                    self._restore_group([case], folder, say)
            else:
                _fail(folder, cases[0].entry, error, say)
            return
        for case, samples in zip(cases, drawn):
            row = describe(case, samples) | {"seconds": seconds}
            write(case, samples, row, folder)
            say(f"{case.entry.name}: restored")

    def _draw(self, ids: Sequence[int], operator: Operator, ys: Sequence[Tensor], sigma: float) -> Tensor:
        """Samples (n, samples, C, H, W) of each y, on the CPU; sample j of an image is named (its id, j)."""
        larger, y = enlarge(operator, torch.stack(list(ys)), self._sizes(*operator.x_shape[1:]))
        measurement = Measurement(y, larger, GaussianNoise(sigma))
        names = torch.stack(torch.broadcast_tensors(torch.tensor(ids)[:, None], torch.arange(self.samples)), dim=-1)
        together = max(1, self._at_once(larger.x_shape) // len(ids))
        drawn = torch.cat(
            [
                self.method(self.denoiser, measurement, samples=part.shape[1], seed=self.seed, ids=part).cpu()
                for part in names.split(together, dim=1)
            ],
            dim=1,
        )
        operator.cpu()  # a method takes it to the denoiser's device
        return drawn[..., : operator.x_shape[1], : operator.x_shape[2]]

    @cached_property
    def _sizes(self) -> Sizes:
        return Sizes(self.denoiser, self.trained)

    def _prepare(self, entry: Input, digest: str, say: Callable[[str], None]) -> Case:
        channels = self.trained[0]
        if not self.measured:
            assert self.sigma is not None
            truth = load_clean(entry, channels, self.size)
            operator = self.recipe(tuple(truth.shape), entry)
            noise, ids = GaussianNoise(self.sigma), torch.tensor([entry.id])
            y = Measurement.simulate(operator, noise, truth[None], seed=self.seed, ids=ids).y[0]
            return Case(entry, digest, operator, y, self.sigma, truth)
        operator, y = match(entry, self.recipe, self.trained, self.size)
        if self.sigma is not None:
            return Case(entry, digest, operator, y, self.sigma)
        sigma, how = self._estimate(entry, operator, y)
        say(f"{entry.name}: sigma = {sigma:.3g}, estimated {how}")
        return Case(entry, digest, operator, y, sigma, how=how)

    def _estimate(self, entry: Input, operator: Operator, y: Tensor) -> tuple[float, str]:
        if not entry.is_array or keeps_images(operator):
            sigma = from_details(y, operator.observed) if y.ndim == 3 else None
            if sigma is not None and (sigma > 0 or not entry.is_array):
                return max(sigma, _QUANTISED), "from the finest details of y"
        sigma = by_likelihood(lambda at: self._draw([entry.id], at.operator, [at.y], _sigma(at))[0], y, operator)
        return sigma, "by maximum likelihood with the prior"


def _sigma(measurement: Measurement) -> float:
    return measurement.noise.variance**0.5


def _fail(folder: Folder, entry: Input, error: Exception, say: Callable[[str], None]) -> None:
    reason = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, UserError):
        reason = f"{type(error).__name__}: {reason}"
    say(f"{entry.name}: failed: {reason}")
    folder.fail(entry, reason)
