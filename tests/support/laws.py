"""The house rules as functions from source text to broken rules; `test_laws.py` applies them."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src"
MAX_FILE, MAX_FUNCTION = 300, 40

LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"core"}),
    frozenset({"generators", "scores"}),
    frozenset({"kit", "natural"}),
    frozenset({"search", "guide", "finetune", "condition", "diagnose"}),
    frozenset({"results", "store"}),
    frozenset({"run", "report"}),
    frozenset({"cli", "ui"}),
)
OPEN_LAYERS = frozenset({4})
"""Layers whose rooms may import each other; in every other layer they may not."""

LIGHT = frozenset({"torch", "numpy", "safetensors", "PIL", "jaxtyping", "typing_extensions", "zmax"})
LIGHT_BY_PLACE = {
    "zmax.cli": frozenset({"typer", "rich", "click"}),
    "zmax.run.progress": frozenset({"rich"}),
    "zmax.report": frozenset({"jinja2", "markupsafe"}),
    "zmax.testing": frozenset({"pytest"}),
}

GLOBAL_TORCH = frozenset({"manual_seed", "seed", "randn_like", "rand_like", "randint_like"})
DRAWS = frozenset({"rand", "randn", "randint", "randperm", "normal", "multinomial", "bernoulli", "poisson"})
IN_PLACE = frozenset(
    {"normal_", "uniform_", "bernoulli_", "random_", "exponential_", "cauchy_", "geometric_", "log_normal_"}
)
DRAWING_METHODS = IN_PLACE | {"multinomial", "bernoulli"}
ON_PURPOSE = ("noqa: TID251", "global on purpose")
FIXED_INITS = frozenset({"zeros_", "ones_", "constant_", "eye_", "dirac_", "calculate_gain"})
SEEDED = frozenset({"default_rng", "Random", "SeedSequence", "PCG64", "Philox"})
ALLOWED_NUMPY = SEEDED | {"Generator", "BitGenerator"}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def sources(*folders: str) -> list[Path]:
    """Return the Python files under these folders of the repository."""
    skipped = {"node_modules", "build", "_build", "__pycache__"}
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return sorted(path for path in found if not skipped & set(path.relative_to(ROOT).parts))


def module_name(path: Path) -> str:
    """Return the dotted name of a file under src."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Give line and dotted name of all that is imported, anywhere in the tree; relative imports start with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            names = [f"zmax.{a.name}" for a in node.names] if base == "zmax" else [base]
            yield from ((node.lineno, name) for name in names)


def room_of(module: str) -> str:
    """Return the room of a module, "" for the package itself; what `python -m zmax` runs belongs to the cli."""
    room = module.partition(".")[2].partition(".")[0]
    return "cli" if room == "__main__" else room


def layer(room: str) -> int | None:
    """Return the height of a room, or None for one that is in no layer."""
    return next((i for i, rooms in enumerate(LAYERS) if room in rooms), None)


def forbidden_imports(source: str, module: str) -> list[str]:
    """Return the imports that point upward or sideways."""
    room = room_of(module)
    return [
        f"line {line}: {module} imports {name}"
        for line, name in imported(ast.parse(source))
        if (name.startswith(".") or name.split(".")[0] == "zmax") and not may_import(room, name)
    ]


def foreign_families(source: str, module: str) -> list[str]:
    """Return what a method's file imports of its road beyond its own family."""
    road, family = [*module.split(".")[1:3], "", ""][:2]
    if layer(road) != layer("search") or not family:
        return []
    own = (f"zmax.{road}.{family}", *(() if "." in module.removeprefix(f"zmax.{road}.") else (module,)))
    return [
        f"line {line}: {module} imports {name}"
        for line, name in imported(ast.parse(source))
        if room_of(name) == road and not any(name == o or name.startswith(f"{o}.") for o in own)
    ]


def may_import(room: str, name: str) -> bool:
    """Tell whether a module of `room` may import `name`."""
    target = name.split(".")[1] if name.count(".") and not name.startswith(".") else ""
    if target == room:
        return True
    if room == "testing":
        return target != "cli"
    if room == "":
        return target != "cli"
    here, there = layer(room), layer(target)
    if here is None:
        return False
    if there is None:
        return here == len(LAYERS) - 1 and not name.startswith(".") and target != "testing"
    return there < here or (there == here and here in OPEN_LAYERS)


def more_than_names(source: str) -> list[str]:
    """Return what a module holds beyond a docstring, imports, `__all__`, `__version__` and lazy imports."""
    return [f"line {node.lineno}: {ast.unparse(node)[:60]}" for node in ast.parse(source).body if not _is_names(node)]


def _is_names(node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.Assign):
        return all(isinstance(t, ast.Name) and t.id in {"__all__", "__version__", "_HOMES"} for t in node.targets)
    if isinstance(node, ast.FunctionDef):
        return node.name in {"__getattr__", "__dir__"}
    return isinstance(node, (ast.Import, ast.ImportFrom))


def long_functions(source: str) -> list[str]:
    """Return the functions of more than 40 lines, their docstrings not counted."""
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, Function)]
    sizes = [(f.name, f.lineno, function_lines(f)) for f in functions]
    return [f"line {line}: {name} has {size} lines" for name, line, size in sizes if size > MAX_FUNCTION]


def function_lines(function: Function) -> int:
    """Return how many lines a function takes, without its decorators and docstring."""
    first = function.body[0]
    size = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function) is not None:
        size -= (first.end_lineno or first.lineno) - first.lineno + 1
    return size


