"""torch.compile where it changes nothing but the speed."""

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

__all__ = ["Compile"]


class Compile(Callback):
    """Compile the denoiser's network in place: `torch.compile(network)` would rename its weights in every checkpoint.

    Args:
        mode: of torch.compile: default, reduce-overhead, max-autotune; other backends than inductor take none.
        backend: of torch.compile.
    """

    def __init__(self, mode: str | None = "default", backend: str = "inductor"):
        self.mode, self.backend = mode, backend

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        network = pl_module.denoiser.network  # type: ignore[union-attr]
        assert isinstance(network, nn.Module)
        network.compile(mode=self.mode if self.backend == "inductor" else None, backend=self.backend)
