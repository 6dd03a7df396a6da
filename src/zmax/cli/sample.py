"""`zmax sample`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from zmax.cli.asking import Ask, AwayFrom, Guidance, Of, held
from zmax.cli.drawing import draw
from zmax.cli.launch import GeneratorName, carry_out, starts
from zmax.cli.where import Where, narrowed
from zmax.core.errors import InputError
from zmax.core.setting import RUN

Temperature = Annotated[
    float,
    typer.Option(
        "-t", "--temperature", metavar="T", rich_help_panel=RUN, help="Of the tilted law, in units of the score."
    ),
]


Score = Annotated[
    str | None,
    typer.Option(
        "-s",
        "--score",
        metavar="S",
        rich_help_panel=RUN,
        help="As in `zmax maximize`; without it conditioned:RUN is sampled as asked, and scored by its own.",
    ),
]


@starts
def sample(
    *,
    generator: GeneratorName,
    score: Score = None,
    where: Where = None,
    temperature: Temperature = 1.0,
    ask: Ask = None,
    away_from: AwayFrom = None,
    guidance: Guidance = 0.0,
    of: Of = 1,
    **given: Any,
) -> int:
    """Draw samples of a generator's law tilted by a score, or asked for a score.

    \b
    Examples:
      zmax sample -g avatars-gan -s attribute:glasses -t 1 -n 4000 --out runs/drawn
      zmax sample -g conditioned:runs/asked --ask -0.19 -n 16

    \b
    The law is p(x) exp(S(x) / T): a high temperature T leaves the generator as
    it is, a low one keeps its best. Methods that draw from it are those with a
    parameter temperature. Draws are kept in the run's folder beside the best.
    Without -s nothing is tilted: -n samples are drawn as they are asked for.
    """
    if score is None:
        if where:
            raise InputError("--where", expected="a score beside it: -s S", got="none")
        return draw(generator, ask, away_from, guidance, of, **given)
    from zmax import sample as verb

    if of > 1:
        raise InputError("--of", expected="a request of conditioned:RUN, --ask S, without -s", got=f"-s {score}")
    name = held(generator, ask, away_from, guidance)
    return carry_out(verb, generator=name, score=narrowed(score, where), temperature=temperature, **given)
