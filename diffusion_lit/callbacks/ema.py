"""Averages of the weights over training, with power-function profiles (Karras et al. 2024, EDM2, section 3.1)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from diffusion_lit.callbacks.every import whole_step
from diffusion_lit.errors import UserError
from diffusion_lit.modules.sharding import like, whole_tensor
from diffusion_lit.profiles import exponent

__all__ = ["EMA"]


class EMA(Callback):
    """Keep several averages of the denoiser's weights beside them, and put one in place only where told to.

        with ema.use(0.05, module): ...

    After step k the average moves to the weights by 1 - beta, beta = (1 - 1/k)^(gamma + 1) (Karras et al. 2024,
    eq. 127). The averages are saved in the checkpoint under "ema" and go on after a resume, bit by bit.

    Args:
        widths: relative standard deviations of the profiles; the first is the one that `load` takes unless told.
    """

    def __init__(self, widths: Sequence[float] = (0.05, 0.10)):
        self.exponents = {float(width): exponent(width) for width in widths}
        self.averages: dict[float, dict[str, Tensor]] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # by now the strategy has moved the module, perhaps shared it out, and read the checkpoint
        weights = dict(_weights(pl_module))
        found = self.averages or dict.fromkeys(self.exponents, None)
        self.averages = {}
        for width, average in found.items():
            kept = average or {name: whole_tensor(weight.detach()) for name, weight in weights.items()}
            self.averages[width] = {name: like(_wide(kept[name]), weight) for name, weight in weights.items()}

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not whole_step(trainer, batch_idx):
            return
        weights: list[Tensor] = [_wide(weight.detach()) for _, weight in _weights(pl_module)]
        for width, gamma in self.exponents.items():
            beta = (1 - 1 / trainer.global_step) ** (gamma + 1)
            get_ema_multi_avg_fn(beta)(list(self.averages[width].values()), weights, 0)

    @contextmanager
    def use(self, width: float | None, pl_module: LightningModule) -> Iterator[None]:
        """Run a block with the average of this width in place of the weights; None leaves the weights.

        Raises:
            UserError: no average of this width is kept.
        """
        if width is None:
            yield
            return
        if width not in self.averages:
            raise UserError(f"ema width: {width} is not kept; kept are {list(self.averages)} (callbacks.ema.widths)")
        average, weights = self.averages[width], dict(_weights(pl_module))
        raw = {name: weight.detach().clone() for name, weight in weights.items()}
        try:
            _put(average, weights)
            yield
        finally:
            _put(raw, weights)

    def whole(self) -> dict[float, dict[str, Tensor]]:
        """The averages as whole tensors; collective if they are shared out."""
        return {
            width: {name: whole_tensor(value) for name, value in average.items()}
            for width, average in self.averages.items()
        }

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["ema"] = self.whole()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        kept = checkpoint.get("ema", {})
        if missing := [width for width in self.exponents if width not in kept]:
            raise UserError(
                f"ema widths {missing} are not in the checkpoint, which has {list(kept)}; an average cannot be started "
                f"in the middle of a run: ask for callbacks.ema.widths={list(kept)}"
            )
        self.averages = {width: dict(kept[width]) for width in self.exponents}


def _wide(tensor: Tensor) -> Tensor:
    """At least float32: an average in bfloat16 would not feel steps of less than a 256th of itself."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


@torch.no_grad()
def _put(values: dict[str, Tensor], weights: dict[str, nn.Parameter]) -> None:
    # copied and not swapped: a compiled or a sharded network holds on to its tensors
    for name, weight in weights.items():
        weight.copy_(values[name])


def _weights(pl_module: LightningModule) -> Iterator[tuple[str, nn.Parameter]]:
    """The denoiser's parameters, by the names they have in its state_dict."""
    denoiser = pl_module.denoiser
    assert isinstance(denoiser, nn.Module)
    return denoiser.named_parameters()
