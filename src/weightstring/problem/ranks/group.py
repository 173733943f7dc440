"""What processes that were started together tell each other, by ``torch.distributed``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import Tensor, distributed

from weightstring.errors import InvalidSetting, WorkerFailed
from weightstring.launched import Launched

PATIENCE = timedelta(days=30)
"""How long one rank waits for another: a rank that dies is known by its connections, not by a clock."""


class Ranks:
    """The processes of a launcher: rank 0 speaks, the others listen, and all add up.

    Messages go by gloo, and so do tensors on a CPU; those on a GPU go by NCCL.

    Args:
        place: of this process among them.

    Raises:
        InvalidSetting: this build of torch has no ``torch.distributed``.
        WorkerFailed: the others cannot be reached.
    """

    def __init__(self, place: Launched) -> None:
        if not distributed.is_available() or not distributed.is_gloo_available():
            raise InvalidSetting("torchrun: this build of torch has no gloo; run the command without torchrun")
        self.place = place
        on_gpus = torch.cuda.is_available() and distributed.is_nccl_available()
        if on_gpus and place.local < torch.cuda.device_count():
            torch.cuda.set_device(place.local)  # what "cuda" means from here on
        with self._together():
            distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpus else "gloo", timeout=PATIENCE)

    @property
    def leads(self) -> bool:
        """Whether this is rank 0."""
        return self.place.rank == 0

    def told(self, message: object = None) -> object:
        """What rank 0 says, in all ranks."""
        box = [message]
        with self._together():
            distributed.broadcast_object_list(box, src=0)
        return box[0]

    def gathered(self, message: object) -> list[object]:
        """What each rank says, in all ranks."""
        said: list[object] = [None] * self.place.of
        with self._together():
            distributed.all_gather_object(said, message)
        return said

    def sent(self, tensor: Tensor) -> Tensor:
        """A tensor of rank 0, written into those of the others."""
        with self._together():
            distributed.broadcast(tensor, src=0)
        return tensor

    def added(self, tensor: Tensor) -> Tensor:
        """The sum of all ranks' tensors, in place: the same bits in all."""
        with self._together():
            distributed.all_reduce(tensor)
        return tensor

    def leave(self) -> None:
        """Close the connections, at which ranks that wait for this one end."""
        if distributed.is_initialized():
            distributed.destroy_process_group()

    @contextmanager
    def _together(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as lost:  # distributed.DistError is one, and so is what gloo raises
            words = " ".join(str(lost).split())[:160]
            raise WorkerFailed(
                f"rank {self.place.rank} of {self.place.of} lost the others, or never found them ({words}): what is "
                "written is kept; start torchrun again with the same command, or with `weightstring resume RUN`"
            ) from lost
