"""How the site is built: ``make docs``. Pages are the Markdown files that a code host shows as they are.

The root of the sources is the repository's, so that links between pages, also to those beside README.md, hold in both.
"""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "src")]

project = "weightstring"
author = "The weightstring developers"
project_copyright = f"{author}. MIT licence"
release = version = version_of("weightstring")

extensions = [
    "myst_nb",  # notebooks, executed; for all other pages it is myst_parser
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",  # docstrings have Args, Raises
    "sphinx_copybutton",
    "navigation",  # these three lie beside this file
    "generated",
    "pages",
]
root_doc = "docs/README"
include_patterns = [
    "docs/**.md",
    "docs/notebooks/*.ipynb",
    "BENCHMARKS.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "EXPERIMENTS.md",
]
exclude_patterns = ["docs/site", ".*"]
suppress_warnings = ["myst.header"]  # a table's page may begin below the first level of headings
nitpicky = False  # names outside the public ones have no page; `generated` refuses those that do not exist

myst_heading_anchors = 4  # `page.md#a-heading`, as code hosts have it
myst_enable_extensions = ["attrs_block"]
nb_execution_mode = "force"  # they are kept without outputs
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_merge_streams = True
nb_render_image_options = {"alt": "the figure that the cell above draws"}
highlight_language = "text"
pygments_dark_style = "github-dark"

autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
napoleon_numpy_docstring = False
napoleon_use_rtype = False
add_module_names = False
maximum_signature_line_length = 100
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "weightstring"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = ["extra"]  # index.html, which leads to docs/README.html
html_copy_source = html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
