"""Evaluate the objective by noise level: where in the noise a network is good, which the mean loss hides."""

import torch

from diffusion_lit.callbacks.evaluation import Evaluation
from diffusion_lit.callbacks.share import Share
from diffusion_lit.data import ShardsDataModule
from diffusion_lit.data.toy import ToyDataModule
from diffusion_lit.denoise import Denoiser
from diffusion_lit.objectives import Objective

__all__ = ["NoiseLevels"]


class NoiseLevels:
    """The weighted loss of held-out images at fixed quantiles of the time sampler, from the least to the most noise.

    Args:
        objective: the one that is trained.
        levels: number of noise levels.
        n: held-out images, each with the same noise at every evaluation.
        split: where they are from.
        seed: of the noise.
    """

    def __init__(self, objective: Objective, levels: int = 8, n: int = 128, split: str = "validation", seed: int = 0):
        self.objective, self.levels, self.n, self.split, self.seed = objective, levels, n, split, seed

    def __call__(
        self, denoiser: Denoiser, data: ShardsDataModule | ToyDataModule, share: Share, weights: str
    ) -> Evaluation:
        device = denoiser.reference.device
        held_out = data.held_out(self.split, self.n)
        part = share.part(self.n)
        images, ids = held_out["image"][part.samples].to(device), held_out["id"][part.samples].to(device)
        quantiles = (torch.arange(self.levels, dtype=torch.float64, device=device) + 0.5) / self.levels
        times = self.objective.times(quantiles, denoiser.schedule).sort().values  # quantiles may run either way
        losses = part.mean(
            {
                f"{level:02d}": self.objective.loss_at(
                    denoiser, images, t.expand(len(ids)), seed=self.seed, positions=ids
                )
                for level, t in enumerate(times)
            },
            device,
        )
        return Evaluation(
            {f"loss_by_noise/{weights}/{name}": loss for name, loss in losses.items()}
            | {f"validation/loss/{weights}": sum(losses.values()) / len(losses)}
        )
