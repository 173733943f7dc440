"""Prints the oldest versions that pyproject.toml allows of what the package needs, as pip's requirements.

python .ci/lowest.py figures > lowest.txt        with those of an extra too
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
extras = [each for name in sys.argv[1:] for each in project["optional-dependencies"][name]]
for requirement in [*project["dependencies"], *extras]:
    print(requirement.replace(">=", "=="))
