"""Images -> shards -> stream: sources, packing, the manifest, the deterministic stream and its DataModule."""

from typing import TYPE_CHECKING, Any

from diffusion_lit.data.loader import HeldOutLoader, StreamLoader
from diffusion_lit.data.manifest import Manifest, Shard
from diffusion_lit.data.pack import pack
from diffusion_lit.data.sources import sources

if TYPE_CHECKING:
    from diffusion_lit.data.datamodule import ShardsDataModule

__all__ = ["HeldOutLoader", "Manifest", "Shard", "ShardsDataModule", "StreamLoader", "pack", "sources"]


def __getattr__(name: str) -> Any:
    """Import Lightning only when its DataModule is asked for: it takes seconds, of every spawned worker too."""
    if name == "ShardsDataModule":
        from diffusion_lit.data.datamodule import ShardsDataModule

        return ShardsDataModule
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
