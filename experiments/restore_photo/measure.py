"""One held-out photo, measured and restored whole: by a method with a trained denoiser, or by an estimate without."""

import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

import diffusion_lit
from diffusion_lit.callbacks import Bicubic, Biharmonic
from diffusion_lit.commands.build import build_data_of
from diffusion_lit.data import ShardsDataModule
from diffusion_lit.inverse import GaussianNoise, Measurement, Separable, methods
from diffusion_lit.inverse.operators import operators
from diffusion_lit.metrics.image import psnr, ssim
from diffusion_lit.metrics.lpips import LPIPS
from diffusion_lit.reproduction import Results

FOLDER = Path(__file__).parent


class Wiener:
    """Wiener's filter with a smooth prior; both its variances are estimated (Orieux et al. 2010, scikit-image)."""

    needs = Separable

    def __call__(self, measurement: Measurement, data: ShardsDataModule) -> Tensor:
        from skimage.restoration import unsupervised_wiener

        assert isinstance(measurement.operator, Separable)
        rows, columns = (
            matrix[len(matrix) // 2] for matrix in (measurement.operator.rows, measurement.operator.columns)
        )
        kernel = torch.outer(rows[rows > 0], columns[columns > 0]).numpy()
        edge = 2 * len(kernel)  # the filter is circular, the blur mirrors the image at its edges
        wide = np.pad(measurement.y[0].double().numpy(), ((0, 0), (edge, edge), (edge, edge)), mode="symmetric")
        restored = np.stack([np.asarray(unsupervised_wiener(channel, kernel, rng=0)[0]) for channel in wide])
        return torch.from_numpy(restored[None, :, edge:-edge, edge:-edge]).float()


BASELINES = {"bicubic": Bicubic(), "Wiener": Wiener(), "biharmonic": Biharmonic()}


class Restored(NamedTuple):
    """What was seen of the photo, and what was made of it."""

    truth: Tensor  # (1, 3, H, W)
    measurement: Measurement
    drawn: Tensor  # (samples, 3, H, W); one for a baseline
    cost: dict[str, float]


def photo(crop: int) -> Tensor:
    """The middle of scikit-image's cat, (1, 3, crop, crop) in [-1, 1]; the source `photos` has it in its test split."""
    from skimage.data import chelsea

    image = torch.from_numpy(np.array(chelsea())).permute(2, 0, 1).float() / 127.5 - 1
    top, left = ((side - crop) // 2 for side in image.shape[1:])
    return image[None, :, top : top + crop, left : left + crop]


def _restored(
    seed: int, run: Path, operator: Mapping, method: str, crop: int, sigma: float, samples: int, steps: int
) -> Restored | None:
    return restore(seed, run.resolve(), tuple(operator.items()), method, crop, sigma, samples, steps)


@cache  # the figure draws what was measured
def restore(
    seed: int, run: Path, operator: tuple, method: str, crop: int, sigma: float, samples: int, steps: int
) -> Restored | None:
    """Measure and restore; None if the method is a baseline that does not invert the operator."""
    made, truth = dict(operator), photo(crop)
    a = operators[made.pop("name")](shape=tuple(truth.shape[1:]), **made)
    measurement = Measurement.simulate(a, GaussianNoise(sigma), truth, seed=seed)
    if method in BASELINES:
        baseline, data = BASELINES[method], build_data_of(run)
        if not isinstance(a, baseline.needs) or (method == "Wiener" and a.y_shape != a.x_shape):
            return None
        began = time.perf_counter()
        drawn, cost = baseline(measurement, data), {"nfe": 0.0, "vjps": 0.0}
    else:
        kind: Any = methods[method]
        sampler, denoiser = kind(steps=steps), diffusion_lit.load(run)
        began = time.perf_counter()
        drawn = sampler(denoiser, measurement, samples=samples, seed=seed)[0]
        cost = {"nfe": float(sampler.nfe), "vjps": float(sampler.vjps)}
    cost["seconds"] = (time.perf_counter() - began) / len(drawn)
    return Restored(truth, measurement, drawn.float(), cost)


def measure(
    seed: int,
    *,
    run: Path,
    operator: Mapping,
    method: str,
    crop: int,
    sigma: float,
    samples: int,
    steps: int,
) -> dict[str, float]:
    """Scores of the samples' mean (`psnr`, `ssim`, `lpips`) and, averaged over the samples, of one (`..._sample`).

    `misfit_ratio` is of a sample, 1 for the truth; `nfe`, `vjps` and `seconds` are of a sample too. The estimate of a
    baseline counts as mean and sample; one that does not invert the operator has no scores.
    """
    found = _restored(seed, run, operator, method, crop, sigma, samples, steps)
    if found is None:
        return {}
    measurement, scores = found.measurement, dict(found.cost)
    misfit = torch.stack([measurement.misfit(one[None]) for one in found.drawn]).mean()
    scores["misfit_ratio"] = misfit.item() / measurement.expected_misfit
    fidelity = {"psnr": psnr, "ssim": ssim, "lpips": LPIPS("alex")}
    for name, images in {"": found.drawn.mean(0, keepdim=True), "_sample": found.drawn}.items():
        shown = images.clamp(-1, 1)
        with torch.no_grad():
            for metric, score in fidelity.items():
                scores[metric + name] = score(shown, found.truth.expand_as(shown)).mean().item()
    return scores


def figure(results: Results, path: Path) -> None:
    """Draw, for each task: the photo, its measurement, the best baseline, a sample, the mean and the deviation."""
    import matplotlib.pyplot as plt
    from PIL import Image

    tasks = list(dict.fromkeys(entry.labels["task"] for entry in results.entries))
    columns = ["photo", "measurement", "baseline", "auto: a sample", "mean", "deviation (white: 99 % below)"]
    picture, panels = plt.subplots(len(tasks), 6, figsize=(12, 2.15 * len(tasks)), layout="constrained", squeeze=False)
    for row, task in zip(panels, tasks):
        entries = {e.labels["method"]: e for e in results.entries if e.labels["task"] == task}
        entry = entries["auto"]
        run = next(Path("runs/experiments").glob(f"{FOLDER.name}*/{entry.run_identity}"))
        scored = {m: results.at(task=task, method=m)[0].metrics for m in entries if m in BASELINES}
        best = max((m for m in scored if scored[m]), key=lambda m: scored[m]["psnr"])

        def again(method: str, entry=entry, run=run) -> Restored:
            settings: dict[str, Any] = {**entry.measure, "method": method}
            found = _restored(entry.seed, run, **settings)
            assert found is not None
            return found

        auto = again("auto")
        spread = auto.drawn.std(0).mean(0, keepdim=True).expand(3, -1, -1)
        images = [
            auto.truth[0],
            auto.measurement.y[0],
            again(best).drawn[0],
            auto.drawn[0],
            auto.drawn.mean(0),
            spread / spread.flatten().quantile(0.99) * 2 - 1,
        ]
        for panel, image, name in zip(row, images, columns):
            panel.imshow((image.clamp(-1, 1).permute(1, 2, 0).numpy() + 1) / 2, interpolation="nearest")
            panel.set_title(best if name == "baseline" else name, fontsize=9)
            panel.set(xticks=[], yticks=[])
        row[0].set_ylabel(task, fontsize=9)
    picture.savefig(path, dpi=90)
    plt.close(picture)
    with Image.open(path) as drawn:
        few = drawn.convert("RGB").quantize(256)  # colours; half the bytes
    few.save(path, optimize=True)
