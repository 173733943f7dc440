from .registry import TASKS as TASKS
from .registry import load_task as load_task
from .registry import resolve as resolve
