"""One convolutional model after the other, its channels last in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

from weightstring.problem.engines.base import ENGINES, Workload
from weightstring.problem.engines.loop import Loop
from weightstring.problem.rearranging import channels_last


@ENGINES.register("channels-last")
@dataclass(frozen=True, eq=False)
class ChannelsLast(Loop):
    """The loop, by a copy of the module in the memory format ``torch.channels_last``.

    Raises:
        InvalidModel: see :func:`channels_last`.
    """

    gain, rival = 1.1, True

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "work", replace(self.work, computation=channels_last(self.work.computation)))

    def __reduce__(self) -> tuple[type[Loop], tuple[Workload]]:
        return Loop, (self.work,)  # whose module is already that copy