def heavy_imports(source: str, module: str) -> list[str]:
    """Return what a module imports at its top level beyond the standard library and the light packages."""
    extra = [names for place, names in LIGHT_BY_PLACE.items() if module == place or module.startswith(place + ".")]
    allowed = sys.stdlib_module_names | LIGHT.union(*extra)
    return [
        f"line {line}: {module} imports {name} at module level"
        for node in _top_level(ast.parse(source).body)
        for line, name in imported(node)
        if name.split(".")[0] not in allowed
    ]


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Give the statements that run at import, also inside `if` and `try`, except under `if TYPE_CHECKING`."""
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, (ast.If, ast.Try, ast.With, ast.ClassDef)):
            inner = [*node.body, *getattr(node, "orelse", []), *getattr(node, "finalbody", [])]
            inner += [stmt for handler in getattr(node, "handlers", []) for stmt in handler.body]
            yield from _top_level(inner)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node


def unmarked_rows(source: str) -> list[str]:
    """Return the fields of states that have as many rows as a field marked with ROW, and lack the mark."""
    found = []
    for kind in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)):
        fields = [(f, _first_axis(f.annotation), _is_row(f)) for f in kind.body if isinstance(f, ast.AnnAssign)]
        rows = {axis for _, axis, marked in fields if marked and axis}
        missing = [f for f, axis, marked in fields if axis in rows and not marked]
        found += [f"line {f.lineno}: {ast.unparse(f.target)}" for f in missing]
    return found


def _is_row(field: ast.AnnAssign) -> bool:
    return field.value is not None and "metadata=ROW" in ast.unparse(field.value)


def _first_axis(annotation: ast.expr) -> str:
    """Return the name of the first axis of an annotated tensor, or nothing."""
    found = re.search(r"\[Tensor, ['\"] *(\w+)", ast.unparse(annotation))
    return found[1] if found else ""


def undocumented(source: str) -> list[str]:
    """Return the public modules, classes and functions without a docstring."""
    tree = ast.parse(source)
    missing = [] if ast.get_docstring(tree) else ["the module"]
    return missing + list(_undocumented(tree, ""))


def _undocumented(parent: ast.Module | ast.ClassDef, prefix: str) -> Iterator[str]:
    for node in parent.body:
        if not isinstance(node, Definition) or node.name.startswith("_") or _is_repeat(node):
            continue
        if ast.get_docstring(node) is None:
            yield f"line {node.lineno}: {prefix}{node.name}"
        if isinstance(node, ast.ClassDef):
            yield from _undocumented(node, f"{prefix}{node.name}.")


def _is_repeat(node: Definition) -> bool:
    """Tell setters, overloads and a module's forward, which its class documents, from what needs a docstring."""
    marks = " ".join(ast.unparse(decorator) for decorator in node.decorator_list)
    return "overload" in marks or ".setter" in marks or node.name == "forward"


def global_randomness(source: str) -> list[str]:
    """Return the draws from a global random stream.

    Let through: the constructors of networks, since torch's initialisers know no other stream than the global one, and
    lines that say they mean it by `noqa: TID251` (where ruff objects too) or `global on purpose`.
    """
    tree, lines = ast.parse(source), source.splitlines()
    names = _origins(tree)
    free = {id(node) for constructor in _network_constructors(tree) for node in ast.walk(constructor)}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and id(node) not in free]
    found = [(call.lineno, _origin(call.func, names)) for call in calls if _is_global(call, names)]
    return [f"line {n}: {name}" for n, name in sorted(found) if not any(m in lines[n - 1] for m in ON_PURPOSE)]


def _network_constructors(tree: ast.AST) -> Iterator[ast.stmt]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base).endswith("Module") for base in node.bases):
            yield from (item for item in node.body if isinstance(item, Function) and item.name == "__init__")


def _origins(tree: ast.AST) -> dict[str, str]:
    """Return the full dotted name behind each imported name."""
    origins: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            origins |= {
                a.asname or a.name.split(".")[0]: a.name if a.asname else a.name.split(".")[0] for a in node.names
            }
        elif isinstance(node, ast.ImportFrom):
            origins |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return origins


def _origin(function: ast.expr, names: dict[str, str]) -> str:
    """Return the dotted name a call goes to; what is no imported name starts with a dot."""
    if isinstance(function, ast.Name):
        return names.get(function.id, function.id)
    if isinstance(function, ast.Attribute):
        root = function.value
        known = isinstance(root, ast.Attribute) or (isinstance(root, ast.Name) and root.id in names)
        return f"{_origin(root, names) if known else ''}.{function.attr}"
    return ""


def _is_global(call: ast.Call, names: dict[str, str]) -> bool:
    name, keywords = _origin(call.func, names), {k.arg for k in call.keywords}
    head, _, last = name.rpartition(".")
    if head.split(".")[0] == "random":
        return last not in SEEDED or not call.args
    if head == "numpy.random":
        return last not in ALLOWED_NUMPY or (last in SEEDED and not call.args and "seed" not in keywords)
    if head in {"torch", "torch.cuda", "torch.random"} and last in GLOBAL_TORCH | {"manual_seed_all"}:
        return True
    if last in {"DataLoader", "RandomSampler", "random_split"} and head.startswith("torch.utils"):
        return "generator" not in keywords
    if head in {"torch.nn.init", "torch.nn.functional"}:
        return head.endswith("init") and last not in FIXED_INITS and "generator" not in keywords
    method = isinstance(call.func, ast.Attribute) and not name.startswith(("numpy.", "zmax."))
    draws = last in DRAWS if head == "torch" else method and last in DRAWING_METHODS
    return draws and "generator" not in keywords
