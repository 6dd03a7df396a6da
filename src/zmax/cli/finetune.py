"""`zmax finetune`."""

from __future__ import annotations

from typing import Any

from zmax.cli.launch import carry_out, starts


@starts
def finetune(**given: Any) -> int:
    """Move the weights of a generator until its samples score high.

    \b
    Example:
      zmax finetune -g avatars-flow -s attribute:glasses --until "p05>=2" \\
          --held-out attribute-judge:glasses -n 4000 --out runs/tuned

    \b
    Fresh samples of parent and child are compared as training goes on, and the
    weights from before quality fell are kept. They load as tuned:FOLDER. A run
    that is interrupted or killed goes on with `zmax resume FOLDER`.
    """
    from zmax.run import finetune as verb

    return carry_out(verb, **given)
