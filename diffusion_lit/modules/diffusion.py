"""The one LightningModule: a denoiser that learns an objective."""

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from diffusion_lit.denoise import Denoiser
from diffusion_lit.modules.sharding import shard, whole
from diffusion_lit.objectives import Objective

__all__ = ["DiffusionModule"]


class DiffusionModule(LightningModule):
    """Train `denoiser` by `objective`; images seen are the unit of progress.

    Args:
        denoiser: what is trained.
        objective: (denoiser, x_0, seed, positions, **condition) -> one loss a sample.
        optimizer: parameters -> optimiser, such as functools.partial(torch.optim.Adam, lr=1e-3).
        learning_rate: images seen -> factor of the optimiser's learning rate.
        batch_size: images a step, over all processes and accumulated batches.
        seed: with an image's place in the stream it names the noise that the image gets.
        conditions: keys of the batch that are passed on to the denoiser, such as ("label",).
    """

    def __init__(
        self,
        denoiser: Denoiser,
        objective: Objective,
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        learning_rate: Callable[[int], float],
        batch_size: int,
        seed: int = 0,
        conditions: Iterable[str] = (),
    ):
        super().__init__()
        self.denoiser, self.objective = denoiser, objective
        self.make_optimizer, self.learning_rate = optimizer, learning_rate
        self.batch_size, self.seed, self.conditions = batch_size, seed, tuple(conditions)
        self.trained_images = 0
        # the denoiser as it was before it was sharded; a list hides it from the module
        self._plain: list[Denoiser] = []

    @property
    def images_seen(self) -> int:
        """Images seen in training so far, over all processes; outside of training, those of the weights' checkpoint."""
        if self.trainer.state.fn != "fit":
            return self.trained_images
        return self.trainer.global_step * self.images_per_step

    @property
    def images_per_step(self) -> int:
        """Images of one optimiser step, over all processes and accumulated batches."""
        return self.batch_size

    def configure_model(self) -> None:
        mesh = getattr(self, "_device_mesh", None)  # which `Sharded` has set
        if mesh is not None and not self._plain:
            self._plain = [copy.deepcopy(self.denoiser)]
            network = self.denoiser.network
            assert isinstance(network, nn.Module)
            shard(network, mesh["data_parallel"])

    def whole(self) -> Denoiser:
        """The denoiser with all its weights: itself, or if it is sharded a copy; collective in that case."""
        return whole(self.denoiser, self._plain[0]) if self._plain else self.denoiser

    def losses(self, batch: dict[str, Tensor]) -> Tensor:
        """One loss a sample (B,), with the noise that (seed, position) names."""
        condition = {key: batch[key] for key in self.conditions}
        return self.objective(self.denoiser, batch["image"], seed=self.seed, positions=batch["position"], **condition)

    def on_train_batch_start(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        # what still draws from the global generator, such as dropout, follows the stream too, so that a resume is exact
        part = batch_idx % self.trainer.accumulate_grad_batches
        torch.manual_seed(self.seed + self.images_seen + part * self.trainer.world_size + self.global_rank)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return self.losses(batch).mean()

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.log("test/loss", self.losses(batch).mean(), batch_size=len(batch["image"]), sync_dist=True, logger=False)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Lightning ends a step where the batch's number divides, so a run that goes on with other parts counts anew
        current = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
        more = checkpoint["global_step"] * self.trainer.accumulate_grad_batches - current["ready"]
        current.update({stage: batches + more for stage, batches in current.items()})

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer(self.parameters())
        images = self.images_per_step
        # scheduler step k holds while images k * images .. (k + 1) * images are learnt from
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.learning_rate((step + 1) * images))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
