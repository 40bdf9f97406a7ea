"""The product uses only what other packages offer in public."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.paths import ROOT

PRODUCT = ("models", "pipeline", "telemetry", "worker", "monitoring", "frontend", "run")
#: Python's own manual offers these: of named tuples, and of `os`.
DOCUMENTED = ("_", "_asdict", "_replace", "_make", "_fields", "_exit")
#: (file, what it uses) -> why there is no other way.
EXCEPTIONS = {
    # Python's API and SDK of logs have no other name until the signal is called stable:
    # https://github.com/open-telemetry/opentelemetry-python/pull/2240 and issues/4750
    ("telemetry/setup.py", "opentelemetry._logs"): "the only name of the logs API",
    ("telemetry/setup.py", "opentelemetry.sdk._logs"): "the only name of the logs SDK",
    ("telemetry/exporters.py", "opentelemetry.sdk._logs"): "the only name of the logs SDK",
    ("telemetry/exporters.py", "opentelemetry.sdk._logs.export"): "the only name of the logs SDK",
}


def private(name: str) -> bool:
    """Whether a name is said to be nobody else's: one underscore in front, and not alone."""
    if name in DOCUMENTED:
        return False
    return name.startswith("_") and not name.startswith("__")


def sources() -> dict[str, ast.Module]:
    return {
        str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8"))
        for part in PRODUCT
        for path in sorted((ROOT / part).rglob("*.py"))
    }


def own_names(trees: dict[str, ast.Module]) -> set[str]:
    """Private names that our own classes and modules define."""
    found = set()
    for tree in trees.values():
        for node in ast.walk(tree):
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    found.add(name)
                case ast.ClassDef(name=name):
                    found.add(name)
                case ast.Name(id=name, ctx=ast.Store()):
                    found.add(name)
                case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                    found.add(name)
    return {name for name in found if private(name)}


def used(tree: ast.Module, own: set[str]) -> Iterator[str]:
    """What of others' private names a file uses."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (each.name for each in names if any(map(private, each.name.split("."))))
            case ast.ImportFrom(module=str(module), names=names):
                if any(map(private, module.split("."))):
                    yield module
                elif module.split(".")[0] not in PRODUCT:
                    yield from (f"{module}.{each.name}" for each in names if private(each.name))
            case ast.Attribute(value=value, attr=name) if private(name) and name not in own:
                if not (isinstance(value, ast.Name) and value.id in ("self", "cls")):
                    yield name
            case ast.Call(
                func=ast.Name(id="getattr" | "setattr" | "hasattr" | "delattr"),
                args=[_, ast.Constant(value=str(name)), *_],
            ) if private(name) and name not in own:
                yield name


def test_only_public_names() -> None:
    """No import of a private module or name, no private attribute of a foreign object; except for
    the listed, which are all still needed."""
    trees = sources()
    own = own_names(trees)
    found = {(path, name) for path, tree in trees.items() for name in used(tree, own)}
    assert found == set(EXCEPTIONS)


def test_what_is_found() -> None:
    """The test above would see each of these."""
    program = """
import a._b
from a._internal.c import d
from a import _e
x._f
x.y()._g = 1
getattr(x, "_h")
self._i
x.__dict__
x._own
from pipeline import _j
"""
    assert set(used(ast.parse(program), {"_own"})) == {
        "a._b", "a._internal.c", "a._e", "_f", "_g", "_h",
    }  # fmt: skip
