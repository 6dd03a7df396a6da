"""What an avatar may look like, and the labels that follow: where colours, variants and chances are named."""

from __future__ import annotations

from dataclasses import dataclass

BACKGROUND = "dce6f0"

# Colours are far apart inside a list, and apart from what they are drawn on, so that every label shows in the pixels.
SKIN = {"light": "ffdbac", "tan": "d8a26e", "brown": "a5673a", "dark": "7a4a2e"}
HAIR = {"black": "141414", "brown": "4e2a0e", "blond": "f0c93c", "red": "cc5a1e", "grey": "a8a8a8", "pink": "e87fc0"}
CLOTHING = {
    "red": "d11141",
    "yellow": "ffc425",
    "green": "00b159",
    "blue": "428bca",
    "purple": "7b4fb5",
    "black": "2b2b33",
}
HAT = {"red": "b3152d", "blue": "2663a3", "green": "3d8a6b", "purple": "614f8a"}
MOUTH_COLOURS = ("e35d6a", "de0f0d", "a8323e")
EYE_COLOURS = ("5b7c8b", "588387", "876658")
GLASSES_COLOURS = ("323232", "43677d", "a04b5d")
EARRING_COLOURS = ("ffd700", "1abc9c")


def _numbered(stem: str, numbers: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(f"{stem}{number:02d}" for number in numbers)


# Left out: designs that a person would not name as DiceBear does (a bun filed under long hair, a one-pixel smile).
SHORT_HAIR = _numbered("short", (1, 3, 4, 6, 8, 9, 10, 13, 14, 16, 17, 22))
LONG_HAIR = _numbered("long", (1, 2, 3, 4, 7, 8, 9, 12, 13, 21))
HAPPY_MOUTHS = _numbered("happy", (6, 7, 8, 9, 12, 13))
OTHER_MOUTHS = _numbered("sad", (1, 2, 3, 4, 6, 7))
LIGHT_GLASSES = _numbered("light", (1, 2, 3, 5, 6, 7))
DARK_GLASSES = _numbered("dark", (1, 2, 3, 5, 6, 7))
CLOTHES = _numbered("variant", (3, 5, 6, 8, 9, 10, 12, 13, 17, 19))
EYES = _numbered("variant", (1, 3, 4, 6, 8, 9, 10, 11))
BEARDS = _numbered("variant", (1, 2, 3, 5, 6, 7, 8))
HATS = _numbered("variant", (1, 2, 3, 4, 6, 7, 8, 9))
EARRINGS = _numbered("variant", (1, 2, 3))

CHANCES = {
    "long-hair": 0.45,
    "happy": 0.5,
    "glasses": 0.35,
    "sunglasses": 0.5,
    "hat": 0.3,
    "beard": 0.3,
    "earrings": 0.3,
}
"""Chance of each part; `sunglasses` is the chance of dark lenses given glasses."""


@dataclass(frozen=True)
class Head:
    """One question about a picture: a single label is a yes or no, several labels exclude one another."""

    name: str
    labels: tuple[str, ...]

    @property
    def binary(self) -> bool:
        """Whether the head has one logit."""
        return len(self.labels) == 1


def _choice(name: str, prefix: str, classes: tuple[str, ...]) -> Head:
    return Head(name, tuple(f"{prefix}-{each}" for each in classes))


HEADS = (
    Head("glasses", ("glasses",)),
    Head("sunglasses", ("sunglasses",)),
    Head("hat", ("hat",)),
    Head("beard", ("beard",)),
    Head("earrings", ("earrings",)),
    Head("happy", ("happy",)),
    Head("long-hair", ("long-hair",)),
    _choice("hair-colour", "hair", tuple(HAIR)),
    _choice("skin-tone", "skin", tuple(SKIN)),
    _choice("clothing-colour", "clothing", tuple(CLOTHING)),
    _choice("hat-colour", "hat", ("none", *HAT)),
)
