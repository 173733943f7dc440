"""Problems by name: the built-in ones of Section V, and functions in the user's own files."""

from weightstring.tasks.registry import TASKS, load_task, resolve

__all__ = ["TASKS", "load_task", "resolve"]
