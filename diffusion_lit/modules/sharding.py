"""Weights, gradients and optimiser shared out over all processes (FSDP2), in checkpoints that look as ever."""

import copy
from datetime import timedelta

from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from diffusion_lit.denoise import Denoiser

__all__ = ["Sharded", "like", "shard", "whole", "whole_tensor"]


class Sharded(ModelParallelStrategy):
    """Every process of every node holds its part of each weight (fully sharded data parallelism).

    Checkpoints are single files of whole tensors, as those of one process or of DDP are, and go on as those do.

    Args:
        timeout: of a collective, as torch.distributed has it.
    """

    def __init__(self, timeout: timedelta = timedelta(minutes=30)):
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False, timeout=timeout)

    def setup_environment(self) -> None:
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()


def shard(network: nn.Module, mesh: DeviceMesh) -> None:
    """Share out a network's weights over the processes of `mesh`, in place.

    What stands in a ModuleList, such as the blocks of a U-Net or a transformer, is gathered on its own when it is
    computed, so that no more than one of them is whole at a time; the rest of the network is gathered together.
    """
    for parts in [module for module in network.modules() if isinstance(module, nn.ModuleList)]:
        for part in parts:
            if not isinstance(part, nn.ModuleList) and any(True for _ in part.parameters()):
                fully_shard(part, mesh=mesh)
    fully_shard(network, mesh=mesh)


def whole(denoiser: Denoiser, plain: Denoiser) -> Denoiser:
    """A copy of `plain` with all weights of a sharded denoiser, on each process; collective.

    An evaluation calls it as often as it likes: a call of the sharded one is a collective of all processes.

    Args:
        denoiser: whose network is sharded.
        plain: the same before it was.
    """
    state = get_model_state_dict(denoiser, options=StateDictOptions(full_state_dict=True))
    copied = copy.deepcopy(plain).to(denoiser.reference.device)
    copied.load_state_dict(state)
    return copied.eval()


def whole_tensor(tensor: Tensor) -> Tensor:
    """All of a tensor, whose parts other processes may hold; collective if they do."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: Tensor, shared: Tensor) -> Tensor:
    """A whole tensor shared out as another one is, on its device."""
    if isinstance(shared, DTensor):
        return distribute_tensor(tensor.to(shared.device), shared.device_mesh, shared.placements)
    return tensor.to(shared.device, copy=True)
