"""Keeps a generator's labels as frequent as the data's, by the classifier `attribute` (never by the held-out judge)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from zmax.scores import zoo as judges


class Balance(nn.Module):
    r"""Loss \sum_k (\bar q_k - p_k) q_k: pulls the frequency of each label k to that of the data, p_k.

    q_k is the batch's mean probability of the label, \bar q_k its running mean: feature matching (Salimans et al.
    2016, sec. 3.1, https://arxiv.org/abs/1606.03498) on labels. The running mean is not differentiated, and keeps the
    noise of a small batch out of the direction.

    Args:
        images: Pictures of the data, in [0, 1].
    """

    data: Tensor
    running: Tensor

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.reader: Any = judges.load("attribute")
        with torch.no_grad():
            self.register_buffer("data", self.probabilities(images))
        self.register_buffer("running", self.data.clone())

    def probabilities(self, images: Tensor) -> Tensor:
        """Mean probability of each label, in the order of the reader's logits."""
        logits = self.reader(images)
        parts = []
        for start, group in zip(self.reader.heads.starts, self.reader.heads.groups, strict=True):
            own = logits[:, start : start + len(group)]
            parts.append(own.sigmoid() if len(group) == 1 else own.softmax(1))
        return torch.cat(parts, 1).mean(0)

    def forward(self, images: Tensor) -> Tensor:
        """The loss of samples in [0, 1]; also moves the running mean."""
        seen = self.probabilities(images)
        with torch.no_grad():
            self.running.lerp_(seen, 0.02)
        return ((self.running - self.data) * seen).sum()
