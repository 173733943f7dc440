"""Where what was found out once is kept for later sessions."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(name: str) -> Path:
    """A folder of ours in the user's cache (XDG Base Directory Specification); it may not be there yet."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(cache) if os.path.isabs(cache) else Path(os.path.expanduser("~/.cache"))
    return home / "weightstring" / name
