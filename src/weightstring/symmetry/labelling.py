"""Every tensor of a traced module gets a label, by the rule for each operation."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from weightstring.errors import Unsupported
from weightstring.problem import Modular
from weightstring.symmetry.axes import Label, factors, renewed, size_of
from weightstring.symmetry.resolution import Mixed, resolve
from weightstring.symmetry.rules import RULES, Call, Labels, Rule
from weightstring.symmetry.rules.base import PAGE, REMEDY, labels_in
from weightstring.symmetry.rules.mixing import rule_for
from weightstring.symmetry.rules.pointwise import pointwise
from weightstring.symmetry.spec import Spec, Term
from weightstring.symmetry.ties import Ties
from weightstring.text import first_line
from weightstring.tracing.steps import Step, Trace, filled

MADE = ("zeros", "ones", "full")
"""Tensors that are made of nothing but have a rule."""


def labelled(
    problem: Modular, trace: Trace, ties: Ties, folded_by: Callable[[str], str | None] = lambda name: None
) -> tuple[Spec, dict[str, tuple[Term, ...]]]:
    """Label every tensor of a traced module.

    Args:
        problem: whose module it is.
        trace: of the module.
        ties: what is known about axes: nothing yet.
        folded_by: the group of factors that can make a vector, by its name, 1: else no linear map passes it.

    Returns:
        The specification of the parameters, and the axes of what layers with weights take and return, by the name of
        the operation that returns it.

    Raises:
        Unsupported: an operation has no rule; names the module.
    """
    labelling = _Labelling(problem, trace, ties)
    for name in trace.inputs:
        labelling.known[name] = labelling.input(name)
    for step in trace.steps:
        labelling.known[step.name] = labelling.result(step)
    return labelling.resolved(folded_by)


@dataclass
class _Labelling:
    """What is known so far.

    Args:
        problem: whose module it is.
        trace: of the module.
        ties: between axes.
        known: the labels of each input and result.
        mixed: operations across an axis.
        virtual: tensors that operations compute within.
        data: what does not depend on θ, and whether nothing writes to it.
    """

    problem: Modular
    trace: Trace
    ties: Ties
    known: dict[str, Labels] = field(default_factory=dict)
    mixed: list[Mixed] = field(default_factory=list)
    virtual: list[Label] = field(default_factory=list)

    def __post_init__(self) -> None:
        entries = self.problem.layout.entries
        first = {name: entry.name for entry in entries for name in entry.names}
        state = {**self.trace.parameters, **self.trace.buffers}
        names = {given: full.removeprefix("net.") for given, full in state.items()}
        self.trainable = {given: first[name] for given, name in names.items() if name in first}
        self.statistics = {given for given, name in names.items() if name in self.problem.statistics_names}
        self.parameters = {entry.name: self.ties.parameter(entry.shape) for entry in entries}
        self.data = self.trace.apart_from({*self.trainable, *self.statistics})

    def input(self, name: str) -> Labels:
        if name in self.trainable:
            return self.parameters[self.trainable[name]]
        value = self.trace.held.get(name, self.trace.given.get(name))
        if not isinstance(value, Tensor):
            return None
        ties = self.ties
        if name in self.statistics:
            # Computed from θ, in whatever order its units are; but scaled with none of them.
            return Label(tuple(map(ties.fixed if ties.rescaling else ties.fresh, value.shape)))
        axes = [ties.fixed(size) for size in value.shape]
        if name in self.trace.held:
            for dim, size in enumerate(value.shape if value.numel() else ()):
                # Equal numbers may be exchanged, and only 0 is its own multiple.
                alike = value == 0 if ties.rescaling else value == value.narrow(dim, 0, 1)
                axes[dim] = ties.fresh(size) if bool(alike.all()) else axes[dim]
        return Label(tuple(axes))

    def result(self, step: Step) -> Labels:
        if step.target is operator.getitem:
            return self._picked(step)
        picked = (user for user in self.trace.users.get(step.name, ()) if user.target is operator.getitem)
        used = frozenset(user.args[1] for user in picked if self.trace.needs(user.name))
        given = self._arguments(step)
        summed = self._summed(step) if self.ties.mixing else frozenset()
        call = Call(_name(step), given, step.result, _where(step), self.ties, self.mixed, self.virtual, used, summed)
        rule, data = _rule(call, step), step.name in self.data
        if self.ties.mixing:
            rule = rule_for(call, rule)
        if rule is None and not data:
            raise Unsupported(f"symmetry: there is no rule for {call.where}: add one ({PAGE}), or {REMEDY}")
        if rule is not None:
            try:
                return _applied(rule, call, step)
            except Unsupported:
                if not data:
                    raise
        # Of what does not depend on θ nothing needs to be known: it stays as it is.
        call.freeze(*(axis for label in call.tensors() for axis in label.axes))
        return call.all_fixed()

    def resolved(self, folded_by: Callable[[str], str | None]) -> tuple[Spec, dict[str, tuple[Term, ...]]]:
        """What moves together, when every tensor has its label."""
        used = {name for given, name in self.trainable.items() if self.trace.needs(given)}
        idle = [label for name, label in self.parameters.items() if name not in used]
        returned = labels_in([self.known[name] for name in self.trace.returned])
        for label in (*returned, *idle):  # of what is not used nothing says what its axes have to do with each other
            for axis in label.axes:
                self.ties.freeze(axis)
        tensors = [label for value in self.known.values() for label in labels_in(value)]
        results = {step.name: self.known[step.name] for step in self._beside_weights()}
        weighted = {name: result for name, result in results.items() if isinstance(result, Label)}
        every = [*self.parameters.values(), *tensors, *self.virtual]
        unit = self._unit(folded_by)
        spec, axes = resolve(self.ties, self.parameters, every, self.mixed, weighted)
        return replace(spec, unit=unit) if unit else spec, axes

    def _unit(self, folded_by: Callable[[str], str | None]) -> tuple[str, ...]:
        """The vectors that must be 1 for the linear maps that there are; others let none pass."""
        names = {id(label): name for name, label in self.parameters.items()}
        beside = [(names[id(vector)], axis) for vector, axis in self.ties.unit]
        by = {name: folded_by(name) for name in dict(beside)}
        for vector, axis in self.ties.unit:
            self.ties.restrict(vector.axes[0])  # what is 1 stays so
            name = names[id(vector)]
            if by[name] is None or list(by.values()).count(by[name]) > 1:
                self.ties.restrict(axis)
        return tuple(dict.fromkeys(name for name, axis in beside if all(cell.positive for cell, _ in factors(axis))))

    def _summed(self, step: Step) -> frozenset[int]:
        """The dimensions of a result over which all that uses it sums it."""
        users = self.trace.users.get(step.name, ())
        if not users or step.name in self.trace.returned or any(_name(user) not in ("mean", "sum") for user in users):
            return frozenset()
        given = (user.args[1] if len(user.args) > 1 else user.kwargs.get("dim") for user in users)
        every = range(len(step.shape))
        sums = (
            {dim % len(step.shape) for dim in ([dims] if isinstance(dims, int) else dims or every)} for dims in given
        )
        return frozenset(set.intersection(*sums))

    def _beside_weights(self) -> list[Step]:
        """Operations that take parameters, or pick the first result of one; and those whose results these take."""
        layers: set[str] = set()
        for step in self.trace.steps:
            first = step.target is operator.getitem and step.args[1] == 0
            if any(name in (layers if first else self.trainable) for name in step.takes):
                layers.add(step.name)
        users = self.trace.users
        return [step for step in self.trace.steps if layers & {step.name, *(u.name for u in users.get(step.name, ()))}]

    def _picked(self, step: Step) -> Labels:
        source, index = step.args
        results = self.known[source.name]
        if not isinstance(results, tuple) or not isinstance(index, int):
            raise Unsupported(f"symmetry: {_where(step)} picks from {source.name}, which returns several: {REMEDY}")
        return results[index]

    def _arguments(self, step: Step) -> dict[str, Any]:
        """An operation's arguments by name, defaults among them, labels in place of tensors."""
        if step.schema is None:
            raise Unsupported(f"symmetry: {_where(step)} has no rule: {REMEDY}")
        arguments = step.schema.arguments
        given = {argument.name: argument.default_value for argument in arguments if argument.has_default_value()}
        given |= {argument.name: value for argument, value in zip(arguments, step.args, strict=False)}
        known = {name: self._used(name) for name in set(step.takes)}
        return {name: filled(value, known) for name, value in {**given, **step.kwargs}.items()}

    def _used(self, name: str) -> Labels:
        """The label of an argument. Each use of what does not depend on θ leaves it freedoms of its own."""
        labels = self.known[name]
        if self.ties.mixing and name in self.data and isinstance(labels, Label):
            return Label(tuple(self.ties.fixed(size_of(axis)) for axis in labels.axes))
        return renewed(labels) if self.data.get(name) and isinstance(labels, Label) else labels


