"""Which logit answers which question: the table of labels of the shipped classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from jaxtyping import Float
from torch import Tensor


class Heads:
    """Groups of labels: a group of one is a yes or no (one logit), a longer group is a choice (one logit a label).

    Args:
        groups: The labels of each head, such as `[["glasses"], ["hair-black", "hair-blond"]]`.
    """

    def __init__(self, groups: Sequence[Sequence[str]]) -> None:
        self.groups = tuple(tuple(group) for group in groups)
        self.starts = tuple(accumulate((len(group) for group in self.groups), initial=0))[:-1]
        self.labels = tuple(label for group in self.groups for label in group)

    def log_odds(self, logits: Float[Tensor, "n logits"], label: str) -> Float[Tensor, " n"]:
        r"""log p(label | x) - log p(not label | x).

        A yes or no: the logit itself. A choice: l_k - \log \sum_{j \neq k} \exp l_j.

        Args:
            logits: What the network returns.
            label: One of `labels`.
        """
        index = self.labels.index(label)
        for start, group in zip(self.starts, self.groups, strict=True):
            if start <= index < start + len(group):
                if len(group) == 1:
                    return logits[:, index]
                others = [each for each in range(start, start + len(group)) if each != index]
                return logits[:, index] - torch.logsumexp(logits[:, others], dim=1)
        raise AssertionError(f"{label}: in labels but in no group")

    def predict(self, logits: Float[Tensor, "n logits"]) -> Tensor:
        """The likeliest answer to each head, (n, heads): 0 or 1 for a yes or no, else the index in the group."""
        answers = []
        for start, group in zip(self.starts, self.groups, strict=True):
            if len(group) == 1:
                answers.append((logits[:, start] > 0).long())
            else:
                answers.append(logits[:, start : start + len(group)].argmax(1))
        return torch.stack(answers, 1)
