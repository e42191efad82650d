"""References in docstrings: a name in single backticks, or a type, becomes a link where the site has that
name.

A docstring says `Reply` or `Recording.load`, as people speak; the type of a parameter says
``bedrock_nb.reply.Reply``, where Python found it. The site has ``bedrock_nb.Reply``.

Strategy: names are compared by their ends, and where Python says a name lives is looked up among the public
names. One that fits two things, or none (a module that is not public, a parameter), is set as code, without
a link.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.domains.python._object import PyObject

from _ext.public import homes

#: What types in docstrings are written in front of a name.
_FRONTS = ("nb.", "bedrock_nb.")
#: What the type of a parameter can be.
_TYPES = ("class", "exception", "data")


def _role(
    name: str, rawtext: str, text: str, lineno: int, inliner: Any, options: Any = None, content: Any = ()
) -> tuple[list[nodes.Node], list[nodes.Node]]:
    """What single backticks mean in a docstring: a name of ours, if it is one, and code in any case."""
    env = inliner.document.settings.env
    said = nodes.literal(text, text)
    node = addnodes.pending_xref(rawtext, said, refdomain="py", reftype="spoken", reftarget=text)
    node["refdoc"], node["py:class"] = env.docname, env.ref_context.get("py:class")
    node["py:module"] = env.ref_context.get("py:module")
    return [node], []


def meant(target: str, within: Sequence[str | None], objects: dict[str, Any]) -> str | None:
    """The full name of what a spoken one means; None if that is nothing of ours, or more than one thing.

    Parameters
    ----------
    target : str
        As it is spoken.
    within : sequence of str or None
        The class and the module that speak, whose own names come first.
    objects : dict
        What the site has, by full names.
    """
    name = target.removesuffix("()").removeprefix("~")
    name = homes().get(name, name)
    for front in _FRONTS:
        name = name.removeprefix(front)
    for owner in (*within, "bedrock_nb"):
        for full in (f"{owner}.{name}", f"bedrock_nb.{owner}.{name}"):
            if full in objects:
                return full
    if "." in name or name[:1].isupper():  # a single small word is a parameter more often than a method
        fit = [full for full in objects if full.endswith(f".{name}")]
        return fit[0] if len(fit) == 1 else None
    return None


def _resolve(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    if node.get("refdomain") != "py":
        return None
    domain = env.domains["py"]
    full = meant(node["reftarget"], (node.get("py:class"), node.get("py:module")), domain.objects)
    kinds = _TYPES if node["reftype"] in ("class", "exc") else None
    if full and (kinds is None or domain.objects[full].objtype in kinds):
        return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", full, node, contnode)
    return contnode if node["reftype"] == "spoken" else None


def _exactly(app: Any, doctree: nodes.document) -> None:
    """Let Sphinx look for whole names only: it takes any end that fits, and the word "text" is one."""
    for node in doctree.findall(addnodes.pending_xref):
        if node.get("refdomain") == "py":
            node.attributes.pop("refspecific", None)


def setup(app: Any) -> dict[str, Any]:
    """Add the role ``spoken`` (the default in docstrings), and the look-up."""
    app.add_role("spoken", _role)
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"  # as our docstrings call them
    app.connect("doctree-read", _exactly)
    app.connect("missing-reference", _resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
