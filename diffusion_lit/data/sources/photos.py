"""The photos that scikit-image, scikit-learn and matplotlib bring, cut into patches."""

from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from diffusion_lit.data.sources.image_folder import load_image
from diffusion_lit.data.sources.item import Item
from diffusion_lit.errors import UserError

__all__ = ["photos"]

# Split by photo, never by patch: neighbouring patches of a photo resemble each other. The place in this table is part
# of the ids, so new photos go to its end.
_PHOTOS = [
    ("skimage", "data/astronaut.png", "train"),
    ("skimage", "data/chelsea.png", "test"),
    ("skimage", "data/coffee.png", "train"),
    ("skimage", "data/rocket.jpg", "train"),
    ("skimage", "data/retina.jpg", "train"),
    ("skimage", "data/hubble_deep_field.jpg", "train"),
    ("skimage", "data/ihc.png", "train"),
    ("skimage", "data/motorcycle_left.png", "train"),
    ("skimage", "data/motorcycle_right.png", "train"),
    ("sklearn", "datasets/images/china.jpg", "train"),
    ("sklearn", "datasets/images/flower.jpg", "validation"),
    ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg", "test"),
]


def photos(size: int = 32) -> list[Item]:
    """List non-overlapping patches of a dozen photos: RGB, no labels, each photo in one split.

    Args:
        size: side of a patch in pixels.

    Raises:
        UserError: a package is missing, or no patch of that size fits.
    """
    items = []
    for place, (package, file, split) in enumerate(_PHOTOS):
        photo = load_image(_locate(package) / file, None, "RGB")
        corners = [
            (y, x) for y in range(0, photo.shape[0] - size + 1, size) for x in range(0, photo.shape[1] - size + 1, size)
        ]
        # Numbered in a fixed shuffle: the first n ids of a split come from all over its photos.
        for number, k in enumerate(np.random.default_rng(place).permutation(len(corners))):
            y, x = corners[k]
            cut = partial(photo.__getitem__, (slice(y, y + size), slice(x, x + size)))
            items.append(Item(number * len(_PHOTOS) + place, split, None, f"{file}[{y}, {x}]", cut))
    if not items:
        raise UserError(f"photos: no patch of size={size} fits into a photo; choose a size of at most 300.")
    return items


def _locate(package: str) -> Path:
    """Find the folder of an installed package without importing it."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise UserError(
            f"photos: the package {package}, whose photos are used, is not installed. Install it with "
            f"`pip install scikit-image scikit-learn matplotlib`."
        )
    return Path(spec.origin).parent
