"""Evaluate restoration: operators x methods on fixed held-out images, against the truth and against baselines."""

import time
from collections.abc import Callable, Mapping
from functools import cached_property

import torch
from torch import Tensor

from diffusion_lit.callbacks.baselines import Baseline
from diffusion_lit.callbacks.evaluation import Evaluation
from diffusion_lit.callbacks.pictures import Picture
from diffusion_lit.callbacks.share import Part, Share
from diffusion_lit.data import ShardsDataModule
from diffusion_lit.denoise import Denoiser
from diffusion_lit.inverse import GaussianNoise, LinearOperator, Measurement, Method, Operator, Separable
from diffusion_lit.metrics.coverage import covered
from diffusion_lit.metrics.features import extract, extractor
from diffusion_lit.metrics.frechet import Gaussian, gather
from diffusion_lit.metrics.image import WINDOW, psnr, ssim
from diffusion_lit.metrics.lpips import LPIPS
from diffusion_lit.metrics.trunks import Net

__all__ = ["Restoration", "draw", "misfit", "strips"]


class Restoration:
    """Measure n held-out images, draw several posterior samples of each, and compare with the truth.

    Args:
        operators: name -> (shape=(C, H, W)) -> operator.
        methods: name -> posterior method.
        n: held-out images, the first ids of the split, the same at every evaluation.
        samples: posterior samples of an image.
        sigma: standard deviation of the measurement's noise, in the units of y.
        split: where the images are from.
        seed: of the measurements' noise and of the samples.
        batch_size: samples drawn at a time.
        baselines: name -> point estimate, evaluated on the operators that they invert.
        lpips: trunk of the perceptual distance.
        shown: images in the picture.
    """

    def __init__(
        self,
        operators: Mapping[str, Callable[..., Operator]],
        methods: Mapping[str, Method],
        n: int = 16,
        samples: int = 4,
        sigma: float = 0.05,
        split: str = "test",
        seed: int = 0,
        batch_size: int = 256,
        baselines: Mapping[str, Baseline] | None = None,
        lpips: Net = "alex",
        shown: int = 8,
    ):
        self.operators, self.methods, self.baselines = dict(operators), dict(methods), dict(baselines or {})
        self.n, self.samples, self.noise, self.split, self.seed = n, samples, GaussianNoise(sigma), split, seed
        self.batch_size, self.shown = batch_size, shown
        self.lpips: Net = lpips

    def __call__(self, denoiser: Denoiser, data: ShardsDataModule, share: Share, weights: str) -> Evaluation:
        held_out = data.held_out(self.split, self.n)
        part = share.part(self.n)
        truth, ids = held_out["image"][part.samples], held_out["id"][part.samples]
        found = Evaluation()
        for task, make in self.operators.items():
            operator = make(shape=data.shape)
            measurement = Measurement.simulate(operator, self.noise, truth, seed=self.seed, ids=ids)
            for name, method in self.methods.items():
                self._restore(found, task, name, denoiser, method, measurement, truth, ids, part, weights)
            fitting = {k: b for k, b in self.baselines.items() if isinstance(operator, b.needs)}
            for name, baseline in fitting.items():
                estimate, device = baseline(measurement, data), denoiser.reference.device
                numbers = part.mean(self._scores(estimate, truth, operator), device)
                numbers["fd"] = _moments(estimate, part, device).distance(_moments(truth, part, device))
                found.metrics |= {f"restoration/{task}/{name}/{k}": v for k, v in numbers.items()}
        return found

    def _restore(
        self,
        found: Evaluation,
        task: str,
        name: str,
        denoiser: Denoiser,
        method: Method,
        measurement: Measurement,
        truth: Tensor,
        ids: Tensor,
        part: Part,
        weights: str,
    ) -> None:
        device = denoiser.reference.device
        began = time.perf_counter()
        # sample j of image i is named (i, j), so it is the same in any chunk and on any process
        names = torch.stack(torch.broadcast_tensors(ids[:, None], torch.arange(self.samples)), dim=-1)
        drawn = draw(method, denoiser, measurement, names, self.seed, self.batch_size, part.share.check).to(truth)
        seconds = (time.perf_counter() - began) / max(1, len(truth) * self.samples)
        first, mean = drawn[:, 0], drawn.mean(1)
        scores = self._scores(mean, truth, measurement.operator)
        scores |= {f"{k}_sample": v for k, v in self._scores(first, truth, measurement.operator).items()}
        scores["misfit"] = misfit(measurement, drawn)
        scores["coverage_90"] = covered(drawn, truth, 0.9)
        numbers = part.mean(scores, device)
        restored, real = (_moments(images, part, device) for images in (first, truth))
        numbers |= {
            "fd": restored.distance(real),
            "misfit_expected": measurement.expected_misfit,
            "misfit_ratio": numbers["misfit"] / measurement.expected_misfit,
            "nfe": method.nfe,
            "vjps": method.vjps,
            "seconds": seconds,
        }
        found.metrics |= {f"restoration/{task}/{name}/{weights}/{k}": v for k, v in numbers.items()}
        several = min(3, self.samples)
        images = part.gather(strips(measurement, truth, drawn, several), device, self.shown)
        rows = torch.stack([ids.double(), *(scores[key].double() for key in ("psnr", "lpips"))], 1)
        found.pictures.append(_picture(task, name, images, part.gather(rows, device, self.shown), numbers))

    def _scores(self, restored: Tensor, truth: Tensor, operator: Operator) -> dict[str, Tensor]:
        """Per-image scores (B,); images are clamped to [-1, 1], as they would be shown."""
        restored = restored.clamp(-1, 1)
        scores = {
            "psnr": psnr(restored, truth),
            "lpips": self._perceptual(restored, truth),
        }
        if min(truth.shape[-2:]) >= WINDOW:  # smaller images have no SSIM
            scores["ssim"] = ssim(restored, truth)
        if operator.hidden is not None:
            scores["psnr_hidden"] = psnr(restored, truth, operator.hidden.cpu())
        return scores

    @cached_property
    def _perceptual(self) -> LPIPS:
        return LPIPS(self.lpips)


