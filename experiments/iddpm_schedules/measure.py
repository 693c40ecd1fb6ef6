"""Samples of the chain against the training images, and its bound on the test images."""

from pathlib import Path

import diffusion_lit
from diffusion_lit.commands.build import build_data_of, build_reference
from diffusion_lit.reproduction.chain import draw_distance_and_bits as figure
from diffusion_lit.reproduction.chain import measure_chain

__all__ = ["figure", "measure"]


def measure(seed: int, *, run: Path, n: int, steps: int, draws: int) -> dict[str, float]:
    """`fd` and `bits` of `measure_chain`."""
    denoiser, test = diffusion_lit.load(run), build_data_of(run).images("test")
    return measure_chain(denoiser, build_reference(run), test, seed, n=n, steps=steps, draws=draws)
