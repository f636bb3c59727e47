"""Modules read without being imported: where they lie, and what options a function or class declares.

Importing PyTorch takes seconds, which nobody shall wait for who checks parameters or asks for help.
"""

import ast
import builtins
import importlib
import importlib.util
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Option", "constant", "options", "parsed", "source_of"]


class Option(NamedTuple):
    """A keyword-only argument."""

    annotation: Any
    """Its type, as pydantic takes it."""
    default: Any
    text: str
    """What the docstring says of it."""


@cache
def source_of(module: str) -> Path | None:
    """Find the file of a module without importing the packages around it."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or spec.origin is None or not spec.has_location:
        return None
    if not rest:
        return Path(spec.origin)  # of a package, or of a module that is in none
    base = Path(spec.origin).parent.joinpath(*rest)
    candidates = (base / "__init__.py", base.with_name(f"{base.name}.py"))
    return next((path for path in candidates if path.is_file()), None)


@cache
def parsed(module: str) -> ast.Module:
    """Parse the source of a module.

    Raises:
        ModuleNotFoundError: there is none.
    """
    path = source_of(module)
    if path is None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)
    return ast.parse(path.read_bytes())


@cache
def options(reference: str) -> dict[str, Option]:
    """Read the keyword-only arguments that have a default, of a function or of a class and its bases.

    Args:
        reference: `module:name`.

    Returns:
        name -> annotation, default and what the docstring says under `Args:`; those of bases first.

    Raises:
        ModuleNotFoundError, AttributeError: there is no such module or definition.
    """
    module, _, name = reference.partition(":")
    node = _definition(module, name)
    found: dict[str, Option] = {}
    function: ast.stmt | None = node
    if isinstance(node, ast.ClassDef):
        for base in node.bases:
            if origin := _origin(module, ast.unparse(base)):
                found |= options(":".join(origin))
        function = next((part for part in node.body if getattr(part, "name", "") == "__init__"), None)
    if isinstance(function, ast.FunctionDef):
        texts = _documented(ast.get_docstring(node) or "")
        for argument, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
            if default is not None:  # others are not options: whoever calls it knows them
                found[argument.arg] = Option(
                    _evaluated(argument.annotation, module),
                    _evaluated(default, module),
                    texts.get(argument.arg, ""),
                )
    return found


def constant(module: str, name: str, default: Any = None) -> Any:
    """Read a constant that a module assigns; the default where it has none of that name.

    Raises:
        ModuleNotFoundError: there is no such module.
        Exception: whatever evaluating it raises.
    """
    for node in parsed(module).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if name in map(ast.unparse, targets):
                return _evaluated(node.value, module)
    return default


def _definition(module: str, name: str) -> ast.ClassDef | ast.FunctionDef:
    for node in parsed(module).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return node
    raise AttributeError(f"{module} has no {name}")


def _origin(module: str, name: str) -> tuple[str, str] | None:
    """The module and name of a definition, in whatever package has its source."""
    for node in parsed(module).body:
        if getattr(node, "name", None) == name:
            return module, name
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                if (alias.asname or alias.name) == name and node.module.partition(".")[0] != "torch":
                    return _origin(node.module, alias.name)
    return None


def _evaluated(node: ast.expr | None, module: str) -> Any:
    """The value of an annotation or default, importing only what is named in it."""
    if node is None:
        return None
    names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    known = {name: value for name in names for value in _bound(name, module)}
    return eval(compile(ast.Expression(node), module, "eval"), {"__builtins__": {}}, known)


def _bound(name: str, module: str) -> Iterator[Any]:
    """What a module binds a name to."""
    for node in parsed(module).body:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    yield getattr(importlib.import_module(node.module), alias.name)
    unbound = object()
    if (value := constant(module, name, unbound)) is not unbound:
        yield value
    if hasattr(builtins, name):
        yield getattr(builtins, name)


def _documented(docstring: str) -> dict[str, str]:
    """What a docstring says of each argument under `Args:`."""
    _, _, section = inspect.cleandoc(docstring).partition("Args:\n")
    texts: dict[str, str] = {}
    for line in section.splitlines():
        if line and not line.startswith(" "):
            break
        if found := re.match(r"    (\w[\w, ]*): (.*)", line):
            names, text = found[1].split(", "), found[2]
            texts |= dict.fromkeys(names, text)
        elif texts and line.strip():
            texts |= dict.fromkeys(names, f"{texts[names[0]]} {line.strip()}")
    return texts
