"""Evaluate restoration: operators x methods on fixed held-out images, against the truth and against baselines."""

import time
from collections.abc import Callable, Mapping
from functools import cached_property

import torch
from torch import Tensor

from diffusion_lit.callbacks.baselines import Baseline
from diffusion_lit.callbacks.evaluation import Evaluation
from diffusion_lit.callbacks.pictures import Picture
from diffusion_lit.callbacks.share import Share, mean_over_all
from diffusion_lit.data import ShardsDataModule
from diffusion_lit.denoise import Denoiser
from diffusion_lit.inverse import GaussianNoise, Measurement, Method, Operator
from diffusion_lit.metrics.features import extract, extractor
from diffusion_lit.metrics.frechet import Gaussian, Moments, frechet_distance
from diffusion_lit.metrics.image import WINDOW, psnr, ssim
from diffusion_lit.metrics.lpips import LPIPS
from diffusion_lit.metrics.trunks import Net

__all__ = ["Restoration"]


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
        mine = torch.tensor(share.of(self.n))
        truth, ids = held_out["image"][mine], held_out["id"][mine]
        found = Evaluation()
        for task, make in self.operators.items():
            operator = make(shape=data.shape)
            measurement = Measurement.simulate(operator, self.noise, truth, seed=self.seed, ids=ids)
            for name, method in self.methods.items():
                self._restore(found, f"{task}", name, denoiser, method, measurement, truth, ids, weights)
            fitting = {k: b for k, b in self.baselines.items() if isinstance(operator, b.needs)}
            for name, baseline in fitting.items():
                scores = self._scores(baseline(measurement, data), truth, operator)
                numbers = mean_over_all(scores, denoiser.reference.device)
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
        weights: str,
    ) -> None:
        device = denoiser.reference.device
        began = time.perf_counter()
        # sample j of image i is named (i, j), so it is the same in any chunk and on any process
        names = torch.stack(torch.broadcast_tensors(ids[:, None], torch.arange(self.samples)), dim=-1)
        chunk = max(1, self.batch_size // self.samples)
        drawn = torch.cat(
            [
                method(
                    denoiser,
                    Measurement(y.to(device), measurement.operator, measurement.noise),
                    samples=self.samples,
                    seed=self.seed,
                    ids=names_of_y.to(device),
                ).to(truth)
                for y, names_of_y in zip(measurement.y.split(chunk), names.split(chunk))
            ]
        )  # (n, samples, C, H, W)
        seconds = (time.perf_counter() - began) / max(1, len(truth) * self.samples)
        first, mean = drawn[:, 0], drawn.mean(1)
        scores = self._scores(mean, truth, measurement.operator)
        scores |= {f"{k}_sample": v for k, v in self._scores(first, truth, measurement.operator).items()}
        operator = measurement.operator.cpu()
        fits = [
            Measurement(measurement.y, operator, measurement.noise).misfit(drawn[:, j]) for j in range(self.samples)
        ]
        scores["misfit"] = torch.stack(fits).mean(0)
        numbers = mean_over_all(scores, device)
        moments = [_moments(images, device) for images in (first, truth)]
        numbers |= {
            "fd": frechet_distance(moments[0].mean, moments[0].covariance, moments[1].mean, moments[1].covariance),
            "misfit_expected": measurement.expected_misfit,
            "misfit_ratio": numbers["misfit"] / measurement.expected_misfit,
            "nfe": method.nfe,
            "vjps": method.vjps,
            "seconds": seconds,
        }
        found.metrics |= {f"restoration/{task}/{name}/{weights}/{k}": v for k, v in numbers.items()}
        found.pictures.append(self._picture(task, name, measurement, truth, drawn, ids, numbers))

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

    def _picture(
        self,
        task: str,
        name: str,
        measurement: Measurement,
        truth: Tensor,
        drawn: Tensor,
        ids: Tensor,
        numbers: dict[str, float],
    ) -> Picture:
        rows, several = slice(self.shown), min(3, self.samples)
        columns = ["truth", "measurement", *[f"sample {j + 1}" for j in range(several)], "mean", "standard deviation"]
        measured = measurement.y[rows]
        if measured.shape[1:] != truth.shape[1:]:  # a smaller measurement is shown as large as the image
            measured = torch.nn.functional.interpolate(measured, size=truth.shape[-2:], mode="nearest")
        elif measurement.operator.observed is not None:  # what is hidden is shown grey
            measured = torch.where(measurement.operator.observed.cpu(), measured, 0.0)
        spread = drawn[rows].std(1) * 2 - 1 if self.samples > 1 else torch.full_like(truth[rows], -1.0)
        images = torch.stack(
            [truth[rows], measured, *drawn[rows, :several].unbind(1), drawn[rows].mean(1), spread], dim=1
        )
        about = {"operator": task, "method": name, "columns": columns, "ids": ids[rows].tolist(), "metrics": numbers}
        return Picture(f"restorations/{{images_seen}}/{task}--{name}", images, about)


def _moments(images: Tensor, device: torch.device) -> Gaussian:
    """Moments of the AlexNet features of the images of all processes; collective."""
    features = extractor("alex", str(device))
    moments = Moments(features.num_features).to(device)
    moments.update(extract(features, images.clamp(-1, 1).to(device)))
    return moments.compute()
