"""What a sweep is asked: the words of ``bind``, and whose directory it is."""

from __future__ import annotations

import pytest

import weightstring as ws
from weightstring.store.records import TaskRef
from weightstring.study.sweep.directory import SweepDirectory
from weightstring.study.sweep.plan import variants
from weightstring.tasks import load_task


def swept(store, over, **options):
    forms = variants(TaskRef(name="polynomial", options=options), over)
    problems = {form.name: load_task(form.task.name, form.task.options) for form in forms}
    return ws.sweep(problems, [0.2], pairs=1, store=store, variants=forms, stop=ws.MaxBeads(2))


class TestDirectory:
    def test_more_forms_of_the_same_task_are_added(self, tmp_path):
        swept(tmp_path / "s", {"width": ["4"]})
        assert {row.variant for row in swept(tmp_path / "s", {"width": ["5"]}).rows} == {"width=4", "width=5"}

    @pytest.mark.many(quick=1)
    @pytest.mark.parametrize("another", ["another task", "another option", "from Python"])
    def test_another_task_s_sweep_is_refused(self, refused, tmp_path, another):
        swept(tmp_path / "s", {"width": ["4"]})
        before = SweepDirectory(tmp_path / "s").record()
        forms = variants(TaskRef(name="digits"), {"width": ["3"]})
        problems = {"width=3": load_task("digits", {"width": "3"})}
        with refused(ws.InvalidRun, "holds a sweep of another task: polynomial there"):
            if another == "another option":
                swept(tmp_path / "s", {"width": ["3"]}, target="cubic")
            else:
                named = {} if another == "from Python" else {"variants": forms}
                ws.sweep(problems, [0.2], pairs=1, store=tmp_path / "s", stop=ws.MaxBeads(2), **named)
        assert SweepDirectory(tmp_path / "s").record() == before


class TestBind:
    @pytest.mark.many(quick=2)
    @pytest.mark.parametrize(
        ("bind", "name"),
        [("evaluate", "loss"), ("loss", "loss"), ("train", "train_loss"), ("train_loss", "train_loss")],
    )
    def test_the_words_are_those_of_connect(self, bind, name):
        problem = load_task("polynomial")
        found = ws.sweep(problem, [0.2], pairs=1, bind=bind, stop=ws.MaxBeads(2))
        assert found.plan.bind == found.rows[0].bind == name

    def test_two_quantities_are_refused(self, refused):
        with refused(ws.InvalidSetting, "networks of a sweep are trained to one quantity, not loss and train_loss"):
            ws.sweep(load_task("polynomial"), [0.2], bind="both")

    def test_an_unknown_one_is_refused_with_the_words(self, refused):
        with refused(ws.InvalidSetting, "bind='accuracy'.*choose one of evaluate, train, both, loss"):
            ws.sweep(load_task("polynomial"), [0.2], bind="accuracy")
