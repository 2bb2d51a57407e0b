"""The processes that train one run together, each with its own device.

How many there are decides neither the recipe nor which images make a batch: a batch is cut into
parts, one for each process and pass, and gradients are summed over all of them.
"""

import contextlib
import datetime
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from t2t.errors import Preempted

# A process that waits longer than this for another one gives up. Compilation may take minutes.
PATIENCE = datetime.timedelta(minutes=10)


@dataclass(frozen=True)
class Ranks:
    """This process among `count`; `flags` is the group in which the CPUs talk to each other."""

    rank: int
    count: int
    flags: dist.ProcessGroup | None

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def barrier(self) -> None:
        """Waits until every process is here."""
        if self.flags is not None:
            dist.barrier(self.flags)

    def summed(self, values: torch.Tensor) -> torch.Tensor:
        """`values` summed over the processes, in their order.

        A reduction in place would add in an order that depends on how many values there are.
        """
        if self.count == 1:
            return values
        shares = [torch.empty_like(values) for _ in range(self.count)]
        dist.all_gather(shares, values)
        return torch.stack(shares).sum(0)

    def agree_on_buffers(self, model: nn.Module) -> None:
        """Gives `model` the first process's buffers, in every process.

        Running statistics of batch norms differ: each process has its own images'.
        """
        if self.count > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)

    def share(self, model: nn.Module, device: torch.device) -> nn.Module:
        """`model` for the forward pass: its gradients are averaged over the processes.

        Batch norms see their own process's images, as the paper's did. Their running statistics
        are needed for scores alone, before which `agree_on_buffers` is called.
        """
        if self.count == 1:
            return model
        ids = [device.index] if device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=ids, broadcast_buffers=False)


ALONE = Ranks(0, 1, None)


class Poll:
    """Finds out during a step whether any process is to stop, so that all of them do."""

    def __init__(self, ranks: Ranks):
        self.ranks = ranks
        self._votes = torch.zeros(1)
        self._pending: dist.Work | None = None

    def ask(self, mine: bool) -> None:
        """Casts this process's vote; the step goes on meanwhile."""
        if self.ranks.flags is not None:
            self._votes.fill_(float(mine))
            self._pending = dist.all_reduce(self._votes, group=self.ranks.flags, async_op=True)

    def anyone(self, mine: bool) -> bool:
        """Whether any process had voted yes; a process alone needs no vote but its present one."""
        if self._pending is None:
            return mine
        self._pending.wait()
        return bool(self._votes.item())


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """The group that torchrun's environment variables describe, as long as the block runs.

    After an error of this process's own the others may wait in a sum that it never joins, and
    leaving the group in order would wait for them; the process ends, which ends them too.
    """
    if "WORLD_SIZE" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1:
        yield ALONE
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=PATIENCE)
    # On GPUs, too, flags travel between CPUs: reading one must not wait for the device.
    flags = cast(dist.ProcessGroup, dist.new_group(backend="gloo", timeout=PATIENCE))
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), flags)
    except Preempted:
        dist.destroy_process_group()
        raise
    dist.destroy_process_group()
