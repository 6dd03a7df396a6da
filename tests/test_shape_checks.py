"""The check of shapes itself: it must be able to fail."""

from __future__ import annotations

import dataclasses
import os

import jaxtyping
import pytest
import torch
from jaxtyping import Float
from shape_checks import checked, typed
from torch import Tensor

from zmax.kit import ranks


def _doubled(x: Float[Tensor, "n d"], wrong: bool = False) -> Float[Tensor, "n d"]:
    return x[:1] if wrong else 2 * x


@dataclasses.dataclass
class _Pair:
    one: Float[Tensor, " n"]
    other: Float[Tensor, " n"]


doubled, Pair = checked(_doubled, typechecker=typed), checked(_Pair, typechecker=typed)


def test_shapes_in_and_out_are_checked_whatever_was_called_before():
    for rows in (2, 3, 2):
        assert doubled(torch.ones(rows, 2)).shape == (rows, 2)
        with pytest.raises(jaxtyping.TypeCheckError, match="checking the parameters"):
            doubled(torch.ones(rows))
        with pytest.raises(jaxtyping.TypeCheckError, match="checking the return value"):
            doubled(torch.ones(rows, 2), wrong=True)
        with pytest.raises(jaxtyping.TypeCheckError, match="checking the parameters"):
            doubled(torch.ones(rows, 2, dtype=torch.int64))


def test_fields_of_a_dataclass_are_checked_against_each_other():
    Pair(torch.ones(2), torch.ones(2))
    with pytest.raises(jaxtyping.TypeCheckError, match="checking the parameters"):
        Pair(torch.ones(2), torch.ones(3))


@pytest.mark.skipif(os.environ.get("ZMAX_SHAPE_CHECKS") == "0", reason="shapes are not checked")
def test_what_is_imported_from_zmax_is_checked():
    with pytest.raises(jaxtyping.TypeCheckError, match="checking the parameters"):
        ranks.ranking(torch.ones(2, 2, 2), torch.ones(2, dtype=torch.int64))
