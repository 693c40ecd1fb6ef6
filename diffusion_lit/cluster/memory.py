"""Bytes: of a training process on its GPU, whole or shared out, of a checkpoint, and of a run's folder."""

from dataclasses import dataclass

from torch import nn

__all__ = ["GIB", "Memory", "Parts", "checkpoint_bytes", "kept_checkpoints", "parts_of", "replicated", "sharded"]

GIB = 1 << 30


@dataclass(frozen=True)
class Memory:
    """What a process holds, in bytes.

    Args:
        weights: of the network.
        gradients: as many.
        moments: of the optimiser.
        averages: of the weights.
        gathered: weights and gradients that are whole for a while, or copied for communication.
        evaluation: a copy of the weights while averages are in their place.
        activations: what a part of a batch keeps for its backward pass.
    """

    weights: int
    gradients: int
    moments: int
    averages: int
    gathered: int
    evaluation: int
    activations: int

    @property
    def total(self) -> int:
        """At most at a time: activations and the copy of an evaluation do not meet, but the allocator keeps both."""
        return sum(vars(self).values())


@dataclass(frozen=True)
class Parts:
    """Bytes of a network's weights, by what FSDP gathers together (see `diffusion_lit.modules.sharding.shard`).

    Args:
        total: of all weights.
        largest: of the largest part in a ModuleList.
        rest: of all that is in none of those; gathered all the time while a step is computed.
    """

    total: int
    largest: int
    rest: int


def parts_of(network: nn.Module) -> Parts:
    """Weigh what is gathered together."""
    sizes = [
        _bytes(part) - sum(_bytes(inner) for inner in _parts(part))
        for lists in network.modules()
        if isinstance(lists, nn.ModuleList)
        for part in lists
        if not isinstance(part, nn.ModuleList)
    ]
    total = _bytes(network)
    return Parts(total, max(sizes, default=0), total - sum(sizes))


def _parts(module: nn.Module) -> list[nn.Module]:
    """The parts of ModuleLists within a module that are not within another such part."""
    found: list[nn.Module] = []
    for child in module.children():
        inner = (
            [part for part in child if not isinstance(part, nn.ModuleList)] if isinstance(child, nn.ModuleList) else []
        )
        found += inner or _parts(child)
    return found


def _bytes(module: nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in module.parameters())


def replicated(parts: Parts, states: float, averages: int, activations: int, ranks: int, views: bool) -> Memory:
    """A process that holds all of the network: one alone, or DDP.

    Args:
        parts: of the network.
        states: bytes of the optimiser for each byte of weights, 2 for Adam.
        averages: how many are kept.
        activations: bytes of a part of a batch.
        ranks: number of processes.
        views: whether DDP's buckets are the gradients themselves (gradient_as_bucket_view).
    """
    weights = parts.total
    buckets = weights if ranks > 1 and not views else 0
    evaluation = weights if averages else 0
    return Memory(weights, weights, round(states * weights), averages * weights, buckets, evaluation, activations)


def sharded(parts: Parts, states: float, averages: int, activations: int, ranks: int) -> Memory:
    """A process that holds its part of everything (FSDP2), as `diffusion_lit.modules.Sharded` shares it out.

    The rest of the network is whole during a step, and so are the part that is computed, the next one, which is
    gathered meanwhile, and their gradients until they are summed up. An evaluation works on a whole copy.
    """
    share = -(-parts.total // ranks)
    gathered = 2 * (parts.rest + 2 * parts.largest) if ranks > 1 else 0
    return Memory(share, share, round(states * share), averages * share, gathered, parts.total, activations)


def checkpoint_bytes(weights: int, states: float, averages: int) -> int:
    """Size of a checkpoint: weights, the optimiser and the averages, whole also if they are shared out."""
    return round(weights * (1 + states + averages))


def kept_checkpoints(max_images: int, keep_every: int | None, keep: int | None, best: bool) -> int:
    """Checkpoints on the disk at a time, at most: last, previous, the one being written, those kept, the best."""
    kept = max_images // keep_every if keep_every else 0
    return 3 + (min(kept, keep) if keep else kept) + best