def _rule(call: Call, step: Step) -> Rule | None:
    """The rule for an operation; None: there is none."""
    labels = call.tensors()
    if call.op in RULES and (labels or call.op in MADE):
        return RULES[call.op]
    return pointwise if labels and torch.Tag.pointwise in getattr(step.target, "tags", ()) else None


def _name(step: Step) -> str:
    return step.op.rpartition(".")[0] or step.op


def _where(step: Step) -> str:
    return f"{_name(step)} in {step.path or 'the outermost module'}"


def _applied(rule: Rule, call: Call, step: Step) -> Labels:
    """What a rule says that an operation returns."""
    try:
        labels = rule(call)
    except (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise Unsupported(
            f"symmetry: the rule for {call.where} does not cover this use of it ({first_line(error)}): {REMEDY}"
        ) from error
    values = call.result if isinstance(call.result, tuple | list) else [call.result]
    for index, (value, label) in enumerate(
        zip(values, labels if isinstance(labels, tuple) else [labels], strict=False)
    ):
        counts = isinstance(value, Tensor) and not (value.is_floating_point() or value.is_complex())
        if counts and isinstance(label, Label) and (len(values) == 1 or index in call.used):
            call.unscaled(*label.axes)  # integers do not scale
    if step.writes and isinstance(labels, Label):
        # Views of what was written to still have the label that it had.
        written = next(iter(call.tensors()), labels)
        for one, other in zip(written.axes, labels.axes, strict=len(written) == len(labels)):
            call.ties.same(one, other)
    return labels
