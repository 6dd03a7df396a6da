"""A seeded random sample of one-line breaks, made by the operators of cosmic-ray.

First a place in the room's code is drawn, all places alike, then one of the breaks that the operators offer there.
Left out, since no test of behaviour can or should see them:

- breaks that any test sees: bit operators in place of arithmetic (they raise on floats);
- `==` for `is` and the like (the same for small integers), and operators that draw at random (variables swapped);
- type hints and type aliases, docstrings, imports, `__all__`, `if TYPE_CHECKING`, what `__repr__` and `__str__` say;
- error messages (all of a `raise`) and warnings;
- checks of our own invariants (`assert`, `zip(strict=)`) and what binds programmers rather than runs (`frozen=`,
  `slots=`, `kw_only=`, `@abstractmethod`, `@overload`, `@final`, `@runtime_checkable`), and caches of pure functions;
- sizes and colours of drawings, given by the keywords in `LAYOUT`.
"""

from __future__ import annotations

import ast
import difflib
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cosmic_ray.ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.operators.provider import OperatorProvider

ROOMS = ("core", "run", "store", "results", "report", "search", "guide", "kit", "scores", "generators")
LEAST = 12  # a room's share of a sample, however small the room
LAYOUT = {
    *(
        "figsize",
        "dpi",
        "size",
        "fontsize",
        "labelsize",
        "linewidth",
        "linestyle",
        "markersize",
        "mew",
        "length",
        "pad",
    ),
    *("alpha", "color", "colors", "facecolor", "markeredgecolor", "labelcolor", "visible", "transparent", "zorder"),
    *("fraction", "nbins", "ncols", "frameon", "bbox_to_anchor", "handlelength", "columnspacing", "handletextpad"),
    *("trim_blocks", "lstrip_blocks", "optimize"),
}
KEYWORDS = LAYOUT | {"frozen", "slots", "kw_only", "strict", "stacklevel"}
DECORATORS = re.compile(
    r"\s*@(abc\.)?(abstractmethod|overload|final|(typing\.)?runtime_checkable|functools\.(lru_)?cache)"
)
ARITHMETIC = "(Add|Sub|Mul|Div|FloorDiv|Mod|Pow)"
ORDER = "(Eq|NotEq|Lt|LtE|Gt|GtE)"
OPERATORS = re.compile(
    rf"ReplaceBinaryOperator_({ARITHMETIC}_{ARITHMETIC}|(Bit(Or|And|Xor)|[RL]Shift)_(Bit(Or|And|Xor)|[RL]Shift))"
    rf"|ReplaceComparisonOperator_({ORDER}_{ORDER}|Is_IsNot|IsNot_Is)"
    r"|ReplaceUnaryOperator_(USub_UAdd|Delete_(USub|Invert|Not))"
    r"|AddNot|Replace(True|False|And|Or|Break|Continue)With\w+|ExceptionReplacer|NumberReplacer|RemoveDecorator"
    r"|ZeroIterationForLoop"
)
Place = tuple[int, int]
Span = tuple[Place, Place]


@dataclass(frozen=True)
class Mutant:
    """One break of one file."""

    file: str
    line: int
    operator: str
    code: str
    diff: tuple[str, ...]

    @property
    def room(self) -> str:
        """The room the file stands in."""
        return self.file.split("/")[2]


def drawn(root: Path, rooms: Iterable[str], count: int, seed: int, each: int | None = None) -> list[Mutant]:
    """Return about `count` mutants, each room's share by its lines, `LEAST` at least; or `each` of every room."""
    lines = {room: sum(len(file.read_text().splitlines()) for file in files(root, room)) for room in rooms}
    found = []
    for room in rooms:
        share = each or max(LEAST, round(count * lines[room] / sum(lines.values())))
        found += of_room(root, room, share, random.Random(f"{seed} {room}"))
    return found


def files(root: Path, room: str) -> list[Path]:
    """Return the source files of a room."""
    return sorted((root / "src" / "zmax" / room).rglob("*.py"))


def of_room(root: Path, room: str, count: int, rng: random.Random) -> list[Mutant]:
    """Draw places without repeats, and a break for each."""
    offers = {(file, place): breaks for file in files(root, room) for place, breaks in offered(file).items()}
    places = rng.sample(list(offers), min(count, len(offers)))
    return [mutant(file.relative_to(root), file.read_text(), line, *rng.choice(offers[file, (line, column)]))
            for file, (line, column) in places]  # fmt: skip


def mutant(file: Path, source: str, line: int, operator: type[Operator], occurrence: int) -> Mutant:
    """Make the broken file."""
    code = mutate_code(source, operator(), occurrence)
    difference = difflib.unified_diff(source.splitlines(), code.splitlines(), n=0, lineterm="")
    diff = tuple(row for row in difference if row[0] in "+-" and row[:3] not in ("+++", "---"))
    return Mutant(file.as_posix(), line, operator.__name__, code, diff)


def offered(file: Path) -> dict[Place, list[tuple[type[Operator], int]]]:
    """Map each place of a file to the breaks offered there, each an operator and the number of its occurrence."""
    source = file.read_text()
    closed, rows = list(left_out(ast.parse(source))), source.splitlines()
    nodes = list(cosmic_ray.ast.ast_nodes(cosmic_ray.ast.get_ast(source)))
    offers = defaultdict(list)
    provider = OperatorProvider()
    for operator in (provider[name] for name in provider if OPERATORS.fullmatch(name)):
        spans = (span for node in nodes for span in operator().mutation_positions(node))
        for occurrence, (start, end) in enumerate(spans):
            hidden = any(first <= start and end <= last for first, last in closed)
            if not hidden and not DECORATORS.match(rows[start[0] - 1]):
                offers[start].append((operator, occurrence))
    return offers


def left_out(tree: ast.Module) -> Iterator[Span]:
    """Yield the spans of a file in which nothing is broken."""
    for node in ast.walk(tree):
        yield from (span(hint) for hint in hints(node))
        if is_left_out(node):
            yield span(node)
    yield from (span(node) for node in tree.body if isinstance(node, ast.Assign) and is_alias(node))


def hints(node: ast.AST) -> list[ast.expr]:
    """Return the type hints that a node carries."""
    return [hint for name in ("annotation", "returns") if (hint := getattr(node, name, None)) is not None]


def is_left_out(node: ast.AST) -> bool:
    """Say whether a node is of a kind that the rules above leave out."""
    match node:
        case ast.Raise() | ast.Assert() | ast.Import() | ast.ImportFrom():
            return True
        case ast.If(test=ast.Name("TYPE_CHECKING")) | ast.FunctionDef(name="__repr__" | "__str__"):
            return True
        case ast.Call(func=ast.Attribute(value=ast.Name("warnings"))):
            return True
        case ast.keyword(arg=name):
            return name in KEYWORDS
        case _:
            return False


def is_alias(node: ast.Assign) -> bool:
    """Say whether a module's assignment names a type (`Pair = A | B`) or lists what the module offers."""
    name = getattr(node.targets[0], "id", "")
    return name == "__all__" or (name[:1].isupper() and not name.isupper())


def span(node: ast.AST) -> Span:
    """Return where a node starts and ends, lines from 1 and columns from 0."""
    return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)
