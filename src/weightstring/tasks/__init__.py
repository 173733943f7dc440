"""Problems by name: the built-in ones of Section V, and functions in the user's own files."""

from weightstring.tasks.registry import BUILT_IN, load_task, resolve

__all__ = ["BUILT_IN", "load_task", "resolve"]
