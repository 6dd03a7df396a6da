"""The table of named scores: what there is, how it is written, and how one is made."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zmax.core.errors import InputError
from zmax.core.registry import Registry
from zmax.core.score import Score

Factory = Callable[..., Score]

scores: Registry[Factory] = Registry("score", "zmax.scores")
"""Named scores. An entry is a Score class, or a function returning a Score, of no argument or of one string."""

for _name, _target in {
    "attribute": "attribute:Attribute",
    "attribute-judge": "attribute:AttributeJudge",
    "brightness": "images:Brightness",
    "clip": "clip:Clip",
    "colour": "images:Colour",
    "colourfulness": "images:Colourfulness",
    "compressibility": "jpeg:Compressibility",
    "critic": "attribute:Realism",
    "incompressibility": "jpeg:Incompressibility",
    "lowres": "lowres:LowRes",
    "lpips": "perceptual:LPIPS",
    "perceptual": "perceptual:Perceptual",
    "target": "target:Target",
}.items():
    scores.add(_name, f"zmax.scores.{_target}")


class NamedScore(Score):
    """A score of the catalogue; may tell which arguments it takes."""

    @classmethod
    def choices(cls) -> tuple[str, ...]:
        """Return the possible arguments; empty if there are none or any will do."""
        return ()


@dataclass(frozen=True)
class ScoreInfo:
    """One row of `zmax list`.

    Attributes:
        name: as it is written, without its argument.
        argument: what follows the colon, None if nothing does.
        differentiable: None if it is not known before the score is made.
        description: one line.
        choices: the possible arguments, if they are few.
    """

    name: str
    argument: str | None
    differentiable: bool | None
    description: str
    choices: tuple[str, ...] = ()

    @property
    def usage(self) -> str:
        """How to write it: "colour:<colour>"."""
        return self.name if self.argument is None else f"{self.name}:<{self.argument}>"


def info(name: str) -> ScoreInfo:
    """Return what is known of one named score, without making it.

    Raises:
        UnknownNameError: no score is called so.

    Example:
        >>> info("colour").usage, info("brightness").argument, info("compressibility").differentiable
        ('colour:<colour>', None, False)
    """
    factory = scores.load(name)
    parameters = [p for p in inspect.signature(factory).parameters.values() if p.kind != p.VAR_KEYWORD]
    is_class = isinstance(factory, type) and issubclass(factory, Score)
    named = factory if isinstance(factory, type) and issubclass(factory, NamedScore) else None
    return ScoreInfo(
        name=name,
        argument=parameters[0].name if parameters else None,
        differentiable=factory.differentiable if is_class else None,  # type: ignore[attr-defined]
        description=(inspect.getdoc(factory) or "").partition("\n")[0].replace("``", ""),
        choices=named.choices() if named else (),
    )


def catalogue() -> tuple[ScoreInfo, ...]:
    """Return every named score, shipped or added by an installed package.

    Example:
        >>> [row.usage for row in catalogue() if row.name.startswith("colour")]
        ['colour:<colour>', 'colourfulness']
    """
    return tuple(info(name) for name in scores)


def build(name: str, argument: str | None = None) -> Score:
    """Make a named score; the same name and argument give the same object, so that combinations share it.

    Raises:
        InputError: an argument is missing, or given to a score that takes none.
        UnknownNameError: no score is called so.
    """
    about = info(name)
    if about.argument is None and argument is not None:
        raise InputError(f"the score {name!r} takes no argument", got=f"{name}:{argument}", remedy=f"write {name}")
    if about.argument is not None and not argument:
        known = ", ".join(about.choices)
        raise InputError(
            f"the score {name!r} needs an argument", expected=about.usage, got=name, remedy=known and f"one of {known}"
        )
    return _built(name, argument, _stamp(argument))


@functools.lru_cache(maxsize=256)
def _built(name: str, argument: str | None, stamp: tuple[str, int, int] | None) -> Score:
    del stamp  # part of the key: a file that changed is read again
    factory = scores.load(name)
    return factory() if argument is None else factory(argument)


def _stamp(argument: str | None) -> tuple[str, int, int] | None:
    if argument is None:
        return None
    try:
        path = Path(argument).expanduser().resolve()
        stat = path.stat()
    except (OSError, ValueError):
        return None
    return str(path), stat.st_mtime_ns, stat.st_size
