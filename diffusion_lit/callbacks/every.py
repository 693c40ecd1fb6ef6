"""When a callback acts: after whole optimiser steps, each time the images seen pass a multiple of a number."""

from lightning.pytorch import Trainer

__all__ = ["passed", "whole_step"]


def passed(every: int | None, images_seen: int, batch: int) -> bool:
    """Whether the step of `batch` images that ended at `images_seen` passed a multiple of `every`; never if None."""
    return every is not None and images_seen // every > (images_seen - batch) // every


def whole_step(trainer: Trainer, batch_idx: int) -> bool:
    """Whether an optimiser step ended with this batch, which of accumulated batches only the last one does."""
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0
