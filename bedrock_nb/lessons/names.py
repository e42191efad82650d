"""What names a cell needs and gives, without running it.

Strategy: IPython turns magics into Python, the compiler's own symbol table says which names are looked up
outside of the cell and which the cell binds.
"""

from __future__ import annotations

import ast
import builtins
import symtable
import warnings

__all__ = ["ALWAYS", "names", "parsed", "python"]

#: Names that every cell of a notebook has.
ALWAYS = {*dir(builtins), "display", "get_ipython", "In", "Out", "_", "__", "___", "__name__"}

#: What the compiler raises of text that is no Python, or nested too deeply for it.
_NO_PYTHON = (SyntaxError, ValueError, RecursionError, MemoryError)


def python(source: str) -> str:
    """A cell as Python: magics become calls."""
    from IPython.core.inputtransformer2 import TransformerManager

    made: str = TransformerManager().transform_cell(source)
    return made


def parsed(source: str) -> ast.Module | None:
    """The syntax tree of a cell; None if it has none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as an escape that Python warns about
        try:
            return ast.parse(python(source))
        except _NO_PYTHON:
            return None


def names(source: str) -> tuple[set[str], set[str]]:
    """The names that a cell looks up outside of itself, and those that it binds; none if it is no Python."""
    tree = parsed(source)
    if tree is None:
        return set(), set()
    outwards = {node.target.id for node in ast.walk(tree) if isinstance(node, ast.NamedExpr)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            plain = ast.unparse(ast.fix_missing_locations(_Scoped().visit(tree)))
            top = symtable.symtable(plain, "<cell>", "exec")
        except _NO_PYTHON:
            return set(), set()
    given = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()} | outwards
    wanted = {s.get_name() for s in top.get_symbols() if s.is_referenced()}
    for table in _below(top):
        for symbol in table.get_symbols():
            if symbol.is_global():
                if symbol.is_assigned():  # `global total`
                    given.add(symbol.get_name())
                elif symbol.is_referenced():
                    wanted.add(symbol.get_name())
    return wanted - given, given


class _Scoped(ast.NodeTransformer):
    """Makes a function of each comprehension: from Python 3.12 on its names would be those of the cell."""

    def _function(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        generators: list[ast.comprehension] = node.generators  # type: ignore[attr-defined]
        parts = [
            value for name in ("key", "value", "elt") if (value := getattr(node, name, None)) is not None
        ]
        bound = [n.id for one in generators for n in ast.walk(one.target) if isinstance(n, ast.Name)]
        body = [
            *parts,
            *(test for one in generators for test in one.ifs),
            *(one.iter for one in generators[1:]),
        ]
        arguments = [ast.arg(name) for name in dict.fromkeys(bound)]
        taken = ast.arguments(posonlyargs=[], args=arguments, kwonlyargs=[], kw_defaults=[], defaults=[])
        return ast.Call(ast.Lambda(taken, ast.Tuple(body, ast.Load())), [generators[0].iter], [])

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _function


def _below(table: symtable.SymbolTable) -> list[symtable.SymbolTable]:
    return [inner for child in table.get_children() for inner in (child, *_below(child))]
