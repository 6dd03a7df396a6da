"""A score that a server gives: `http://...`."""

from __future__ import annotations

import itertools
import json
import math
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from queue import SimpleQueue
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import InputError
from zmax.core.samples import Samples, take
from zmax.core.score import Answer, Score
from zmax.core.serve import number
from zmax.scores.words import Parse, Reader

SCHEMES = ("http://", "https://")

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 30.0
"""Seconds before the second try, doubled for each further one, up to a limit."""

AGAIN = (408, 425, 429)
"""Codes of a server that wants to be asked later; other codes from 400 to 499 mean that asking again is no use."""

REPLY = '{"scores": {id: number or null, ...}, "failures": {id: reason, ...}, "whys": {id: text, ...}}'


@dataclass
class Round:
    """One request: which samples, how often they were asked for, and what came."""

    ids: list[str]
    tries: int = 0
    told: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    whys: dict[str, str] = field(default_factory=dict)
    problem: str = ""
    hopeless: bool = False


class RemoteScore(Score):
    r"""A server's score.

    Each request is a POST of some samples with an id each, as JSON ``{"ids": [...], "samples": [...]}``, or, where
    samples are tensors or arrays, as safetensors: a tensor "samples" (n, ...) and the metadata "ids", a JSON list. The
    reply is JSON, ``{"scores": {id: number}, "failures": {id: reason}, "whys": {id: text}}``, of which only the first
    is needed, in any order; what it leaves out is asked for again, with the same id, so that a server that remembers
    ids scores nothing twice.

    Args:
        url: where it is.
        batch: samples in one request.
        timeout: seconds until the server has to answer.
        tries: times a sample is asked for before it counts as failed.
        workers: requests at the same time.
        noisy: whether a second call on the same sample may give another value.
        parse: where the number is in what stands in place of it, if that is in words; see :func:`~zmax.scores.score`.

    Raises:
        InputError: not an address.

    Example:
        >>> RemoteScore("http://oracle.local:8000/score").name
        'oracle.local:8000/score'
    """

    each = True
    differentiable = False

    def __init__(
        self,
        url: str,
        *,
        batch: int = 16,
        timeout: float = 60.0,
        tries: int = 5,
        workers: int = 1,
        noisy: bool = False,
        parse: Parse | None = None,
    ) -> None:
        place = urlsplit(url)
        if not url.startswith(SCHEMES) or not place.netloc:
            raise InputError("the address of a score", expected="http://host/path", got=repr(url))
        self.name, self.source, self.noisy = f"{place.netloc}{place.path}".rstrip("/"), url, noisy
        self._url, self._batch, self._timeout, self._tries = url, batch, timeout, tries
        self._requests = workers
        self._reader = Reader(number if parse is None else parse, self.name)
        self._token, self._count = secrets.token_hex(4), itertools.count()

    def hire(self, workers: int) -> None:
        """Send so many requests at the same time."""
        self._requests = self.workers = workers

    def __call__(self, samples: Samples) -> Float[Tensor, " n"]:
        """Return the values of all samples, NaN for those that have none."""
        told = sorted(self.answers(samples), key=lambda answer: answer.row)
        return torch.tensor([float(answer.value) for answer in told], dtype=torch.float64, device="cpu")

    def answers(self, samples: Samples) -> Iterator[Answer]:
        """Yield the answer of each sample as it comes."""
        rows = {f"{self._token}-{next(self._count)}": i for i in range(len(samples))}
        ids = list(rows)
        due = deque(Round(ids[i : i + self._batch]) for i in range(0, len(ids), self._batch))
        ended: SimpleQueue[Round] = SimpleQueue()
        running: list[Round] = []
        while due or running:
            while due and len(running) < self._requests:
                running.append(one := due.popleft())
                body = _body(take(samples, [rows[id_] for id_ in one.ids]), one.ids)
                threading.Thread(target=self._ask, args=(one, *body, ended), daemon=True).start()
            one = ended.get()
            running.remove(one)
            left = [id_ for id_ in one.ids if id_ not in one.told and id_ not in one.failed]
            if left and one.tries < self._tries and not one.hopeless:
                due.append(Round(left, one.tries))
            else:
                one.failed |= dict.fromkeys(left, f"{one.problem} ({one.tries} tries)")
            busy = sum(len(other.ids) for other in running)
            for id_ in one.ids:
                if id_ in one.told or id_ in one.failed:
                    value, why = one.told.get(id_, math.nan), one.whys.get(id_, "")
                    yield Answer(rows[id_], value, one.failed.get(id_, ""), busy, why)

    def _ask(self, one: Round, kind: str, body: bytes, ended: SimpleQueue[Round]) -> None:
        """Send one request, after a pause if it is not the first, and note what comes of it."""
        if one.tries:
            time.sleep(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (one.tries - 1)))
        one.tries += 1
        one.problem = "the server left it out"
        try:
            request = Request(self._url, data=body, headers={"Content-Type": kind, "Accept": "application/json"})
            with urlopen(request, timeout=self._timeout) as reply:
                _read(json.loads(reply.read()), one, self._reader)
        except HTTPError as error:
            one.problem = f"the server says {error.code}: {error.read(200).decode(errors='replace').strip()}"
            one.hopeless = 400 <= error.code < 500 and error.code not in AGAIN
        except (OSError, HTTPException, ValueError) as error:
            one.problem = f"no answer from {self._url}: {type(error).__name__}: {error}"
        finally:
            ended.put(one)


def _read(reply: Any, one: Round, reader: Reader) -> None:
    """Take in what a reply says of the samples that were asked for, and of no others.

    Raises:
        ValueError: it is no reply of a score.
    """
    parts = [reply.get(key, {}) if isinstance(reply, dict) else None for key in ("scores", "failures", "whys")]
    known: list[dict[str, Any]] = [part for part in parts if isinstance(part, dict)]
    if len(known) < len(parts):
        raise ValueError(f"expected {REPLY}, got {json.dumps(reply)[:100]}")
    scores, failures, whys = known
    answers = {id_: reader.answer(i, scores[id_]) for i, id_ in enumerate(one.ids) if id_ in scores}
    one.failed = {id_: answer.failure for id_, answer in answers.items() if answer.failure}
    one.failed |= {id_: str(failures[id_]) for id_ in one.ids if id_ in failures}
    good = {id_: answer for id_, answer in answers.items() if id_ not in one.failed}
    one.told = {id_: float(answer.value) for id_, answer in good.items()}
    one.whys = {id_: str(whys[id_]) if id_ in whys else answer.why for id_, answer in good.items()}


def _body(samples: Samples, ids: Sequence[str]) -> tuple[str, bytes]:
    """Return the kind and the bytes of a request.

    Raises:
        InputError: the samples are neither numbers nor JSON.
    """
    if isinstance(samples, (Tensor, np.ndarray)):
        from safetensors.torch import save

        tensor = samples if isinstance(samples, Tensor) else torch.from_numpy(np.ascontiguousarray(samples))
        data = {"samples": tensor.detach().cpu().contiguous()}
        return "application/x-safetensors", save(data, metadata={"ids": json.dumps(list(ids))})
    try:
        return "application/json", json.dumps({"ids": list(ids), "samples": list(samples)}).encode()
    except TypeError as error:
        raise InputError("samples for a server", expected="tensors, arrays, or JSON data", got=error) from error
