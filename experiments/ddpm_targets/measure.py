"""Samples of the chain against the training images, and its bound on the test images."""

from pathlib import Path

import diffusion_lit
from diffusion_lit.commands.build import build_data_of, build_reference
from diffusion_lit.reproduction import Results
from diffusion_lit.reproduction.chain import draw_distance_and_bits, measure_chain


def measure(seed: int, *, run: Path, n: int, steps: int, draws: int) -> dict[str, float]:
    """`fd` and `bits` of `measure_chain`."""
    denoiser, test = diffusion_lit.load(run), build_data_of(run).images("test")
    return measure_chain(denoiser, build_reference(run), test, seed, n=n, steps=steps, draws=draws)


def figure(results: Results, path: Path) -> None:
    """Draw the two numbers of each network against each other; x0 with L_simple is far off in bits."""
    draw_distance_and_bits(results, path, ticks=(2.7, 3.0, 3.4, 6.0, 10.0, 14.0))
