"""diffusion-lit restore checkpoint=RUN images=DIR [operator=inpaint_box] [method=mmps] [key=value ...]

Degrade the images of a folder by an operator, restore them with a trained prior, and write truth, measurement, samples,
mean and standard deviation, with a table of the scores.

    diffusion-lit restore checkpoint=runs/demo images=pictures operator=inpaint_box operator.size=12 method=mmps
    diffusion-lit restore checkpoint=runs/demo images=pictures operator=average_pool operator.factor=4 sigma=0.1

Keys: samples (4), sigma (0.05, of the noise, in units of images in [-1, 1]), seed (0), ema, out,
operator.KEY and method.KEY.
Operators: identity inpaint_box inpaint_half inpaint_random inpaint_lines inpaint_mask average_pool bicubic
gaussian_blur motion_blur nonlinear_blur fourier_mask mri radon gaussian_sensing hadamard_sensing colourise hdr
phase_retrieval gravitational_lens.
Methods: replacement repaint dps pigdm mmps path_metropolis path_resampling.
"""

import json
from pathlib import Path
from typing import Any

from diffusion_lit.errors import UserError

__all__ = ["run"]


def run(words: list[str]) -> int:
    from diffusion_lit.configuration import parse, split_arguments

    defaults = {"checkpoint": "", "images": "", "operator": "inpaint_box", "method": "mmps", "samples": 4}
    defaults |= {"sigma": 0.05, "seed": 0, "ema": -1.0, "batch": 128, "out": ""}
    given, rest = split_arguments(words, defaults)
    extra: dict[str, Any] = {"operator": {}, "method": {}}
    for word in rest:
        key, _, value = word.partition("=")
        kind, _, name = key.partition(".")
        if kind not in extra or not name:
            raise UserError(
                f"restore: unknown key {key!r}; keys are {', '.join(defaults)}, operator.KEY and method.KEY"
            )
        extra[kind][name] = parse(key, value)
    if not given["checkpoint"] or not given["images"]:
        raise UserError("restore: expected checkpoint=RUN images=DIR")
    if given["samples"] < 1 or given["sigma"] <= 0:
        raise UserError(f"restore: samples={given['samples']} sigma={given['sigma']}; give at least 1 and a sigma > 0")

    import numpy as np
    import torch

    from diffusion_lit import checkpoint
    from diffusion_lit.callbacks.pictures import panel, write_png
    from diffusion_lit.callbacks.restoration import draw, misfit, strips
    from diffusion_lit.data.images import to_unit
    from diffusion_lit.data.sources import sources
    from diffusion_lit.files import write_text
    from diffusion_lit.inverse import GaussianNoise, Measurement, methods
    from diffusion_lit.inverse.operators import operators
    from diffusion_lit.metrics.image import psnr
    from diffusion_lit.tracking.table import Table

    path = checkpoint.locate(given["checkpoint"])
    state = checkpoint.read(path)
    denoiser = checkpoint.assemble(state, None if given["ema"] < 0 else given["ema"], path)
    shape = tuple(state["diffusion_lit"]["shape"])
    items = sources["image_folder"](path=given["images"], size=shape[1:], grey=shape[0] == 1)
    truth = to_unit(np.stack([item.load() for item in items]))
    operator = _make(operators, given["operator"], _default(given["operator"], shape) | extra["operator"], shape=shape)
    method = _make(methods, given["method"], extra["method"])
    measurement = Measurement.simulate(operator, GaussianNoise(given["sigma"]), truth, seed=given["seed"])
    samples = given["samples"]
    ids = torch.arange(len(truth) * samples).reshape(-1, samples)
    drawn = draw(method, denoiser, measurement, ids, given["seed"], given["batch"])
    mean = drawn.mean(1).clamp(-1, 1)
    scores = {"psnr": psnr(mean, truth)}
    if operator.hidden is not None:
        scores["psnr_hidden"] = psnr(mean, truth, operator.hidden)
    scores["misfit_ratio"] = misfit(measurement, drawn) / measurement.expected_misfit
    folder = Path(given["out"] or path.parent.parent / "restored")
    for item, strip in zip(items, strips(measurement, truth, drawn, samples)):
        write_png(folder / f"{Path(item.name).stem}.png", panel(strip[None]))
    rows = [
        {"image": item.name, **{name: float(score[i]) for name, score in scores.items()}}
        for i, item in enumerate(items)
    ]
    write_text(folder / "table.json", json.dumps(rows, indent=2) + "\n")
    table = [[f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows]
    print(Table(list(rows[0]), table).text())
    print(f"\n{folder}: truth | measurement | {samples} samples | mean | standard deviation")
    return 0


def _make(known: Any, name: str, arguments: dict[str, Any], **more: Any) -> Any:
    if name not in known:
        raise UserError(f"{name!r} is unknown; choose one of {', '.join(known)}")
    try:
        return known[name](**more, **arguments)
    except TypeError as error:
        raise UserError(f"{name}: {error}") from error


def _default(operator: str, shape: tuple[int, ...]) -> dict[str, Any]:
    return {
        "inpaint_box": {"size": min(shape[1:]) // 2 - 2},
        "average_pool": {"factor": 2},
        "bicubic": {"factor": 2},
        "gaussian_blur": {"sigma": 1.0},
    }.get(operator, {})
