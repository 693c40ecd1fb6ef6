"""What a network costs: parameters, arithmetic and memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["Summary", "summarize"]

# Weights, gradients and Adam's two moments.
COPIES = 4


@dataclass(frozen=True)
class Summary:
    """Size and cost of a network.

    Attributes:
        name: Class of the network.
        shape: Shape of a sample.
        parameters: Number of parameters.
        parameter_bytes: Their size.
        flops: Floating-point operations of the forward pass of one sample; a training step costs about three times it.
        activation_bytes: What one sample keeps for the backward pass.
    """

    name: str
    shape: tuple[int, ...]
    parameters: int
    parameter_bytes: int
    flops: int
    activation_bytes: int

    def training_bytes(self, batch_size: int) -> int:
        """Estimate the memory of training with Adam: weights, gradients, moments and activations."""
        return COPIES * self.parameter_bytes + batch_size * self.activation_bytes

    def __str__(self) -> str:
        return (
            f"{self.name} for {' x '.join(map(str, self.shape))}: {self.parameters / 1e6:.2f} M parameters, "
            f"{self.flops / 1e9:.3f} GFLOP forward per sample, "
            f"{self.training_bytes(128) / 1e9:.2f} GB to train at batch 128"
        )


def summarize(network: nn.Module, shape: Sequence[int]) -> Summary:
    """Measure a network on one sample of zeros; its mode, weights and gradients stay as they are.

    Args:
        network: Called as `network(x, noise_level)`.
        shape: Shape of a sample, (C, H, W) or (d,).
    """
    parameters = list(network.parameters())
    own = {p.untyped_storage().data_ptr() for p in parameters}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    like = next(iter(parameters), torch.empty(0))
    x = like.new_zeros((1, *shape))
    counter = FlopCounterMode(display=False)
    with torch.enable_grad(), counter, saved_tensors_hooks(keep, lambda tensor: tensor):
        output = network(x, x.new_zeros(1))
    del output  # only now, so that no storage was freed and its address taken by another while we counted
    return Summary(
        name=type(network).__name__,
        shape=tuple(shape),
        parameters=sum(p.numel() for p in parameters),
        parameter_bytes=sum(p.numel() * p.element_size() for p in parameters),
        flops=counter.get_total_flops(),
        activation_bytes=sum(kept.values()),
    )
