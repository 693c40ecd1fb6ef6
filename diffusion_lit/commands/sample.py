"""diffusion-lit sample checkpoint=RUN [n=64] [sampler=heun] [steps=18] [seed=0] [ema=WIDTH] [out=FOLDER]

Draw images from a trained prior: a grid as PNG and all of them in an npz (images: (n, C, H, W) in [-1, 1]).

    diffusion-lit sample checkpoint=runs/demo n=64 sampler=heun

Samplers: ddpm ddim euler heun dpmsolverpp. checkpoint may be a folder of diffusers.
"""

from pathlib import Path
from typing import Any

from diffusion_lit.errors import UserError

__all__ = ["run"]


def run(words: list[str]) -> int:
    from diffusion_lit.configuration import split_arguments

    defaults = {
        "checkpoint": "",
        "n": 64,
        "sampler": "heun",
        "steps": 18,
        "seed": 0,
        "ema": -1.0,
        "batch": 256,
        "out": "",
    }
    given, unknown = split_arguments(words, defaults)
    if unknown or not given["checkpoint"] or given["n"] < 1:
        raise UserError(f"sample: {unknown or 'checkpoint=RUN and n >= 1'}; keys are {', '.join(defaults)}")

    import numpy as np
    import torch

    from diffusion_lit import checkpoint, samplers
    from diffusion_lit.callbacks.pictures import panel, write_png
    from diffusion_lit.files import writing

    known: dict[str, Any] = {
        name.lower(): getattr(samplers, name) for name in ("DDPM", "DDIM", "Euler", "Heun", "DPMSolverPP")
    }
    if given["sampler"] not in known:
        raise UserError(f"sampler={given['sampler']}: choose one of {', '.join(sorted(known))}")
    prior = checkpoint.load_prior(given["checkpoint"], None if given["ema"] < 0 else given["ema"])
    denoiser, shape = prior.denoiser, prior.shape
    sampler = known[given["sampler"]](steps=given["steps"])
    images = torch.cat(
        [
            sampler(denoiser, (len(ids), *shape), seed=given["seed"], ids=ids)
            for ids in torch.arange(given["n"]).split(given["batch"])
        ]
    )
    folder = Path(given["out"] or prior.folder / "drawn")
    with writing(folder / "samples.npz") as aside, open(aside, "wb") as file:
        np.savez_compressed(file, images=images.numpy())
    columns = max(1, int(given["n"] ** 0.5))
    rows = given["n"] // columns
    write_png(folder / "samples.png", panel(images[: rows * columns].reshape(rows, columns, *shape)))
    print(f"{folder / 'samples.png'}\n{folder / 'samples.npz'}   ({sampler.nfe} calls of the denoiser a sample)")
    return 0
