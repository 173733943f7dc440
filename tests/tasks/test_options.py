"""Options that are one of several names."""

from __future__ import annotations

import pytest

from weightstring.errors import InvalidSetting
from weightstring.tasks.options import choose


@pytest.mark.parametrize("known", [["round", "square"], {"round": 1, "square": 2}])
def test_a_known_name_passes_and_another_is_refused(refused, known):
    choose("task", "form", "square", known)
    with refused(InvalidSetting, "^task: form='flat': choose one of round, square$"):
        choose("task", "form", "flat", known)
