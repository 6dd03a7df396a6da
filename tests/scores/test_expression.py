from __future__ import annotations

import contextlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from zmax.core.errors import InputError, UnknownNameError
from zmax.core.score import Combined, Score, combine, maximum, minimum
from zmax.scores import load_score, score
from zmax.scores.expression import parse, tokenise

VALUES = {"a": 3.0, "b": -0.5, "c:#f0-1": 1.25}
COLUMNS = {name: i for i, name in enumerate(VALUES)}
X = torch.tensor([list(VALUES.values())], dtype=torch.float64)


def column(name: str) -> Score:
    return score(lambda x: x[:, COLUMNS[name]], name=name, differentiable=True)


def value(text: str) -> float:
    return float(parse(text, column)(X))


numbers = st.sampled_from(["0.5", "2", "1e-1", ".25", "3.", "1.5E+1"])
names = st.sampled_from(list(VALUES))
unary = st.sampled_from(["-", "+", "- ", ""])


def grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, st.sampled_from([" + ", " - ", "*", " * ", "+"]), inner).map("".join),
        st.tuples(inner, st.sampled_from([" / ", "/"]), numbers).map("".join),
        st.tuples(unary, inner).map("".join),
        inner.map("({})".format),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda t: f"{t[0]}({t[1]}, {t[2]})"),
        inner.map("({})**2".format),
    )


@settings(max_examples=300, deadline=None)
@given(st.recursive(st.one_of(numbers, names), grow, max_leaves=8))
def test_values_are_those_of_python(text: str) -> None:
    python = text
    for i, name in enumerate(VALUES):
        python = python.replace(name, f"V[{i}]") if len(name) > 1 else python
    python = "".join(
        f"V[{COLUMNS[ch]}]" if ch in "ab" and python[i - 1 : i] != "m" else ch for i, ch in enumerate(python)
    )
    expected = eval(python.replace("mV[0]x", "max"), {"V": list(VALUES.values()), "min": min, "max": max})
    if any(name in text.replace("max", "") for name in VALUES):
        assert value(text) == pytest.approx(expected, rel=1e-5, abs=1e-5)
    else:
        with pytest.raises(InputError, match="no score"):
            parse(text, column)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("attribute:long-hair", ["attribute:long-hair"]),
        ("a-b", ["a-b"]),
        ("a - b", ["a", "-", "b"]),
        ("a -b", ["a", "-", "b"]),
        ("a- b", ["a", "-", "b"]),
        ("2-a", ["2", "-", "a"]),
        ("colour:#ff8800", ["colour:#ff8800"]),
        ("a/2", ["a", "/", "2"]),
        ("a/.5", ["a", "/", ".5"]),
        ("a / 2", ["a", "/", "2"]),
        ("2/3*a", ["2", "/", "3", "*", "a"]),
        ("target:out/a-1/face.png", ["target:out/a-1/face.png"]),
        ("target:/abs/x.png/2", ["target:/abs/x.png", "/", "2"]),
        ("/abs/f.py:attr", ["/abs/f.py:attr"]),
        ("./f.py:attr", ["./f.py:attr"]),
        ("../my-dir/f.py:attr*2", ["../my-dir/f.py:attr", "*", "2"]),
        ("~/f.py:attr", ["~/f.py:attr"]),
        ("pkg.mod:attr", ["pkg.mod:attr"]),
        ("3d:x", ["3d:x"]),
        ("1e-3*a", ["1e-3", "*", "a"]),
        ("0.5*a+b", ["0.5", "*", "a", "+", "b"]),
        ("'target:my file (1).png' * 2", ["target:my file (1).png", "*", "2"]),
        ('"a+b"', ["a+b"]),
        ("target:größe.png", ["target:größe.png"]),
        ("min(a,b)", ["min", "(", "a", ",", "b", ")"]),
    ],
)
def test_names_hold_what_they_may(text: str, found: list[str]) -> None:
    assert [token.text for token in tokenise(text)[:-1]] == found


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("0.7*a +", 7),
        ("a b", 2),
        ("(a + b", 6),
        ("a + b)", 5),
        ("a ^ 2", 2),
        ("a * * b", 4),
        ("2*'a", 2),
        ("a / b", 4),
        ("a / 0", 4),
        ("mean(a, b)", 0),
        ("1 + min(a)", 4),
        ("min a", 4),
        ("", 0),
        ("2a*", 3),
        ("1e999*a", 0),
    ],
)
def test_errors_point_at_the_place(text: str, at: int) -> None:
    with pytest.raises(InputError) as caught:
        parse(text, column if "2a" not in text and "min a" not in text else lambda name: column("a"))
    lines = str(caught.value).splitlines()
    shown = next(i for i, line in enumerate(lines) if line.startswith("  in: "))
    assert lines[shown + 1].index("^") - lines[shown].index(text or "", 10 if not text else 0) == (at if text else 2)


def test_unknown_names_offer_the_nearest_and_point_at_themselves() -> None:
    with pytest.raises(UnknownNameError) as caught:
        load_score("0.5*brightness + colorfulness")
    message = str(caught.value)
    assert "'colourfulness'" in message
    caret = next(line for line in message.splitlines() if line.strip() == "^")
    shown = next(line for line in message.splitlines() if line.startswith("  in:"))
    assert shown[caret.index("^") :] == "colorfulness"


