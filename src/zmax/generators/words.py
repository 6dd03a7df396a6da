"""Texts with alternatives, such as prompts of which some words are open, as generators of texts."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from zmax.core.block import Block
from zmax.core.categorical import Categorical
from zmax.core.errors import InputError
from zmax.core.generator import Generator
from zmax.core.space import LatentValue, Space
from zmax.generators.module import generator

SLOT = re.compile(r"\{([^{}|]*(?:\|[^{}|]*)+)\}")
MOST = 100_000
"""Texts of a pipeline's prompt, at most; each is encoded when it is first asked for."""


@dataclass(frozen=True)
class Template:
    """A text with slots, each a list of alternatives: "a {red|blue} hat".

    Attributes:
        between: the text before, between and after the slots.
        slots: their alternatives.

    Example:
        >>> template = Template.read("a {red|blue} hat{| with dots}")
        >>> template.texts(torch.tensor([[1, 0], [0, 1]]))
        ['a blue hat', 'a red hat with dots']
    """

    between: tuple[str, ...]
    slots: tuple[tuple[str, ...], ...]

    @classmethod
    def read(cls, text: str) -> Template:
        """Read a text; one without slots has none."""
        parts = SLOT.split(text)
        return cls(tuple(parts[::2]), tuple(tuple(part.split("|")) for part in parts[1::2]))

    @property
    def levels(self) -> tuple[int, ...]:
        """Number of alternatives of each slot."""
        return tuple(map(len, self.slots))

    def texts(self, codes: Int[Tensor, "n slots"]) -> list[str]:
        """Return the texts of which the codes say what stands in each slot."""
        return [self._text([slot[i] for slot, i in zip(self.slots, row, strict=True)]) for row in codes.tolist()]

    def every(self) -> list[str]:
        """Return all texts, the last slot changing fastest.

        Raises:
            InputError: there are too many.
        """
        if math.prod(self.levels) > MOST:
            got = f"{math.prod(self.levels):,}"
            raise InputError("texts of a prompt with alternatives", expected=f"at most {MOST:,}", got=got)
        return [self._text(words) for words in itertools.product(*self.slots)]

    def _text(self, words: list[str] | tuple[str, ...]) -> str:
        return "".join(itertools.chain(*zip(self.between, (*words, ""), strict=True)))


def choices(levels: tuple[int, ...], name: str, *, one_hot: bool) -> tuple[Block, ...]:
    """Return a block a category of several values; where there are several blocks, they are numbered from 1 on."""
    law = [(i, Categorical(k, one_hot=one_hot)) for i, k in enumerate(levels, 1) if k > 1]
    return tuple(Block(name if len(law) == 1 else f"{name}_{i}", (), prior) for i, prior in law)


def chosen(levels: tuple[int, ...], name: str, z: Mapping[str, Tensor]) -> Int[Tensor, "n slots"]:
    """Return the values of all categories, those of one value among them, of latents of their blocks."""
    zero = torch.zeros(len(next(iter(z.values()))), dtype=torch.long, device="cpu")
    found = [z.get(f"{name}_{i}", z.get(name)) if k > 1 else None for i, k in enumerate(levels, 1)]
    codes = [zero if part is None else (part.argmax(1) if part.ndim > 1 else part).long().cpu() for part in found]
    return torch.stack(codes, 1)


def numbered(levels: tuple[int, ...], name: str, z: Mapping[str, Tensor]) -> list[int]:
    """Return which of all combinations the latents choose, the last category changing fastest."""
    total = torch.zeros(len(next(iter(z.values()))), dtype=torch.long, device="cpu")
    for k, column in zip(levels, chosen(levels, name, z).T, strict=True):
        total = total * k + column
    return total.tolist()


def words(template: str = "") -> Generator:
    """Return the generator of the texts of a template, "a {red|blue} hat": one category a slot, each word as likely.

    The score is of texts. To search the prompt of a pipeline together with its noise, give the template as its prompt:
    `zmax.generators.from_diffusers(pipe, prompt="a {red|blue} hat")`.

    Args:
        template: a text; alternatives stand between braces, with a bar between them, and may be empty.

    Raises:
        InputError: it has no slot with alternatives.

    Example:
        >>> import zmax
        >>> G = words("a {red|blue|green} hat with {dots|stripes}")
        >>> G.space.levels, zmax.maximize(G, zmax.score(len, per_sample=True), budget=40).best.sample
        ((3, 2), 'a green hat with stripes')
    """
    read = Template.read(template)
    levels = read.levels
    space = choices(levels, "word", one_hot=False)
    if not space:
        expected = "alternatives between braces, as in 'a {red|blue} hat'"
        raise InputError("the template of a generator of words", expected=expected, got=repr(template))

    def spelled(z: LatentValue) -> list[str]:
        return read.texts(chosen(levels, "word", {space[0].name: z} if isinstance(z, Tensor) else z))

    return generator(spelled, space=Space(space), differentiable=False, modality="text", name=f"words:{template}")
