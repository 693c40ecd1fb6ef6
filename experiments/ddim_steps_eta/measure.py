"""Samples of S steps with noise eta against the training images; and how well DDIM's latents give images back."""

from pathlib import Path

import diffusion_lit
from diffusion_lit.commands.build import build_data_of, build_reference
from diffusion_lit.samplers import DDIM, DDPM, Strided


def measure(seed: int, *, run: Path, steps: int, eta: float | None, n: int) -> dict[str, float]:
    """`fd`: Frechet distance of n samples; eta None is sigma-hat, the noise of DDPM's beta.

    `inversion`, where eta is 0: mean squared error per pixel in [0, 1] of held-out images, inverted and decoded.
    """
    denoiser = diffusion_lit.load(run)
    grid = Strided(1000)
    sampler = DDPM(steps, v=1.0, grid=grid) if eta is None else DDIM(steps, eta, grid)
    found = {"fd": build_reference(run).frechet(sampler(denoiser, (n, *build_data_of(run).shape), seed=seed))}
    if eta == 0:
        x = build_data_of(run).images("test")[:n]
        back = DDIM(steps, 0.0, grid).decode(denoiser, DDIM(steps, 0.0, grid).invert(denoiser, x))
        found["inversion"] = ((back - x) / 2).square().mean().item()
    return found
