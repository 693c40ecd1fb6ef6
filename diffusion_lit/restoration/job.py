"""A folder of images, restored one group after the other; what fails is named and the others go on."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from diffusion_lit.callbacks.pictures import to_bytes, write_png
from diffusion_lit.denoise import Denoiser
from diffusion_lit.errors import UserError
from diffusion_lit.files import writing
from diffusion_lit.inverse import GaussianNoise, Measurement, Method, Operator
from diffusion_lit.metrics.image import WINDOW, psnr, ssim
from diffusion_lit.restoration.folder import Folder
from diffusion_lit.restoration.inputs import Input, Shape, load_clean, load_measured, own_shape
from diffusion_lit.restoration.noise_level import by_likelihood, from_details, keeps_images
from diffusion_lit.restoration.recipes import Recipe
from diffusion_lit.restoration.sizes import Sizes, enlarge

__all__ = ["Job"]

_QUANTISED = 1 / 127.5 / 12**0.5  # the standard deviation of rounding to bytes, in units of [-1, 1]


@dataclass
class _Case:
    """One image to restore; `how` says where sigma is from if it was estimated."""

    entry: Input
    digest: str
    operator: Operator
    y: Tensor
    sigma: float
    truth: Tensor | None = None
    how: str = ""


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
            cases: list[_Case] = []
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

    def _groups(self, cases: Sequence[_Case]) -> list[list[_Case]]:
        """Cases that are drawn together: of one operator and one sigma, and not too large."""
        groups: dict[tuple[int, float], list[_Case]] = {}
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

    def _restore_group(self, cases: Sequence[_Case], folder: Folder, say: Callable[[str], None]) -> None:
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
            row = self._row(case, samples) | {"seconds": seconds}
            self._write(case, samples, row, folder)
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

    # -- what is read ------------------------------------------------------------------------------------------------

    def _prepare(self, entry: Input, digest: str, say: Callable[[str], None]) -> _Case:
        channels = self.trained[0]
        if not self.measured:
            assert self.sigma is not None
            truth = load_clean(entry, channels, self.size)
            operator = self.recipe(tuple(truth.shape), entry)
            noise, ids = GaussianNoise(self.sigma), torch.tensor([entry.id])
            y = Measurement.simulate(operator, noise, truth[None], seed=self.seed, ids=ids).y[0]
            return _Case(entry, digest, operator, y, self.sigma, truth)
        operator, y = self._match(entry)
        if self.sigma is not None:
            return _Case(entry, digest, operator, y, self.sigma)
        sigma, how = self._estimate(entry, operator, y)
        say(f"{entry.name}: sigma = {sigma:.3g}, estimated {how}")
        return _Case(entry, digest, operator, y, sigma, how=how)

    def _match(self, entry: Input) -> tuple[Operator, Tensor]:
        """The operator whose y has the size of the file: of an x as large as y, larger in proportion, or as trained."""
        channels, *trained = self.trained
        own = own_shape(entry)
        tried: dict[Shape, str] = {}
        for size in [self.size] if self.size else [own, self._in_proportion(entry, own), tuple(trained)]:
            if size is None or (channels, *size) in tried:
                continue
            shape = (channels, *size)
            try:
                operator = self.recipe(shape, entry)
            except UserError as error:
                tried[shape] = str(error)
                continue
            y = load_measured(entry, operator.y_shape, channels)
            if y is not None:
                seen = operator.observed
                return operator, y if seen is None else torch.where(seen, y, 0.0)
            tried[shape] = f"y of {operator.y_shape}"
        found = "; ".join(f"an image of {shape} has {what}" for shape, what in tried.items())
        size = f"a {own[0]} x {own[1]} image" if own else "no image"
        raise UserError(f"y is {size}, which fits no size of x ({found}); give size=H,W of the restored image")

    def _in_proportion(self, entry: Input, own: tuple[int, int] | None) -> tuple[int, int] | None:
        try:
            y_shape = self.recipe(self.trained, entry).y_shape
        except UserError:
            return None
        if own is None or len(y_shape) != 3:
            return None
        height, width = (round(side * x / y) for side, x, y in zip(own, self.trained[1:], y_shape[1:]))
        return height, width

    def _estimate(self, entry: Input, operator: Operator, y: Tensor) -> tuple[float, str]:
        if not entry.is_array or keeps_images(operator):
            sigma = from_details(y, operator.observed) if y.ndim == 3 else None
            if sigma is not None and (sigma > 0 or not entry.is_array):
                return max(sigma, _QUANTISED), "from the finest details of y"
        sigma = by_likelihood(lambda at: self._draw([entry.id], at.operator, [at.y], _sigma(at))[0], y, operator)
        return sigma, "by maximum likelihood with the prior"

    # -- what is written ---------------------------------------------------------------------------------------------

    def _row(self, case: _Case, samples: Tensor) -> dict[str, float | str]:
        """What is said of one image; scores are of what would be shown, clamped to [-1, 1]."""
        mean, operator = samples.mean(0).clamp(-1, 1)[None], case.operator
        row: dict[str, float | str] = {"size": " x ".join(map(str, operator.x_shape[1:])), "sigma": case.sigma}
        if case.how:
            row["sigma_from"] = case.how
        if case.truth is not None:
            truth = case.truth[None]
            row |= {"psnr": float(psnr(mean, truth)), "psnr_sample": float(psnr(samples[:1].clamp(-1, 1), truth))}
            if operator.hidden is not None:
                row["psnr_hidden"] = float(psnr(mean, truth, operator.hidden))
            if min(truth.shape[-2:]) >= WINDOW:
                row["ssim"] = float(ssim(mean, truth))
        if case.sigma > 0:
            measurement = Measurement(case.y, operator, GaussianNoise(case.sigma))
            row["misfit_ratio"] = float(measurement.misfit(samples).mean()) / measurement.expected_misfit
        if len(samples) > 1:
            row["deviation"] = float(samples.var(0).mean().sqrt())
        return row

    def _write(self, case: _Case, samples: Tensor, row: dict[str, float | str], folder: Folder) -> None:
        mean = samples.mean(0)
        arrays = {"samples": samples, "mean": mean}
        pictures = {"measured": case.y, "truth": case.truth, "sample": samples[0], "mean": mean}
        if len(samples) > 1:
            arrays["deviation"] = samples.std(0)
            # over the colours, so bright that it can be seen
            deviation = samples.var(0).mean(0, keepdim=True).sqrt()
            white = max(float(deviation.flatten().quantile(0.999)) if deviation.numel() < 2**24 else 1.0, 1e-6)
            row["deviation_white"] = white
            pictures["deviation"] = 2 * deviation / white - 1
        with writing(folder.place("arrays", case.entry, ".npz")) as aside, open(aside, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, **{name: values.numpy() for name, values in arrays.items()})
        for kind, image in pictures.items():
            if image is not None and image.ndim == 3 and image.shape[0] in (1, 3):
                write_png(folder.place(kind, case.entry, ".png"), to_bytes(image).permute(1, 2, 0))
        folder.finish(case.entry, case.digest, row)


def _sigma(measurement: Measurement) -> float:
    return measurement.noise.variance**0.5


def _fail(folder: Folder, entry: Input, error: Exception, say: Callable[[str], None]) -> None:
    reason = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, UserError):
        reason = f"{type(error).__name__}: {reason}"
    say(f"{entry.name}: failed: {reason}")
    folder.fail(entry, reason)