def draw(
    method: Method,
    denoiser: Denoiser,
    measurement: Measurement,
    ids: Tensor,
    seed: int,
    batch_size: int,
    before_each: Callable[[], None] = lambda: None,
) -> Tensor:
    """Draw samples of each y of a batched measurement, about `batch_size` at a time, on the denoiser's device.

    Args:
        ids: (n, samples) or (n, samples, names): the samples' names; see `Method`.
        before_each: is called before each batch.

    Returns:
        (n, samples, C, H, W), on the CPU.
    """
    device, samples = denoiser.reference.device, ids.shape[1]
    chunk = max(1, batch_size // samples)
    drawn = []
    for y, names in zip(measurement.y.split(chunk), ids.split(chunk)):
        before_each()
        part = Measurement(y.to(device), measurement.operator, measurement.noise)
        drawn.append(method(denoiser, part, samples=samples, seed=seed, ids=names.to(device)).cpu())
    measurement.operator.cpu()  # a method takes it to the denoiser's device
    return torch.cat(drawn)


def misfit(measurement: Measurement, drawn: Tensor) -> Tensor:
    """||y - A x|| / sigma of each image (n,), averaged over its samples (n, samples, C, H, W)."""
    return torch.stack([measurement.misfit(sample) for sample in drawn.unbind(1)]).mean(0)


def strips(measurement: Measurement, truth: Tensor, drawn: Tensor, several: int) -> Tensor:
    """Truth, measurement, `several` samples, mean and standard deviation of each image, as one row of a panel each.

    Args:
        truth: (n, C, H, W).
        drawn: (n, samples, C, H, W).

    Returns:
        (n, several + 4, C, H, W); a standard deviation of 0 is black and of 1 white.
    """
    measured = measurement.y
    if isinstance(measurement.operator, Separable):  # a smaller measurement is shown as large as the image
        measured = torch.nn.functional.interpolate(measured, size=truth.shape[-2:], mode="nearest")
    elif measured.shape[1:] != truth.shape[1:]:  # not an image: what it says of one without a prior
        linear = isinstance(measurement.operator, LinearOperator)
        measured = measurement.linear.pinv(measured).to(truth) if linear else torch.zeros_like(truth)
    spread = drawn.std(1) if drawn.shape[1] > 1 else torch.zeros_like(truth)
    return torch.stack([truth, measured, *drawn[:, :several].unbind(1), drawn.mean(1), spread * 2 - 1], dim=1)


def _picture(task: str, method: str, images: Tensor, rows: Tensor, numbers: dict[str, float]) -> Picture:
    """Strips (rows, several + 4, C, H, W) of images, with id, PSNR and LPIPS (of the mean) of each row."""
    several = images.shape[1] - 4
    columns = ["truth", "measurement", *[f"sample {j + 1}" for j in range(several)], "mean", "standard deviation"]
    ids, psnr, lpips = rows.T.tolist()
    about = {"operator": task, "method": method, "columns": columns, "ids": [int(i) for i in ids], "metrics": numbers}
    about["scores"] = {"psnr": psnr, "lpips": lpips}
    return Picture(f"restorations/{{images_seen}}/{task}--{method}", images, about)


def _moments(images: Tensor, part: Part, device: torch.device) -> Gaussian:
    """Moments of the AlexNet features of the images of all processes; collective."""
    mine = images[: part.count].clamp(-1, 1).to(device)
    return gather(extract(extractor("alex", str(device)), mine))
