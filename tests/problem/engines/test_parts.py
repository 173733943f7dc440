"""How many models go into one call, and what happens when they are too many."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weightstring.errors import InvalidSetting
from weightstring.memory import is_out_of_memory
from weightstring.problem.engines import vmapped
from weightstring.problem.engines.parts import in_parts, width
from weightstring.problem.engines.stack import Stack


def test_width_counts_models_that_fit():
    assert width(2048, 784) == 10
    assert width(1 << 20, 100) == 1
    assert width(1, 1) == 1 << 24
    assert width(3, 4, budget=36) == 3
    assert width(3, 4, budget=11) == 1


@given(count=st.integers(0, 60), at_once=st.integers(1, 70), fits=st.integers(1, 70))
def test_parts_cover_all_models_in_order_and_none_is_larger_than_what_fits(count, at_once, fits):
    tried: list[int] = []

    def compute(part: slice) -> list[int]:
        tried.append(part.stop - part.start)
        if tried[-1] > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return list(range(part.start, part.stop))

    parts = in_parts(count, at_once, compute)
    assert [i for part in parts for i in part] == list(range(count))
    assert all(1 <= len(part) <= min(at_once, fits) for part in parts)
    assert all(size <= at_once for size in tried)
    if at_once <= fits and parts:
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"), True),
        (RuntimeError("shape '[2]' is invalid for input of size 3"), False),
        (ValueError("DefaultCPU"), False),
    ],
)
def test_what_is_out_of_memory_is_told_from_other_failures(error, full):
    assert is_out_of_memory(error) == full


def test_another_failure_is_passed_on_at_once():
    tried = []

    def compute(part: slice) -> None:
        tried.append(part)
        raise RuntimeError("shape '[2]' is invalid")

    with pytest.raises(RuntimeError, match="invalid"):
        in_parts(8, 8, compute)
    assert len(tried) == 1


def limit(monkeypatch: pytest.MonkeyPatch, engine: str, numbers: int) -> list[int]:
    """Let an engine's calls fail that hold more than so many models × examples; the sizes of those that passed."""
    sizes: list[int] = []

    def check(models: int, examples: int) -> None:
        if models * examples > numbers:
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 3.00 GiB")
        sizes.append(models)

    forward, vmap = Stack.__call__, vmapped.vmap

    def limited_forward(self, pieces, inputs):
        check(len(pieces[0]), inputs.shape[-2])
        return forward(self, pieces, inputs)

    def limited_vmap(function, *args):
        mapped = vmap(function, *args)
        examples = 29 if not args or args[0][1] is None else 6

        def run(thetas, *rest):
            check(len(thetas), examples)
            return mapped(thetas, *rest)

        return run

    if engine == "stack":
        monkeypatch.setattr(Stack, "__call__", limited_forward)
    else:
        monkeypatch.setattr(vmapped, "vmap", limited_vmap)
    return sizes


@pytest.mark.parametrize("engine", ["vmap", "stack"])
@pytest.mark.parametrize("whole", [False, True], ids=["on rows", "on the whole set"])
def test_a_call_that_does_not_fit_is_made_in_halves_with_the_same_numbers(
    monkeypatch, problem_of, plain, answers, engine, whole
):
    problem = problem_of(plain(), 2, engine=engine)
    thetas = torch.stack([problem.initial(seed) for seed in range(11)])
    rows = None if whole else torch.stack([torch.randperm(29)[:6] for _ in thetas])
    expected = answers(problem, thetas, rows)
    sizes = limit(monkeypatch, engine, 3 * 32)  # 29 examples, filled up
    found = answers(problem, thetas, rows)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
    assert sum(sizes) == 22
    assert max(sizes[-4:]) <= 3  # measured on 29 examples each


@pytest.mark.parametrize("engine", ["vmap", "stack"])
def test_one_model_that_does_not_fit_is_refused(monkeypatch, refused, problem_of, plain, engine):
    problem = problem_of(plain(), 2, engine=engine)
    thetas = torch.stack([problem.initial(seed) for seed in range(3)])
    limit(monkeypatch, engine, 5)
    message = r"^one model does not fit into memory beside what is there: pass a smaller chunk= or batch_size= to the"
    with refused(InvalidSetting, message):
        problem.measure(thetas)
    with refused(InvalidSetting, message):
        problem.gradient(thetas, torch.arange(6).expand(3, -1))
