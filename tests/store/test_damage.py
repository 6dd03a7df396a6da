"""Damaged, truncated, older and foreign files: never a raw error, never a wrong number."""

from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import torch

import zmax
from benchmarks.faults import differences, picture
from zmax.core.errors import InputError, StoreError, ZmaxError
from zmax.store import FILE, Journal
from zmax.store.database import VERSION

FLIPS = 150


def near(x: torch.Tensor) -> torch.Tensor:
    return -(x - 1).square().sum(1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    G = zmax.generator(torch.nn.Identity(), shape=(4,), modality="vector")
    zmax.maximize(G, zmax.score(near, differentiable=True), "gradient", 60, batch_size=8, keep=4, out=folder)
    return folder


def copied(run: Path, to: Path) -> Path:
    to.mkdir()
    shutil.copy(run / FILE, to)
    return to


def test_no_flipped_byte_gives_a_raw_error_or_a_wrong_number(run: Path, tmp_path: Path) -> None:
    whole, chance = picture(run), random.Random(0)
    data, refused, folder = (run / FILE).read_bytes(), 0, copied(run, tmp_path / "run")
    places = [*range(0, 100, 4), *(chance.randrange(100, len(data)) for _ in range(FLIPS))]
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 1 << chance.randrange(8)
        (folder / FILE).write_bytes(changed)
        try:
            assert list(differences(whole, picture(folder))) == [], place
        except ZmaxError as error:
            refused += "run" in str(error)
    assert refused > FLIPS // 4


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_refused(share: float, run: Path, tmp_path: Path) -> None:
    data, folder = (run / FILE).read_bytes(), copied(run, tmp_path / "run")
    (folder / FILE).write_bytes(data[: int(share * len(data))])
    with pytest.raises(ZmaxError, match=r"damaged|no run"):
        zmax.load_result(folder)
    with pytest.raises(ZmaxError, match=r"damaged|no run"):
        zmax.resume(folder)


def changed(folder: Path, *statements: str) -> None:
    with sqlite3.connect(folder / FILE) as database:
        for statement in statements:
            database.execute(statement)
    database.close()


@pytest.mark.parametrize(
    ("statement", "error", "words"),
    [
        (f"PRAGMA user_version={VERSION + 1}", InputError, "a newer version"),
        (f"PRAGMA user_version={VERSION - 1}", InputError, "an older version"),
        ("UPDATE chunks SET ledger = replace(ledger, '1', '2')", StoreError, "a batch: ValueError"),
        ("UPDATE meta SET value = '{}' WHERE key = 'spec'", StoreError, "'spec': ValueError"),
        ("UPDATE kept SET score = score + 1", StoreError, "a leader: ValueError"),
        ("DELETE FROM meta WHERE key = 'spec'", StoreError, "what the run was asked"),
        ("DROP TABLE kept", StoreError, "no such table"),
    ],
)
def test_what_is_wrong_is_said(statement: str, error: type[ZmaxError], words: str, run: Path, tmp_path: Path) -> None:
    folder = copied(run, tmp_path / "run")
    changed(folder, statement)
    with pytest.raises(error, match=words):
        zmax.load_result(folder)


def test_a_foreign_file_is_no_run(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("this is a diary" * 100)
    with pytest.raises(InputError, match="is no run"):
        zmax.load_result(tmp_path)
    (tmp_path / FILE).unlink()
    changed(tmp_path, "CREATE TABLE birds (name TEXT)")
    with pytest.raises(InputError, match="is no run"):
        zmax.load_result(tmp_path)


def test_what_is_whole_of_a_damaged_run_can_be_read(run: Path, tmp_path: Path) -> None:
    folder = copied(run, tmp_path / "run")
    best = zmax.load_result(folder).best
    changed(folder, "UPDATE chunks SET first_id = 99 WHERE round = 2")
    with pytest.raises(StoreError, match="damaged=True"):
        zmax.load_result(folder)
    rest: Any = zmax.load_result(folder, damaged=True)
    assert (rest.best.id, rest.best.score) == (best.id, best.score)
    assert 2 not in rest.history.round
    assert 1 in rest.history.round
    assert rest.save(tmp_path / "saved") == tmp_path / "saved"
    assert list(Journal.open(tmp_path / "saved").chunks())
