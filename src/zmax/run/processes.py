"""Several processes that finetune as one, as `accelerate launch` or `torchrun` starts them; known to this file alone.

All go through the same rounds with the same seed. What is scored, judged or descended is shared out by rows, and what
each found is told to all before anyone goes on, so that all hold the same weights. The main process alone writes.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from zmax.core.budget import Ledger
from zmax.run.evaluator import Evaluator
from zmax.store import Journal

T = TypeVar("T")

Hold = Callable[[str | Path | None], AbstractContextManager[Path | None]]

OWN = ("seconds", "peak_memory")
"""What is not counted but measured, by each process for itself."""


@dataclass(frozen=True)
class Crew:
    """The processes of a launch, seen by one of them.

    Attributes:
        rank: number of this one.
        size: how many there are.

    Example:
        >>> crew = Crew(rank=1, size=3)
        >>> crew.share(7), crew.main
        (slice(3, 5, None), False)
    """

    rank: int = 0
    size: int = 1

    @property
    def main(self) -> bool:
        """Whether this is the one that writes and shows."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """Return which of n rows are this process's; the first ones have one more where they cannot be equal."""
        each, more = divmod(n, self.size)
        start = self.rank * each + min(self.rank, more)
        return slice(start, start + each + (self.rank < more))

    def shared(self, ledger: Ledger, n: int, part: Callable[[slice], T]) -> list[T]:
        """Do this process's share of n rows, and return what all have found, in order; each pays for all.

        Args:
            ledger: of this process.
            n: number of rows.
            part: does some of them.
        """
        if self.size == 1:
            return [part(slice(0, n))]
        before, mine = ledger.copy(), self.share(n)
        found = [_on_cpu(part(mine))] if mine.start < mine.stop else []
        spent = {name: value - getattr(before, name) for name, value in vars(ledger).items() if name not in OWN}
        told = self._gathered((found, spent))
        for name in spent:
            setattr(ledger, name, getattr(before, name) + sum(other[name] for _, other in told))
        return [each for others, _ in told for each in others]

    def summed(self, weights: Iterable[nn.Parameter]) -> None:
        """Add up the gradients of all processes; one that no process has stays None."""
        if self.size == 1:
            return
        known = list(weights)
        reached = torch.tensor([float(weight.grad is not None) for weight in known], device=known[0].device)
        torch.distributed.all_reduce(reached)
        for weight, some in zip(known, reached.tolist(), strict=True):
            if some:
                weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
                torch.distributed.all_reduce(weight.grad)

    def agreed(self, ledger: Ledger) -> None:
        """Take over the main process's ledger, whose clock decides for all."""
        if self.size > 1:
            vars(ledger).update(self._told(vars(ledger)))

    def tried(self, evaluator: Evaluator, opening: Callable[[], None]) -> None:
        """Let the main process alone try generator and score, and take over what it found and paid."""
        if self.main:
            opening()
        if self.size > 1:
            g, s = evaluator.generator, evaluator.score
            g.differentiable, s.differentiable = self._told((g.differentiable, s.differentiable))
            self.agreed(evaluator.ledger)

    def alone(self, hold: Hold, out: str | Path | None) -> AbstractContextManager[Path | None]:
        """Let the main process alone hold the folder of a run."""
        return hold(out) if self.main else nullcontext()

    def opened(self, journal: Journal) -> Journal:
        """Return the journal to go on in: that of the run, or for all but the main process a copy before it writes."""
        journal = journal if self.main else journal.apart()
        if self.size > 1:
            self._told(None)
        return journal

    def _gathered(self, value: T) -> list[T]:
        found: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(found, value)
        return found

    def _told(self, value: T) -> T:
        """Return the main process's value."""
        return self._gathered(value)[0]


def launched() -> Crew:
    """Return the processes that were launched together with this one, if any were, and join them."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return Crew()
    if not torch.distributed.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        torch.distributed.init_process_group()
        atexit.register(torch.distributed.destroy_process_group)
    return Crew(torch.distributed.get_rank(), torch.distributed.get_world_size())


def _on_cpu(found: T) -> T:
    """Return what others are to be told, on the device that all have."""
    if not is_dataclass(found) or isinstance(found, type):
        return found
    return replace(found, **{name: value.cpu() for name, value in vars(found).items() if isinstance(value, Tensor)})
