from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from zmax.core.errors import StoreError
from zmax.core.rng import Rng, stream
from zmax.core.space import Space
from zmax.core.state import STATIC, dump, restore


@dataclass(frozen=True)
class Demo:
    u: torch.Tensor
    count: int
    rate: float
    maybe: torch.Tensor | None
    rng: Rng
    space: Space = field(metadata=STATIC)


def demo(seed=0, maybe=None):
    rng = stream(seed)
    return Demo(torch.randn(2, 3, generator=rng), 4, 0.1, maybe, Rng.of(rng), Space.of((3,)))


@pytest.mark.parametrize("maybe", [None, torch.ones(2)])
def test_a_state_comes_back_bit_for_bit_and_goes_on_alike(maybe):
    state = demo(1, maybe)
    back = restore(demo(2), dump(state))
    assert torch.equal(back.u, state.u)
    assert (back.count, back.rate) == (state.count, state.rate)
    assert (back.maybe is None) if maybe is None else torch.equal(back.maybe, maybe)
    assert torch.equal(back.rng.normal(5)[0], state.rng.normal(5)[0])


def test_a_state_of_another_version_is_refused():
    @dataclass(frozen=True)
    class Other:
        v: int

    with pytest.raises(StoreError, match="does not fit the installed version"):
        restore(Other(1), dump(demo()))


def test_no_code_is_run_by_loading():
    import io
    import pickle

    class Evil:
        def __reduce__(self):
            return (print, ("owned",))

    buffer = io.BytesIO()
    torch.save({"u": Evil()}, buffer)
    with pytest.raises(pickle.UnpicklingError):
        restore(demo(), buffer.getvalue())


def test_draws_are_pure_and_continue_the_generator():
    rng = Rng.of(stream(5))
    first, after = rng.normal(4)
    second, _ = after.normal(4)
    assert torch.equal(first, rng.normal(4)[0])
    whole = stream(5)
    assert torch.equal(first, torch.randn(4, generator=whole))
    assert torch.equal(second, torch.randn(4, generator=whole))


def test_streams_of_different_names_are_uncorrelated():
    draws = [torch.randn(4000, generator=stream(0, name)) for name in ("method", "reference", "a", "b")]
    table = torch.corrcoef(torch.stack(draws)) - torch.eye(4)
    assert table.abs().max() < 4 / 4000**0.5


@dataclass(frozen=True)
class Deep:
    step: int


@dataclass(frozen=True)
class Inner:
    v: torch.Tensor
    deep: Deep
    rng: Rng | None


@dataclass(frozen=True)
class WithSpace:
    space: Space = field(metadata=STATIC)


@dataclass(frozen=True)
class Outer:
    inner: Inner | None = None
    other: WithSpace | None = None
    table: object = None


INNER = Inner(torch.arange(3), Deep(4), Rng.of(stream(7)))


@pytest.mark.parametrize("template", [None, Inner(torch.zeros(1), Deep(0), None)])
@pytest.mark.parametrize("inner", [None, INNER])
def test_an_optional_part_comes_back_whatever_the_template_has(inner, template):
    back = restore(Outer(template), dump(Outer(inner)))
    if inner is None:
        assert back.inner is None
        return
    assert isinstance(back.inner, Inner)
    assert torch.equal(back.inner.v, INNER.v)
    assert back.inner.deep == Deep(4)
    assert torch.equal(back.inner.rng.normal(3)[0], INNER.rng.normal(3)[0])


def test_plain_containers_come_back():
    table = {"a": (1, [2.0, None]), "b": {3: "x"}, "c": {4}}
    assert restore(Outer(), dump(Outer(table=table))).table == table


@pytest.mark.parametrize(
    ("state", "place"),
    [
        (Outer(table=(Deep(1), Deep(2))), r"Outer\.table\[0\]"),
        (Outer(table={"a": [Deep(1)]}), r"Outer\.table\['a'\]\[0\]"),
        (Outer(table=np.float64(1.0)), r"Outer\.table"),
        (Outer(table=np.ones(2)), r"Outer\.table"),
        (Outer(other=WithSpace(Space.of((3,)))), r"Outer\.other"),
    ],
)
def test_what_cannot_come_back_is_refused_before_it_is_saved(state, place):
    with pytest.raises(StoreError, match=place):
        dump(state)