def test_swallowed_operators_are_recognised() -> None:
    with pytest.raises(InputError, match="brightness - colourfulness"):
        load_score("brightness-colourfulness")
    with pytest.raises(InputError, match="brightness / colourfulness"):
        load_score("brightness/colourfulness")


def test_minus_and_plus_bind_like_python() -> None:
    assert value("-a*b") == -3.0 * -0.5
    assert value("a - b - a") == 3.0 + 0.5 - 3.0
    assert value("a / 2 / 2") == 0.75
    assert value("2 - -a") == 5.0


def test_each_term_is_evaluated_once_and_kept_apart() -> None:
    calls: dict[str, int] = {}

    def counted(name: str) -> Score:
        def judge(x: Tensor) -> Tensor:
            calls[name] = calls.get(name, 0) + 1
            return x[:, COLUMNS[name]]

        return score(judge, name=name)

    whole = parse("a*a + min(a, b) - max(b, 2*a)/4", counted)
    assert isinstance(whole, Combined)
    assert float(whole(X)) == 9 - 0.5 - 1.5
    assert calls == {"a": 1, "b": 1}
    assert [term.name for term in whole.terms] == ["a", "b"]
    parts = {term.name: term(X) for term in whole.terms}
    assert torch.equal(whole.rule(parts), whole(X))


def test_python_arithmetic_agrees_with_strings() -> None:
    a, b = column("a"), column("b")
    pairs = [
        (0.5 * a + b, "0.5*a + b"),
        (1.0 - a, "1 - a"),
        (-(a - b) / 4.0, "-(a - b)/4"),
        (minimum(a, maximum(b, 1.0)), "min(a, max(b, 1))"),
        (combine("/", torch.div, a, 2.0), "a/2"),
    ]
    for made, text in pairs:
        assert float(made(X)) == value(text)


def test_the_name_is_the_text() -> None:
    assert parse("  2*a   - (a + b)*3 ", column).name == "2*a - (a + b)*3"
    assert parse("(a)", column).name == "a"


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet="ab+-*/(), .5'#:x", max_size=20))
def test_any_text_is_read_or_refused_cleanly(text: str) -> None:
    with contextlib.suppress(InputError):
        assert parse(text, lambda name: score(lambda x: x[:, 0], name=name))(X).shape == (1,)


def test_a_combination_that_has_a_name_keeps_it() -> None:
    ready = 0.5 * column("a") + column("b")
    assert parse("(ready)", {"ready": ready}.get).name == "0.5*a + b"
    assert parse("2*ready", {"ready": ready}.get).name == "2*ready"
    assert ready.name == "0.5*a + b"


def test_gradients_pass_through_the_arithmetic() -> None:
    x = X.clone().requires_grad_()
    parse("2*a - b/4 + min(a, b)", column)(x).sum().backward()
    assert x.grad[0].tolist() == [2.0, 0.75, 0.0]


@pytest.mark.parametrize(
    ("text", "found"), [("a/2/1e+1", 0.15), ("a/1.5E-1", 20.0), ("c:#f0-1/2.5", 0.5), ("a/2*b", -0.75)]
)
def test_a_slash_before_a_number_divides(text: str, found: float) -> None:
    assert value(text) == pytest.approx(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("abs(b)", 0.5),
        ("-a**2", -9.0),
        ("2*a**2", 18.0),
        ("a**-1", 1 / 3),
        ("(a + b)**2", 6.25),
        ("min(a, b, 2, 7)", -0.5),
        ("max(b, 1, 2)", 2.0),
        ("clip(a, 0, 2)", 2.0),
        ("clip(b, 0, 2) + 1", 1.0),
        ("a + abs(-2) + 2**3 + clip(5, 0, 1)", 14.0),
        ("abs(b)**0.5", 0.5**0.5),
    ],
)
def test_functions_and_powers(text, expected):
    assert value(text) == pytest.approx(expected)


def test_functions_and_powers_are_differentiable_and_named_as_they_are_written():
    a, b = column("a"), column("b")
    least = minimum((a + b) ** 2, abs(b), a.clip(high=4), 7)
    assert least.name == "min((a + b)**2, abs(b), clip(a, -inf, 4), 7)"
    assert least.differentiable
    assert [term.name for term in least.terms] == ["a", "b"]
    x = X.clone().requires_grad_()
    ((a + b) ** 2 + abs(b) + a.clip(0, 1)).__call__(x).sum().backward()
    assert x.grad[0].tolist() == [5.0, 4.0, 0.0]
    assert maximum(a, b, 5)(X).tolist() == [5.0]
    assert ((a * b) ** 2).name == "(a*b)**2"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a**b", "exponents are numbers"),
        ("abs(a, b)", "abs of 2 values"),
        ("clip(a, b, 1)", "with numbers behind it"),
        ("clip(a, 1)", "clip of 2 values"),
        ("log(a)", "no function 'log'"),
        ("a + 0**-1", "is no number"),
        ("a**", "the end where a score or a number should be"),
    ],
)
def test_what_cannot_be_read_is_said_with_the_way_out(text, words):
    with pytest.raises(InputError, match=words):
        parse(text, column)
