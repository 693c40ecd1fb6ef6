"""What a source lists: one item an image, and the rules that give each item its split."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Integer, UInt8

from diffusion_lit.errors import UserError

__all__ = ["SPLITS", "Array", "Item", "UndecodableError", "array_items", "rank_in_class", "split_every"]

SPLITS = ("train", "validation", "test")
Array = UInt8[np.ndarray, "height width *channels"]


class UndecodableError(UserError):
    """An image that does not decode; `pack(..., skip_undecodable=True)` skips, names and counts it."""


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a source, loaded only when it is packed.

    Args:
        id: a stable integer in [0, 1e9), unique in the source.
        split: "train", "validation" or "test"; a function of the item alone.
        label: class in [0, classes), or None.
        name: what an error message calls the image.
        load: returns it as uint8, (H, W) or (H, W, 3); raises UndecodableError.
    """

    id: int
    split: str
    label: int | None
    name: str
    load: Callable[[], Array]


def rank_in_class(labels: Integer[np.ndarray, " n"]) -> Integer[np.ndarray, " n"]:
    """Number the items of each class 0, 1, 2, ... in their order: their place in an interleaved order."""
    ranks = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        ranks[members] = np.arange(len(members))
    return ranks


def split_every(
    period: int, n: int, labels: Integer[np.ndarray, " n"] | None, validation: Sequence[int], test: Sequence[int] = ()
) -> list[str]:
    """Give every `period`-th image to the same split.

    Args:
        period: images are counted modulo this.
        n: number of images.
        labels: their classes; each is then counted by itself (stratified), if the smallest has `period` members.
        validation: the counts that become "validation".
        test: the counts that become "test"; all others are "train".
    """
    stratify = labels is not None and np.unique(labels, return_counts=True)[1].min() >= period
    ranks = rank_in_class(labels) if labels is not None and stratify else np.arange(n)
    places = (int(rank) % period for rank in ranks)
    return ["validation" if place in validation else "test" if place in test else "train" for place in places]


def array_items(
    images: UInt8[np.ndarray, "n height width *channels"],
    labels: Integer[np.ndarray, " n"] | None,
    splits: Sequence[str],
    name: str,
    ids: Sequence[int] | None = None,
    first_id: int = 0,
) -> list[Item]:
    """List the images of an array as items, named `name[i]`, with ids counted from `first_id` unless they are given."""
    chosen = range(first_id, first_id + len(images)) if ids is None else ids
    return [
        Item(
            int(chosen[i]), splits[i], None if labels is None else int(labels[i]), f"{name}[{i}]", lambda i=i: images[i]
        )
        for i in range(len(images))
    ]
