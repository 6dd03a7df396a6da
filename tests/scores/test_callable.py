from __future__ import annotations

import functools
import inspect
import math
import threading
import time

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from zmax.core.errors import InputError, ShapeError
from zmax.run.views import settle_score
from zmax.scores import ScoreTimeoutError, load_score, score

X = torch.arange(12.0).reshape(4, 3)
MEANS = [1.0, 4.0, 7.0, 10.0]


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: x.mean(1),
        lambda x: x.mean(1).numpy(),
        lambda x: x.double().mean(1).numpy()[::-1][::-1],
        lambda x: x.mean(1).tolist(),
        lambda x: tuple(x.mean(1).tolist()),
        lambda x: list(x.mean(1)),
        lambda x: x.mean(1).int(),
    ],
    ids=["tensor", "array", "strided", "list", "tuple", "tensors", "int"],
)
def test_every_container_gives_the_same_values(fn) -> None:
    values = score(fn)(X)
    assert values.is_floating_point()
    assert values.tolist() == MEANS


def test_one_sample_at_a_time_is_the_batch() -> None:
    whole, single = score(lambda x: x.square().sum(1)), score(lambda x: x.square().sum(), per_sample=True)
    assert torch.equal(whole(X), single(X))
    assert score(len, per_sample=True)(["C", "CCO"]).tolist() == [1, 3]


def test_one_sample_at_a_time_keeps_the_gradient() -> None:
    x = X.clone().requires_grad_()
    score(lambda row: (row**3).sum(), per_sample=True)(x).sum().backward()
    assert torch.allclose(x.grad, 3 * X**2)


def test_numpy_functions_get_arrays() -> None:
    wrapped = score(lambda a: np.percentile(a, 50, axis=1), numpy=True)
    assert wrapped(X.clone().requires_grad_()).tolist() == MEANS
    assert not wrapped.differentiable


def test_none_and_nan_mark_samples_that_cannot_be_judged() -> None:
    assert [math.isnan(v) for v in score(lambda x: [1.0, None, math.nan, 2])(X).tolist()] == [False, True, True, False]
    listed = score(lambda s: None if s == "bad" else 1.0, per_sample=True)(["ok", "bad"])
    assert listed.isnan().tolist() == [False, True]
    objects = score(lambda _: np.array([1, None, 2.5, 3], dtype=object))(X)
    assert objects.isnan().tolist() == [False, True, False, False]
    assert objects.nansum() == 6.5


def test_a_column_and_the_single_value_of_one_sample_are_values() -> None:
    assert torch.equal(score(lambda x: x[:, :1])(X), X[:, 0])
    assert torch.equal(score(lambda x: x[:, 0].squeeze())(X[:1]), X[:1, 0])
    assert score(lambda x: 3)(X[:1]).tolist() == [3.0]


@pytest.mark.parametrize("wrap", [list, torch.tensor, np.array])
def test_whole_numbers_keep_all_their_digits(wrap) -> None:
    values = score(lambda x: wrap([2**30, 2**30 + 1, 2**52 + 1, 3]))(X)
    assert values.tolist() == [2**30, 2**30 + 1, 2**52 + 1, 3]


@pytest.mark.parametrize(
    ("fn", "words"),
    [
        (lambda x: x.mean(), "per_sample=True"),
        (lambda x: 3.0, "per_sample=True"),
        (lambda x: x, "which of the 3 columns?"),
        (lambda x: x[:, :, None], "flatten(1).mean(1)"),
        (lambda x: (x.mean(1), {"seen": 4}), "fn(x)[0]"),
        (lambda x: (x.mean(1).tolist(), None), "fn(x)[0]"),
        (lambda x: {"reward": x.mean(1)}, "'reward'"),
        (lambda x: x[:2].mean(1), "(2,)"),
        (lambda x: "text", "return a tensor"),
        (lambda x: [1.0, [2.0], 3.0, 4.0], "return a tensor"),
        (lambda x: x.mean(1).to(torch.complex64), "real"),
    ],
)
def test_wrong_shapes_say_how_to_mend_them(fn, words: str) -> None:
    with pytest.raises(ShapeError) as caught:
        score(fn, name="mine")(X)
    assert words in str(caught.value)
    assert "'mine'" in str(caught.value)
    assert "(4,)" in str(caught.value)


def test_a_score_passes_through_and_arguments_are_checked() -> None:
    plain = score(lambda x: x.mean(1))
    assert score(plain) is plain
    with pytest.raises(InputError, match="callable"):
        inspect.unwrap(score)(3)  # without the run-time type check
    with pytest.raises(InputError, match="instance"):
        score(nn.Linear)
    with pytest.raises(InputError, match="numpy"):
        score(np.mean, numpy=True, differentiable=True)
    with pytest.raises(InputError, match="timeout"):
        score(np.mean, timeout=0.0)
    with pytest.raises(InputError, match="bounds"):
        score(np.mean, bounds=(1.0, 0.0))


