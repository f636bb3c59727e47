"""Digests of the code that makes a product: of the definitions it runs, and of no others.

A definition is a function, class or constant of a module. Found without running anything, it reaches the
definitions that it names, those imported inside of functions too. So a new function beside those a product is
made by changes nothing, and neither do comments, docstrings, layout, what is printed and what errors say.
"""

import ast
import hashlib
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from mmjsd.static import source_of

__all__ = ["code_digests"]

#: Modules and packages whose code shows in no product, or shows in what else its record holds.
UNCOUNTED = (
    "mmjsd.errors",
    "mmjsd.interruption",
    "mmjsd.params",
    "mmjsd.provenance",
    "mmjsd.registry",
    "mmjsd.static",
    "mmjsd.training.progress",
)

#: In place of a name: the statements of a module that define nothing.
_REST = "<module>"

_Identity = tuple[int, int]

#: What was answered before, and of which files: many products have the same roots.
_answers: dict[tuple[str, ...], tuple[dict[str, _Identity], dict[str, str]]] = {}


def code_digests(roots: Iterable[str]) -> dict[str, str]:
    """Digest the definitions that the roots reach in their own packages.

    Args:
        roots: `module:name`, a definition; `module`, all of them; `module:*`, those whose names occur as
            attributes in what is reached otherwise: of a module that is chosen while the program runs.

    Returns:
        `module:name` -> sha256 of each definition reached, and `module` -> that of its statements that define
        nothing.

    Raises:
        ModuleNotFoundError: there is no such module.
        AttributeError: it has no such definition.
    """
    roots = tuple(roots)
    if roots in _answers:
        files, answer = _answers[roots]
        if all(_identity(module) == identity for module, identity in files.items()):
            return answer.copy()
    reached: dict[str, set[str]] = {}
    attributes: set[str] = set()
    open_modules = [root.removesuffix(":*") for root in roots if root.endswith(":*")]
    waiting: list[tuple[str, str]] = []
    for root in roots:
        module, _, name = root.partition(":")
        if name and name not in (*_read(module).definitions, "*"):
            raise AttributeError(f"{module} has no {name}")
        waiting += [
            (module, n) for n in ([] if name == "*" else [name] if name else _read(module).definitions)
        ]
    while waiting:
        while waiting:
            module, name = waiting.pop()
            if module.startswith(UNCOUNTED):
                continue
            content = _read(module)
            if name in reached.get(module, ()) or name not in content.definitions:
                continue
            first = module not in reached
            reached.setdefault(module, set()).add(name)
            for part in [content.part(name), *([content.part(_REST)] if first else [])]:
                attributes |= part.attributes
                waiting += part.references
        waiting = [
            (module, name)
            for module in open_modules
            for name in _read(module).definitions.keys() & attributes - reached.get(module, set())
        ]
    parts = {
        f"{module}:{name}".removesuffix(f":{_REST}"): _read(module).part(name)
        for module, names in reached.items()
        for name in (_REST, *names)
    }
    answer = {name: _digest(part.text) for name, part in sorted(parts.items()) if part.text}
    _answers[roots] = {module: _identity(module) for module in [*reached, *open_modules]}, answer
    return answer.copy()


class _Part:
    """Some statements of a module: their text, and what they name."""

    def __init__(self, statements: list[ast.stmt], module: "_Module"):
        # the text of the tree: unlike its dump, it is the same in all versions of Python
        statements = [bare for statement in statements if (bare := _Bare().visit(statement))]
        self.text = "\n".join(map(ast.unparse, statements))
        nodes = [node for statement in statements for node in ast.walk(statement)]
        self.attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        local = dict(module.imports)
        for node in nodes:
            if isinstance(node, ast.Import | ast.ImportFrom):
                local |= _imported(node, module.package)
        self.references = list(_references(nodes, local, module))


