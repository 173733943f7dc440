"""Shared by all tests. Every shape and type that an annotation promises is checked while they run."""

from __future__ import annotations

from jaxtyping import install_import_hook

install_import_hook("weightstring", "beartype.beartype")
