"""From a problem's checkpoints to θ and back."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from weightstring.ambient import as_made
from weightstring.arrays import Theta
from weightstring.errors import Converted
from weightstring.problem.buffers import statistics_names
from weightstring.problem.inspection.constants import Probe, check_constants, check_function
from weightstring.problem.inspection.passes import PROBE
from weightstring.problem.parts import Parts


class StateDicts:
    """The part of a :class:`ModuleProblem` that reads and writes checkpoints."""

    _parts: Parts

    @as_made
    def flatten(self, source: nn.Module | Mapping[str, object]) -> Theta:
        """θ of a checkpoint: a detached copy (P,) on the problem's device.

        It is loaded into a copy of net by ``load_state_dict``: versions, hooks and renamed keys are torch's affair.
        Numbers of another dtype are converted, with a :class:`Converted` warning that says what that changes.

        Args:
            source: a module, its state dict, or what a training script saved around one. Prefixes of wrappers
                (``module.``, ``_orig_mod.``, ``model.``, any that all keys share) may be there or not.

        Raises:
            InvalidCheckpoint: keys are missing or unknown, of another shape or kind of number, not finite, or tied
                but different; a constant (frozen parameter, buffer) differs from net's and the loss depends on it;
                several state dicts fit; a module computes something else than net with its numbers.

        >>> from weightstring.problem import ModuleProblem
        >>> problem = ModuleProblem(nn.Linear(1, 1), nn.functional.mse_loss, (torch.ones(2, 1), torch.ones(2, 1)))
        >>> problem.flatten({"weight": torch.tensor([[3.0]]), "bias": torch.tensor([4.0])})
        tensor([3., 4.])
        """
        saved = self._parts.template.read(source)
        running = statistics_names(self._parts.net)
        check_constants(saved, self._probe, self._parts.derived, running)
        check_function(saved, self._probe)
        if saved.conversion is not None:
            warnings.warn(f"the checkpoint is {saved.conversion}", Converted, stacklevel=3)
        return saved.theta.to(self._parts.device)

    @as_made
    def unflatten(self, theta: Theta) -> dict[str, Tensor]:
        """The state dict that net would save at θ, for ``net.load_state_dict``: detached copies, buffers included.

        Each parameter is in its own dtype, rounded as it is computed with.

        Running statistics, where they are recalibrated, and spectral norm's vectors are those of θ.

        Raises:
            InvalidCheckpoint: θ has another size or dtype.

        >>> from weightstring.problem import ModuleProblem
        >>> problem = ModuleProblem(nn.Linear(1, 1), nn.functional.mse_loss, (torch.ones(2, 1), torch.ones(2, 1)))
        >>> dict(problem.unflatten(torch.tensor([3.0, 4.0])))
        {'weight': tensor([[3.]]), 'bias': tensor([4.])}
        """
        self._parts.check(theta, 1)
        return self._parts.template.write({**self._parts.layout.views(theta), **self.statistics(theta)})

    @as_made
    def as_saved(
        self, source: nn.Module | Mapping[str, object], quantities: Sequence[str] = ("loss",)
    ) -> dict[str, float]:
        """Measure a checkpoint with the running statistics and other buffers that are saved in it.

        :meth:`measure` of its θ estimates statistics anew, as for every model on a path; how far the two lie apart
        is what that changes. Equal where there is nothing to estimate.

        Raises:
            InvalidSetting: an unknown quantity.
            InvalidCheckpoint: see :meth:`flatten`.

        >>> net = nn.Sequential(nn.BatchNorm1d(1), nn.Linear(1, 1))
        >>> x = torch.tensor([[0.0], [4.0]])
        >>> from weightstring.problem import ModuleProblem
        >>> problem = ModuleProblem(net, nn.functional.mse_loss, (x, x))
        >>> problem.as_saved(net)["loss"] != problem.measure(problem.flatten(net)[None])["loss"].item()
        True
        """
        saved = self._parts.template.read(source)
        names, wanted = self._parts.quantities.select(quantities)
        if not names:
            return {}
        with torch.no_grad():
            values = self._parts.computation.measure(saved.theta, self._parts.train, wanted, saved.constants).tolist()
        return {name: values[names.index(name)] for name in quantities}

    @property
    def statistics_names(self) -> frozenset[str]:
        """Names of the buffers that are functions of θ: re-estimated running statistics, spectral norm's vectors."""
        return self._parts.derived

    @as_made
    def statistics(self, theta: Theta) -> dict[str, Tensor]:
        """The buffers that are functions of θ: see :attr:`statistics_names`."""
        with torch.no_grad():
            return self._parts.computation.estimate(theta, self._parts.train)

    @property
    def _probe(self) -> Probe:
        examples = self._parts.evaluation
        train = self._parts.train.take(slice(PROBE))
        return Probe(
            self._parts.computation,
            train,
            examples.take(examples.spread(PROBE)),
            list(self._parts.quantities.means.values()),
        )
