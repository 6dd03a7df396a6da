"""`zmax sample`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from zmax.cli.launch import carry_out, starts
from zmax.core.setting import RUN

Temperature = Annotated[
    float,
    typer.Option(
        "-t", "--temperature", metavar="T", rich_help_panel=RUN, help="Of the tilted law, in units of the score."
    ),
]


@starts
def sample(*, temperature: Temperature = 1.0, **given: Any) -> int:
    """Draw samples of a generator's law tilted by a score.

    \b
    Example:
      zmax sample -g avatars-gan -s attribute:glasses -t 1 -n 4000 --out runs/drawn

    \b
    The law is p(x) exp(S(x) / T): a high temperature T leaves the generator as
    it is, a low one keeps its best. Methods that draw from it are those with a
    parameter temperature. Draws are kept in the run's folder beside the best.
    """
    from zmax import sample as verb

    return carry_out(verb, temperature=temperature, **given)
