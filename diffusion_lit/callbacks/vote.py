"""What any process says, known to all one step later, without a wait for the GPU or for each other."""

import torch
import torch.distributed as dist

__all__ = ["Vote"]


class Vote:
    """The largest number that a process cast, over all processes.

    The numbers meet over gloo, on the CPU: a reduction by NCCL would make each step wait for its GPU. They travel
    while the next step is computed, so with several processes the answer is that of the step before.
    """

    def __init__(self) -> None:
        self._group: dist.ProcessGroup | None = None
        self._work: dist.Work | None = None
        self._ballot = torch.zeros((), dtype=torch.int64)

    def open(self) -> None:
        """Begin; collective."""
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            group = dist.new_group(backend="gloo")
            assert isinstance(group, dist.ProcessGroup)  # all processes are in it
            self._group = group

    def cast(self, number: int) -> int:
        """Cast a number, not negative; return what was the largest when all cast theirs the last time."""
        if self._group is None:
            return number
        largest = self._counted()
        self._ballot = torch.tensor(number)
        self._work = dist.all_reduce(self._ballot, dist.ReduceOp.MAX, self._group, async_op=True)
        return largest

    def close(self) -> None:
        """End: wait for what is under way; collective."""
        if self._group is not None:
            self._counted()
            dist.destroy_process_group(self._group)
            self._group = None

    def _counted(self) -> int:
        if self._work is None:
            return 0
        self._work.wait()
        self._work = None
        return int(self._ballot)
