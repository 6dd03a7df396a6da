"""Arithmetic on scores from a string, such as "0.7*attribute:glasses + 0.3*brightness"."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch

from zmax.core.constraint import AT_LEAST, SYMBOLS, Constraint
from zmax.core.errors import InputError, ZmaxError
from zmax.core.score import Combined, Operation, Score, combine, maximum, minimum

Resolve = Callable[[str], Score]
Value = Score | float

WHERE = "where"
"""Stands before what samples have to meet."""

_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?(?![\w:.#])")
_NAME = re.compile(r"[\w.~#/\\][\w:.#~@%?&=\\/-]*")
_FUNCTIONS: dict[str, tuple[Callable[..., Score], Callable[..., float], tuple[int, float], str]] = {
    "min": (minimum, min, (2, math.inf), "min(a, b, ...)"),
    "max": (maximum, max, (2, math.inf), "max(a, b, ...)"),
    "abs": (abs, abs, (1, 1), "abs(a)"),
    "clip": (Score.clip, lambda x, low, high: max(low, min(x, high)), (3, 3), "clip(a, 0, 1), with numbers behind it"),
}
"""What does it to scores, and to numbers; how many arguments there may be, and how it is written."""

_OPERATORS: dict[str, tuple[Operation, Callable[[float, float], float]]] = {
    "+": (torch.add, operator.add),
    "-": (torch.sub, operator.sub),
    "*": (torch.mul, operator.mul),
    "/": (torch.div, operator.truediv),
    "**": (torch.pow, operator.pow),
}


@dataclass(frozen=True)
class Token:
    """A piece of the text: kind is "number", "name", "end" or the operator itself."""

    kind: str
    text: str
    at: int


def parse(text: str, resolve: Resolve) -> Score:
    r"""Return the score that an expression describes.

    .. code-block:: text

        sum     = product (("+" | "-") product)*
        product = factor (("*" | "/") factor)*
        factor  = "-" factor | "+" factor | power
        power   = part ("**" ("-" | "+")? part)?
        part    = number | name | "(" sum ")" | ("min" | "max" | "abs" | "clip") "(" sum ("," sum)* ")"
        whole   = sum ("where" limit ("," limit)*)*
        limit   = sum (">=" | "<=") sum

    Names may hold ``: - . / #`` and need quotes for anything odder ('target:my file.png'). So "a - b" subtracts and
    "a-b" is one name; "/" divides between spaces and before a number ("a/2"). Scores are divided by numbers only, and
    exponents are numbers.

    Args:
        text: the expression.
        resolve: makes the score of one name; asked once for each name.

    Raises:
        InputError: it cannot be read; the message points at the place.

    Example:
        >>> from zmax.scores import score
        >>> made = {name: score(lambda x, k=k: x[:, k], name=name) for k, name in enumerate("ab")}
        >>> S = parse("2*a - min(b, 1)/4", made.get)
        >>> S(torch.tensor([[3.0, 8.0]])).tolist(), S.name
        ([5.75], '2*a - min(b, 1)/4')
    """
    parser = _Parser(text, resolve)
    value = parser.run()
    if not isinstance(value, Score):
        raise InputError(f"{text!r} holds no score", expected="a name such as brightness", remedy="see `zmax list`")
    if isinstance(value, Combined) and not value.constraints and all(value is not n for n in parser.known.values()):
        value.name = " ".join(text.split())
    return value


def tokenise(text: str) -> list[Token]:
    """Cut the text into numbers, names and operators.

    Raises:
        InputError: a character that has no place here, or a quote left open.

    Example:
        >>> [token.text for token in tokenise("0.7*attribute:hair-long - colour:#f80/2")[:-1]]
        ['0.7', '*', 'attribute:hair-long', '-', 'colour:#f80', '/', '2']
    """
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        operand = not tokens or tokens[-1].kind in {*_OPERATORS, "(", ",", *SYMBOLS, WHERE}
        token, at = _next(text, at, operand)
        tokens.append(token)
    return [*tokens, Token("end", "", len(text.rstrip()))]


def _next(text: str, at: int, operand: bool) -> tuple[Token, int]:
    if text[at] in "'\"":
        close = text.find(text[at], at + 1)
        if close < 0:
            raise _error(text, at, "this quote is not closed")
        return Token("name", text[at + 1 : close], at), close + 1
    if text[at : at + 2] in (*SYMBOLS, "**"):
        return Token(text[at : at + 2], text[at : at + 2], at), at + 2
    if text[at] in "+*(),-" or (text[at] == "/" and not operand):
        return Token(text[at], text[at], at), at + 1
    number = _NUMBER.match(text, at)
    if number:
        return Token("number", number.group(), at), number.end()
    name = _NAME.match(text, at)
    if not name:
        raise _error(text, at, f"{text[at]!r} has no place in a score expression", remedy="put odd names in quotes")
    word = _undivided(text, at, name.group()).rstrip("-/")
    if not word:
        raise _error(text, at, f"{text[at]!r} has no place here")
    return Token(WHERE if word == WHERE else "name", word, at), at + len(word)


def _undivided(text: str, at: int, word: str) -> str:
    """Cut from a name that starts at `at` what is a division by a number: "a" of "a/2/1e+3"."""
    slash = word.rfind("/")
    number = _NUMBER.match(text, at + slash + 1) if slash > 0 else None
    return _undivided(text, at, word[:slash]) if number and number.end() >= at + len(word) else word


class _Parser:
    """Recursive descent over the tokens; numbers are folded on the way."""

    def __init__(self, text: str, resolve: Resolve) -> None:
        self.text = text
        self.resolve = resolve
        self.tokens = tokenise(text)
        self.position = 0
        self.known: dict[str, Score] = {}

    def run(self) -> Value:
        value = self.sum()
        while token := self.take(WHERE):
            limits = [self.limit()]
            while self.take(","):
                limits.append(self.limit())
            if not isinstance(value, Score):
                raise _error(self.text, token.at, "constraints on a number")
            value = value.where(*limits)
        if self.token.kind != "end":
            self.unexpected(
                "an operator or the end", "two names need an operator between them; quote names with spaces"
            )
        return value

    @property
    def token(self) -> Token:
        return self.tokens[self.position]

    def take(self, *kinds: str) -> Token | None:
        token = self.token
        if token.kind not in kinds:
            return None
        self.position += 1
        return token

    def sum(self) -> Value:
        left = self.product()
        while token := self.take("+", "-"):
            right = self.product()
            left = _apply(token.kind, left, right)
        return left

    def limit(self) -> Constraint:
        start, left = self.token.at, self.sum()
        token = self.take(*SYMBOLS)
        symbol = token.text if token else str(self.unexpected(" or ".join(SYMBOLS)))
        right = self.sum()
        found: object = left >= right if symbol == AT_LEAST else left <= right
        if not isinstance(found, Constraint):
            raise _error(self.text, start, "a constraint on numbers alone")
        return found

    def product(self) -> Value:
        left = self.factor()
        while token := self.take("*", "/"):
            start = self.token.at
            right = self.factor()
            if token.kind == "/" and (isinstance(right, Score) or right == 0):
                what = "zero" if right == 0 else "a score"
                raise _error(self.text, start, f"division by {what}", remedy="divide by a number other than 0")
            left = _apply(token.kind, left, right)
        return left

    def factor(self) -> Value:
        if self.take("-"):
            value = self.factor()
            return -value
        if self.take("+"):
            return self.factor()
        base = self.part()
        if token := self.take("**"):
            start, sign = self.token.at, self.take("-", "+")
            exponent = self.part()
            if isinstance(exponent, Score):
                raise _error(self.text, start, "a score as an exponent", remedy="exponents are numbers: a**2")
            return _power(base, -exponent if sign and sign.kind == "-" else exponent, self.text, token.at)
        return base

    def part(self) -> Value:
        if token := self.take("number"):
            return self.number(token)
        if self.take("("):
            value = self.sum()
            self.expect(")")
            return value
        if token := self.take("name"):
            return self.call(token) if self.token.kind == "(" else self.name(token)
        return self.unexpected("a score or a number")

    def number(self, token: Token) -> float:
        value = float(token.text)
        if not math.isfinite(value):
            raise _error(self.text, token.at, "this number is too large")
        return value

    def name(self, token: Token) -> Score:
        try:
            return self.known.setdefault(token.text, self.known.get(token.text) or self.resolve(token.text))
        except ZmaxError as error:
            if len(self.tokens) > 2:  # a lone name needs no pointer
                error.args = (f"{error}\n{_pointer(self.text, token.at)}",)
            raise

    def call(self, token: Token) -> Value:
        if token.text not in _FUNCTIONS:
            known = ", ".join(written for *_, written in _FUNCTIONS.values())
            raise _error(self.text, token.at, f"no function {token.text!r}", remedy=f"there are {known}")
        on_scores, on_numbers, (least, most), written = _FUNCTIONS[token.text]
        self.take("(")
        values = [self.sum()]
        while self.take(","):
            values.append(self.sum())
        self.expect(")")
        scored = [isinstance(value, Score) for value in values]
        if not least <= len(values) <= most or (token.text == "clip" and any(scored[1:])):
            count = "one value" if len(values) == 1 else f"{len(values)} values"
            raise _error(self.text, token.at, f"{token.text} of {count}", remedy=written)
        return (on_scores if any(scored) else on_numbers)(*values)

    def expect(self, kind: str) -> None:
        if not self.take(kind):
            self.unexpected(f"{kind!r}")

    def unexpected(self, expected: str, remedy: str = "") -> float:
        got = "the end" if self.token.kind == "end" else repr(self.token.text)
        raise _error(self.text, self.token.at, f"{got} where {expected} should be", remedy=remedy)


def _apply(symbol: str, left: Value, right: Value) -> Value:
    on_scores, on_numbers = _OPERATORS[symbol]
    if isinstance(left, Score) or isinstance(right, Score):
        return combine(symbol if symbol in "*/" else f" {symbol} ", on_scores, left, right)
    return on_numbers(left, right)


def _power(base: Value, exponent: float, text: str, at: int) -> Value:
    if isinstance(base, Score):
        return base**exponent
    try:
        found = base**exponent
    except (ZeroDivisionError, OverflowError):
        found = math.inf
    if isinstance(found, complex) or not math.isfinite(found):
        raise _error(text, at, f"{base:g}**{exponent:g} is no number")
    return found


def _pointer(text: str, at: int) -> str:
    text = re.sub(r"\s", " ", text)
    return f"  in:       {text}\n            {' ' * at}^"


def _error(text: str, at: int, what: str, *, remedy: str = "") -> InputError:
    return InputError(f"cannot read the score: {what}\n{_pointer(text, at)}", remedy=remedy)