def test_names_come_from_the_function() -> None:
    def mine(x: Tensor, k: int = 0) -> Tensor:
        return x[:, k]

    partial = functools.partial(functools.partial(mine), k=1)
    assert [score(f).name for f in (mine, partial, nn.Linear(3, 1), lambda x: x)] == [
        "mine",
        "mine",
        "Linear",
        "lambda",
    ]


def test_modules_are_put_in_evaluation_mode() -> None:
    net = nn.Sequential(nn.Dropout(0.5), nn.Flatten(0)).train()
    wrapped = score(net)
    assert torch.equal(wrapped(torch.ones(50, 1)), torch.ones(50))
    assert wrapped.networks == (net,)


class TestProbe:
    @pytest.mark.parametrize(
        ("fn", "expected"),
        [
            (lambda x: x.sum(1), True),
            (lambda x: x.detach().sum(1), False),
            (lambda x: x.numpy().sum(1), False),
            (lambda x: x.sum(1).tolist(), False),
            (lambda x: x.round().sum(1), False),
            (lambda x: (x > 1).sum(1), False),
            (lambda x: (x - x).abs().sqrt().sum(1), False),  # 0 * inf
            (nn.Sequential(nn.Linear(3, 1), nn.Flatten(0)), True),
        ],
        ids=["sum", "detach", "numpy", "list", "round", "count", "nan", "module"],
    )
    def test_finds_what_autograd_can_follow(self, fn, expected: bool) -> None:
        wrapped = score(fn)
        assert not wrapped.differentiable  # unknown counts as no
        assert settle_score(wrapped, X + 0.25) is expected
        assert wrapped.differentiable is expected

    def test_a_declared_black_box_is_never_called(self) -> None:
        def forbidden(x: Tensor) -> Tensor:
            raise AssertionError("called")

        assert not settle_score(score(forbidden, differentiable=False), X)

    def test_a_declared_black_box_gets_no_graph(self) -> None:
        seen = []
        score(lambda x: seen.append(x.requires_grad) or x.numpy().sum(1), differentiable=False)(
            X.clone().requires_grad_()
        )
        assert seen == [False]

    def test_a_false_claim_is_found_out_and_a_flat_start_is_not(self) -> None:
        assert not settle_score(score(lambda x: x.detach().sum(1), differentiable=True), X)
        assert settle_score(score(lambda x: (x * 0).sum(1), differentiable=True), X)

    def test_a_combination_needs_every_term(self) -> None:
        smooth, opaque = (
            score(lambda x: x.sum(1), name="a"),
            score(lambda x: x.tolist() and x.sum(1).tolist(), name="b"),
        )
        assert settle_score(2.0 * smooth + 1.0, X)
        assert not settle_score(smooth + opaque, X)
        assert smooth.differentiable
        assert not opaque.differentiable

    def test_samples_that_are_no_tensors_have_no_gradient(self) -> None:
        assert not settle_score(score(len, per_sample=True), ["a", "b"])

    def test_shipped_scores_are_what_they_declare(self, interior: Tensor) -> None:
        found = {name: settle_score(load_score(name), interior) for name in ("brightness", "compressibility")}
        assert found == {"brightness": True, "compressibility": False}

    def test_the_mode_of_the_caller_does_not_matter(self) -> None:
        with torch.no_grad():
            assert settle_score(score(lambda x: x.sum(1)), X)


class TestTimeout:
    def test_a_late_answer_is_an_error_and_does_not_block(self) -> None:
        release = threading.Event()
        start = time.perf_counter()
        with pytest.raises(ScoreTimeoutError, match=r"'slow'[\s\S]*0\.05 s"):
            score(lambda x: release.wait(30), name="slow", timeout=0.05)(X)
        release.set()
        assert time.perf_counter() - start < 10

    def test_in_time_nothing_changes(self) -> None:
        x = X.clone().requires_grad_()
        timed = score(lambda x: x.square().sum(1), timeout=60.0)
        timed(x).sum().backward()
        assert torch.allclose(x.grad, 2 * X)
        with torch.no_grad():
            assert not timed(x).requires_grad

    def test_its_own_errors_come_through(self) -> None:
        with pytest.raises(KeyError, match="lost"):
            score(lambda x: {}["lost"], timeout=60.0)(X)


def test_prompts_are_handed_to_scores_that_ask_for_them() -> None:
    asks = score(lambda x, prompts: [float(len(p)) for p in prompts], prompted=True, name="asks")
    assert asks.told("red").__call__(X).tolist() == [3.0] * 4
    each = score(lambda x, prompt: float(x.sum()) + len(prompt), prompted=True, per_sample=True)
    assert torch.allclose(each.told("red")(X).float(), X.sum(1) + 3)
    timed = score(lambda x, prompts, t: t + len(prompts[0]), prompted=True, timed=True, name="timed")
    assert timed.told("red").at(torch.ones(4))(X).tolist() == [4.0] * 4
    both = 2 * asks + score(lambda x: x[:, 0], name="plain")
    assert both.prompted
    assert torch.allclose(both.told("red")(X).float(), 6 + X[:, 0])
    with pytest.raises(InputError, match="'asks' asks for prompts"):
        asks(X)
