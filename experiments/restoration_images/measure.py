"""Held-out images measured and restored: by a method with a trained denoiser, or by an estimate that needs none."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import diffusion_lit
from diffusion_lit.callbacks import Bicubic, Biharmonic, GaussianMean, MeanImage, Restoration
from diffusion_lit.callbacks.share import Share
from diffusion_lit.commands.build import build_data_of
from diffusion_lit.inverse import methods
from diffusion_lit.inverse.operators import operators
from diffusion_lit.reproduction import Results
from diffusion_lit.samplers import DDIM, Karras

BASELINES = {
    "biharmonic": Biharmonic(),
    "bicubic": Bicubic(),
    "Gaussian mean": GaussianMean(),
    "mean image": MeanImage(),
}
KEPT = {"psnr", "psnr_sample", "ssim", "lpips", "lpips_sample", "fd", "misfit_ratio", "coverage_90"} | {
    "nfe",
    "vjps",
    "seconds",
}


def measure(
    seed: int,
    *,
    run: Path,
    task: str,
    operator: Mapping,
    method: str,
    n: int,
    samples: int,
    steps: int,
    options: Mapping | None = None,
) -> dict[str, float]:
    """Scores of n images, `samples` posterior samples each: of the mean (`psnr`, `ssim`, `lpips`), of one sample
    (`psnr_sample`, `lpips_sample`, `fd`), and of all (`misfit_ratio`, 1 for the truth; `coverage_90` of pixels).
    All also as `TASK/...`. The estimate of a baseline counts as its sample; one that does not invert the operator has
    no scores.
    """
    make = partial(operators[operator["name"]], **{key: value for key, value in operator.items() if key != "name"})
    images, denoiser = build_data_of(run), diffusion_lit.load(run)
    if method in BASELINES:
        evaluation = Restoration({"task": make}, {}, n=n, seed=seed, baselines={"it": BASELINES[method]})
    else:
        given = dict(options or {})
        if method in ("pigdm", "mmps", "dps"):
            given["sampler"] = DDIM(steps, eta=1.0, grid=Karras())
        made = methods[method](steps=steps, **given)
        evaluation = Restoration({"task": make}, {"it": made}, n=n, samples=samples, seed=seed)
    found = evaluation(denoiser, images, Share(), weights="ema").metrics
    scores = {name: value for key, value in found.items() if (name := key.rpartition("/")[2]) in KEPT}
    if method in BASELINES and scores:
        scores |= {"psnr_sample": scores["psnr"], "lpips_sample": scores["lpips"]}
    return scores | {f"{task}/{name}": value for name, value in scores.items()}


def figure(results: Results, path: Path) -> None:
    """Draw two held-out images of each set and task: truth, measurement, three samples, mean and deviation."""
    import matplotlib.pyplot as plt

    entries = {(e.labels["data"], e.labels["task"]): e for e in results.entries if e.labels["method"] == "auto"}
    size = (7, 2.1 * len(entries))
    picture, panels = plt.subplots(len(entries), 1, figsize=size, layout="constrained", squeeze=False)
    for panel, ((data, task), entry) in zip(panels[:, 0], entries.items()):
        run = next(Path("runs/experiments").glob(f"restoration_images*/{entry.run_identity}"))
        operator = dict(entry.measure["operator"])
        make = partial(operators[operator.pop("name")], **operator)
        method = methods["auto"](steps=entry.measure["steps"])
        evaluation = Restoration({"task": make}, {"auto": method}, n=2, samples=entry.measure["samples"], shown=2)
        strip = evaluation(diffusion_lit.load(run), build_data_of(run), Share(), weights="ema").pictures[0].images
        rows = strip.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)  # (image, column, C, H, W) -> (H, W, C)
        panel.imshow(((rows.clamp(-1, 1) + 1) / 2).numpy(), cmap="gray", interpolation="nearest")
        panel.set_axis_off()
        panel.set_title(f"{data}, {task}: truth, measurement, three samples, mean, standard deviation", fontsize=8)
    picture.savefig(path, dpi=110)
    plt.close(picture)
