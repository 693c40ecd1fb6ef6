"""Learning-rate schedules, counted in images."""

from dataclasses import dataclass

__all__ = ["WarmupCooldown"]


@dataclass
class WarmupCooldown:
    """A factor of the learning rate: linear up over `warmup`, flat, linear down to `final` over `cooldown`.

    Args:
        max_images: images at which training ends.
        warmup: images of the rise from 0.
        cooldown: images of the fall, which ends at `max_images`.
        final: the factor at the end, in [0, 1].
    """

    max_images: int
    warmup: int = 0
    cooldown: int = 0
    final: float = 0.0

    def __call__(self, images_seen: int) -> float:
        up = min(1.0, images_seen / self.warmup) if self.warmup else 1.0
        left = (self.max_images - images_seen) / self.cooldown if self.cooldown else 1.0
        return up * (self.final + (1 - self.final) * min(1.0, max(0.0, left)))
