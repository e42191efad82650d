"""How Sphinx builds the site of the documentation: ``make docs``.

Everything that the site needs is here or in the package: no picture, script or index of another site is
fetched. What the code can say by itself is not written down twice: see ``_ext/generated.py``.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # so that extensions are found as _ext.…

import bedrock_nb

project = "bedrock-nb"
author = "the authors of bedrock-nb"
copyright = "the authors of bedrock-nb, Apache License 2.0"
version = release = bedrock_nb.__version__

extensions = [
    "myst_nb",  # Markdown and lessons as pages
    "sphinx.ext.autodoc",  # signatures and docstrings
    "sphinx.ext.napoleon",  # NumPy's form of docstrings
    "sphinx.ext.viewcode",  # [source]
    "sphinx_copybutton",  # code to try is there to be copied
    "sphinx_design",  # tabs
    "_ext.generated",  # what the code says by itself
    "_ext.relink",  # links of the repository; lessons
    "_ext.tabs",  # headings become tabs
    "_ext.references",  # names in docstrings become links
]
exclude_patterns = ["_build", "_ext", "**/.ipynb_checkpoints"]
suppress_warnings = [
    "mystnb.unknown_mime_type",  # some lesson shows a widget, with a picture or a text beside it
]
nitpicky = True
PYTHON = "collections|concurrent|contextlib|datetime|_?io|os|pathlib|t|types|typing"
LIBRARIES = (
    "aiohttp|anywidget|botocore|dask|ipywidgets|matplotlib|nbformat|numpy|pa|pandas|pd|pyarrow|pydantic"
)
#: What a reference may name without being there: nothing is fetched, so libraries have no index here.
nitpick_ignore_regex = [
    (r"py:.*", rf"({PYTHON})\..*"),  # Python's own
    (r"py:.*", rf"({LIBRARIES})\..*"),  # what we use
    (r"py:(class|exc)", r"bedrock_nb\..*"),  # a type that is not public: the signature says it all the same
    (r"py:(class|exc|obj)", r"[^.]*"),  # a type in words ("sequence of str"), a parameter of a type
    (r"py:(class|exc|obj)", r".*[ {}'\"…].*"),  # the same, with a full stop in it
]

myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # lessons are shown as they were saved; the tests run them
nb_merge_streams = True
nb_ipywidgets_js: dict[str, str] = {}  # no script of another site

default_role = "spoken"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
python_maximum_signature_line_length = 90
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = "bedrock-nb"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
