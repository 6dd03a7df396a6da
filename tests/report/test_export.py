"""The best samples as files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from zmax.core.errors import InputError
from zmax.report import export_samples
from zmax.results import Result
from zmax.store import Entry


def _entry(i: int, score: float, sample: Any, **more: Any) -> Entry:
    u = torch.full((3,), float(i))
    return Entry(**{"id": i, "score": score, "plausibility": 0.25, "u": u, "z": u, "sample": sample, **more})


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 16, 16), (16, 16), (3, 10, 20), (3, 300, 260)])
def test_pictures_are_enlarged_by_whole_pixels(make: Callable[..., Result], tmp_path: Path, shape: Any) -> None:
    levels = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0))
    files = export_samples(make([_entry(0, 9.81342, levels / 255)], modality="image"), tmp_path)
    assert [f.name for f in files] == ["01_9.81342.png"]
    picture = np.asarray(Image.open(files[0]))
    factor = picture.shape[0] // shape[-2]
    assert min(picture.shape[:2]) >= 256
    assert picture.shape[1] == factor * shape[-1]
    expected = levels.numpy() if len(shape) == 2 else levels.numpy().transpose(1, 2, 0).squeeze()
    small = picture[::factor, ::factor]
    assert np.array_equal(small, expected)
    assert np.array_equal(np.repeat(np.repeat(small, factor, 0), factor, 1), picture)


def test_files_come_best_first(make: Callable[..., Result], tmp_path: Path) -> None:
    kept = [_entry(i, float(-i), torch.full((3, 4, 4), i / 20)) for i in range(12)]
    names = [f.name for f in export_samples(make(kept, modality="image"), tmp_path)]
    assert names == sorted(names)
    assert names[0].startswith("01_")
    assert names[11] == "12_-11.png"


def test_texts_go_into_one_file_with_their_numbers(make: Callable[..., Result], tmp_path: Path) -> None:
    kept = [_entry(0, 2.5, "häuser\n</b>", held_out=1.5), _entry(1, 1.0, "x")]
    (file,) = export_samples(make(kept, modality="text"), tmp_path / "new" / "folder")
    assert file.read_text(encoding="utf-8") == (
        "# 01  score 2.5  plausibility 0.25  held-out 1.5\nhäuser\n</b>\n\n# 02  score 1  plausibility 0.25\nx\n"
    )


def test_vectors_are_written_in_full(make: Callable[..., Result], tmp_path: Path) -> None:
    (file,) = export_samples(make([_entry(0, 1.0, torch.arange(100.0))], modality="vector"), tmp_path)
    assert file.read_text().splitlines()[1] == str([float(i) for i in range(100)])


def test_a_second_export_replaces_the_first_and_nothing_else(make: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_bytes(b"")
    (tmp_path / "01_holiday.png").write_bytes(b"")
    picture = torch.zeros(3, 4, 4)
    export_samples(make([_entry(0, 1e-7, picture), _entry(1, -2.0, picture)], modality="image"), tmp_path)
    export_samples(make([_entry(0, 3.5, picture)], modality="image"), tmp_path)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["01_3.5.png", "01_holiday.png", "mine.png"]


def test_a_run_without_samples_gives_no_files(make: Callable[..., Result], tmp_path: Path) -> None:
    assert export_samples(make(), tmp_path) == []


def test_a_file_is_no_folder(make: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="a file"):
        export_samples(make(), tmp_path / "taken")
