"""The package's front: what is public, that it is there, and that asking for it costs nothing before."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import bedrock_nb as nb

ROOT = Path(nb.__file__).parent
PUBLIC: dict[str, str | None] = nb._PUBLIC

#: Everything heavy that this package uses somewhere.
HEAVY = (
    "IPython aiohttp anywidget boto3 botocore ipywidgets markdown_it matplotlib nh3 numpy orjson pandas "
    "pydantic tqdm urllib3"
)

#: Modules and packages that share their name with a function.
SHADOWED = [
    name
    for name, where in PUBLIC.items()
    if where and any((ROOT / path).exists() for path in (f"{name}.py", f"{name}/__init__.py"))
]


def fresh(code: str) -> str:
    """What a new interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT.parent,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", nb.__all__)
def test_every_public_name_is_there(name):
    """It resolves, to what its own module calls by that name, and again to the same object."""
    value = getattr(nb, name)
    where = PUBLIC[name]
    assert value is getattr(nb, name)
    if where is None:
        assert value is importlib.import_module(f"bedrock_nb.{name}")
    else:
        module = importlib.import_module(f"bedrock_nb.{where}")
        assert value is getattr(module, name)
        assert name in module.__all__


def test_the_list_of_names_is_one_list():
    """``__all__`` and the table of where they live agree, and are in order."""
    assert sorted(nb.__all__) == nb.__all__ == list(PUBLIC)


def test_dir_shows_what_there_is():
    """Completion in a notebook offers every public name before any was used."""
    assert set(nb.__all__) <= set(dir(nb))
    shown = fresh("import bedrock_nb; print(*dir(bedrock_nb))").split()
    assert {*nb.__all__, "__version__"} <= set(shown)
    assert shown == sorted(shown)


def test_type_checkers_see_the_same_names():
    """The imports for type checkers name every public name, from the module that has it."""
    tree = ast.parse(Path(nb.__file__).read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {name: f"bedrock_nb.{where}" if where else "bedrock_nb" for name, where in PUBLIC.items()}


@pytest.mark.parametrize("name", ["nothing", "Events", "_private", "__wrapped__"])
def test_an_unknown_name_is_an_attribute_error(name):
    """As of any module."""
    with pytest.raises(AttributeError, match=f"'bedrock_nb' has no attribute '{name}'"):
        getattr(nb, name)
    assert not hasattr(nb, name)


def test_some_functions_share_their_name_with_a_module():
    """The tests below are about these."""
    assert {"events", "live"} <= set(SHADOWED)


@pytest.mark.parametrize(
    "before",
    [
        "import bedrock_nb.{0}",
        "from bedrock_nb.{0} import __all__",
        "import importlib; importlib.import_module('bedrock_nb.{0}')",
        "import bedrock_nb; bedrock_nb.{0}; import bedrock_nb.{0}",
    ],
)
def test_a_function_wins_over_the_module_of_its_name(before):
    """Whatever was imported before and how, ``bedrock_nb.events`` is the table, not the typed events."""
    imports = "\n".join(before.format(name) for name in SHADOWED)
    code = (
        f"{imports}\nimport bedrock_nb as nb\nprint(*(getattr(nb, name).__module__ for name in {SHADOWED}))"
    )
    for found, name in zip(fresh(code).split(), SHADOWED, strict=True):
        assert f"{found}.".startswith(f"bedrock_nb.{PUBLIC[name]}.")  # or a module inside that package


def test_the_module_of_that_name_is_still_importable():
    """``from bedrock_nb.events import TextDelta`` works, before and after the function was used."""
    for name in SHADOWED:
        assert isinstance(importlib.import_module(f"bedrock_nb.{name}"), ModuleType)
        assert not isinstance(getattr(nb, name), ModuleType)
    code = (
        "from bedrock_nb.events import TextDelta; import bedrock_nb as nb; nb.events; "
        "from bedrock_nb.events import TextDelta as again; print(TextDelta is again, nb.events.__name__)"
    )
    assert fresh(code) == "True events"


def test_other_attributes_are_set_as_ever():
    """Only a module cannot take a function's place; submodules without a public name appear as usual."""
    code = (
        "import bedrock_nb as nb; nb.mine = 5; import bedrock_nb.wire; "
        "print(nb.mine, nb.wire.__name__, nb.__name__, nb.__version__)"
    )
    assert fresh(code) == f"5 bedrock_nb.wire bedrock_nb {nb.__version__}"


def test_the_import_brings_nothing_heavy():
    """In a new interpreter, ``import bedrock_nb`` leaves every library that it uses unimported."""
    code = f"import sys, bedrock_nb; print(*sorted(set('{HEAVY}'.split()) & set(sys.modules)))"
    assert fresh(code) == ""


def test_the_import_brings_no_module_of_ours():
    """Each is loaded when a name of its is first used."""
    code = "import sys, bedrock_nb; print(*(name for name in sys.modules if name.startswith('bedrock_nb')))"
    assert fresh(code) == "bedrock_nb"


@pytest.mark.parametrize(
    ("name", "not_wanted"),
    [
        ("Request", "pandas matplotlib aiohttp IPython boto3"),
        ("Recording", "pandas matplotlib aiohttp IPython boto3 numpy"),
        ("stream", "pandas matplotlib aiohttp IPython numpy"),
        ("summary", "matplotlib aiohttp IPython boto3"),
        ("plot", "aiohttp IPython boto3"),
        ("live", "pandas matplotlib aiohttp boto3"),
    ],
)
def test_a_name_brings_only_what_it_needs(name, not_wanted):
    """Who only streams does not wait for pandas; who only plots does not wait for boto3."""
    code = f"""
import sys, bedrock_nb
bedrock_nb.{name}
print(*sorted(set('{not_wanted}'.split()) & set(sys.modules)))
"""
    assert fresh(code) == ""


@pytest.mark.parametrize("name", nb.__all__)
def test_every_public_name_is_documented(name):
    """``help(bedrock_nb.x)`` says something about each."""
    value = getattr(nb, name)
    documented = value if callable(value) or isinstance(value, ModuleType) else type(value)
    assert inspect.getdoc(documented)
