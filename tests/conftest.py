"""Shared by all tests. Every shape and type that an annotation promises is checked while they run."""

from __future__ import annotations

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))

install_import_hook("weightstring", f"{__name__}.checked")