class _Module:
    def __init__(self, name: str, path: Path):
        self.name = name
        self.package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        tree = ast.parse(path.read_bytes())
        self.imports: dict[str, tuple[str, str]] = {}
        self.definitions: dict[str, list[ast.stmt]] = {}
        self.parts: dict[str, _Part] = {}
        rest: list[ast.stmt] = []
        for statement in tree.body:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                self.imports |= _imported(statement, self.package)
            elif names := list(_bound(statement)):
                for bound in names:
                    self.definitions.setdefault(bound, []).append(statement)
            elif not _is_for_type_checkers(statement):
                rest.append(statement)
        self.rest = rest

    def part(self, name: str) -> _Part:
        """A definition, or all that is none."""
        if name not in self.parts:
            self.parts[name] = _Part(self.rest if name == _REST else self.definitions[name], self)
        return self.parts[name]


def _read(module: str) -> _Module:
    return _parsed(module, *_identity(module))


def _identity(module: str) -> _Identity:
    """Size and time of the file of a module."""
    path = source_of(module)
    if path is None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


@cache
def _parsed(module: str, *_identity: int) -> _Module:
    path = source_of(module)
    assert path is not None
    return _Module(module, path)


def _bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement of a module binds."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for target in targets:
            # of `table[key] = value`, table
            yield from (node.id for node in ast.walk(target) if isinstance(node, ast.Name))
    elif isinstance(statement, ast.If | ast.Try) and not _is_for_type_checkers(statement):
        for inner in ast.walk(statement):
            if (
                isinstance(inner, ast.stmt)
                and inner is not statement
                and not isinstance(inner, ast.If | ast.Try)
            ):
                yield from _bound(inner)


def _is_for_type_checkers(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test)


def _imported(node: ast.Import | ast.ImportFrom, package: str) -> dict[str, tuple[str, str]]:
    """Name -> module and what of it, nothing being the module itself."""
    top = package.partition(".")[0]
    if isinstance(node, ast.Import):
        ours = [alias.name for alias in node.names if alias.name.partition(".")[0] in (top, "mmjsd")]
        names = [alias.asname for alias in node.names if alias.name in ours]
        return {
            asname or name.partition(".")[0]: (name if asname else name.partition(".")[0], "")
            for name, asname in zip(ours, names, strict=True)
        }
    base = package.rsplit(".", node.level - 1)[0] if node.level else ""
    source = ".".join(filter(None, (base, node.module)))
    if source.partition(".")[0] not in (top, "mmjsd"):  # a package of somebody else is made with ours
        return {}
    if node.names[0].name == "*":
        return {name: (source, name) for name in _read(source).definitions}
    return {
        alias.asname or alias.name: (f"{source}.{alias.name}", "")
        if source_of(f"{source}.{alias.name}")
        else (source, alias.name)
        for alias in node.names
    }


def _references(
    nodes: list[ast.AST], imports: dict[str, tuple[str, str]], module: _Module
) -> Iterator[tuple[str, str]]:
    """Module and name of each definition that is named."""
    for node in nodes:
        if isinstance(node, ast.Name):
            if node.id in module.definitions:
                yield module.name, node.id
            elif found := imports.get(node.id):
                yield from _named(*found)
        elif isinstance(node, ast.Attribute):
            chain = ast.unparse(node).split(".")
            source, name = imports.get(chain[0], ("", "-"))
            if name == "":
                # as far as the chain leads from package to module
                while len(chain) > 2 and source_of(f"{source}.{chain[1]}"):
                    source, chain = f"{source}.{chain[1]}", chain[1:]
                if len(chain) > 1:
                    yield from _named(source, chain[1])


def _named(module: str, name: str) -> Iterator[tuple[str, str]]:
    """Where a name that is imported from a module is defined: there, or where that imports it from."""
    if not name or source_of(module) is None:
        return
    content = _read(module)
    if name in content.definitions:
        yield module, name
    elif name in content.imports:
        yield from _named(*content.imports[name])


class _Bare(ast.NodeTransformer):
    """Without docstrings, what is printed, and what errors say."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return None
        if isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "print":
            return None
        self.generic_visit(node)
        return node

    def visit_Call(self, node: ast.Call) -> ast.Call:
        if ast.unparse(node.func).rpartition(".")[2] == "MmjsdError":
            return ast.Call(node.func, [], [])
        self.generic_visit(node)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
