"""What one training step of a network needs on its device, found without the device."""

import copy
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from t2t.nn.patch_embed import height_width
from t2t.training.objective import Objective


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes on a device while a network learns from a batch.

    `parameters` holds buffers and frozen parameters too; `average` is the averaged copy of them;
    `moments` are AdamW's two; `activations` is what is alive between forward and backward pass,
    the batch itself among it. `peak` is the most that is alive at once, everything together.
    """

    parameters: int
    average: int
    moments: int
    gradients: int
    activations: int
    peak: int


def training_memory(
    model: nn.Module,
    batch_size: int,
    image_size: int | Sequence[int],
    num_classes: int,
    *,
    bfloat16: bool,
) -> TrainingMemory:
    """Memory of one step of AdamW with averaged weights on `batch_size` images of `image_size`.

    The step is run with tensors that have shapes and no content, so `model`, which may lie on the
    meta device, is left alone and any batch takes the same time. Exact for the storages that torch
    allocates, as its CPU kernels do; a GPU adds its context, the libraries' workspaces and what
    fragmentation wastes. bfloat16: the forward pass under autocast, as a GPU runs it; otherwise in
    float32. Attention is fused on either, so no matrix of attention weights is kept.
    """
    network = copy.deepcopy(model).to("meta").train()
    with FakeTensorMode(allow_non_fake_inputs=True):
        network.to_empty(device="cpu")
        with Alive(network) as alive:
            images = torch.empty(batch_size, 3, *height_width(image_size))
            targets = torch.empty(batch_size, num_classes)
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                loss = Objective()(network, images, targets)
            activations = alive.bytes
            loss.backward()
    trainable = [p for p in network.parameters() if p.requires_grad]
    state = sum(value.nbytes for value in network.state_dict().values())
    gradients = sum(p.nbytes for p in trainable)
    return TrainingMemory(
        parameters=state,
        average=state,
        moments=2 * gradients,
        gradients=gradients,
        activations=activations,
        peak=2 * state + 2 * gradients + alive.most_bytes,
    )


class Alive(TorchDispatchMode):
    """Counts the storages that operations inside it make, until they are freed: `bytes` now,
    `most_bytes` at the height. Those of `network` are left out."""

    def __init__(self, network: nn.Module):
        super().__init__()
        tensors = [*network.parameters(), *network.buffers()]
        self._own = {id(storage): storage for storage in (t.untyped_storage() for t in tensors)}
        self.bytes = 0
        self.most_bytes = 0
        self._references: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        results = func(*args, **(kwargs or {}))
        for result in tree_leaves(results):
            if isinstance(result, Tensor):
                self._note(result.untyped_storage())
        return results

    def _note(self, storage: torch.UntypedStorage) -> None:
        key = id(storage)
        if key in self._own or key in self._references:
            return
        size = storage.nbytes()

        def freed(_: object) -> None:
            del self._references[key]
            self.bytes -= size

        self._references[key] = weakref.ref(storage, freed)
        self.bytes += size
        self.most_bytes = max(self.most_bytes, self.bytes)
