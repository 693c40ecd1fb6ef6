"""Where images come from: each source is a function that lists items, to be packed into shards."""

from collections.abc import Callable, Sequence

from diffusion_lit.data.sources.cifar10 import cifar10
from diffusion_lit.data.sources.embedded import digits, mnist5k
from diffusion_lit.data.sources.idx import fashion_mnist, idx
from diffusion_lit.data.sources.image_folder import image_folder
from diffusion_lit.data.sources.item import Item, UndecodableError
from diffusion_lit.data.sources.npz import npz
from diffusion_lit.data.sources.photos import photos

__all__ = ["Item", "UndecodableError", "sources"]

sources: dict[str, Callable[..., Sequence[Item]]] = {
    "digits": digits,
    "mnist5k": mnist5k,
    "fashion_mnist": fashion_mnist,
    "photos": photos,
    "image_folder": image_folder,
    "idx": idx,
    "npz": npz,
    "cifar10": cifar10,
}
