"""When a callback acts: each time the images seen pass a multiple of a number."""

__all__ = ["passed"]


def passed(every: int | None, images_seen: int, batch: int) -> bool:
    """Whether the step of `batch` images that ended at `images_seen` passed a multiple of `every`; never if None."""
    return every is not None and images_seen // every > (images_seen - batch) // every
