"""Denoising diffusion models with Lightning: train a prior once, condition it without retraining."""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffusion_lit.checkpoint import load

try:
    __version__ = version("diffusion_lit")
except PackageNotFoundError:  # read from a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__", "load"]


def __getattr__(name: str):
    # `load` needs torch, and `diffusion-lit --help` must not.
    if name == "load":
        from diffusion_lit.checkpoint import load

        return load
    raise AttributeError(f"module 'diffusion_lit' has no attribute {name!r}")
