"""The best samples as files."""

from __future__ import annotations

import wave
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
    assert sorted(f.name for f in tmp_path.iterdir()) == [".samples", "01_3.5.png", "01_holiday.png", "mine.png"]


def test_what_only_looks_like_an_export_stays_and_links_are_not_followed(
    make: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "elsewhere.png").write_text("mine")
    folder = tmp_path / "samples"
    folder.mkdir()
    (folder / "02_7.png").write_text("mine")
    (folder / "01_3.5.png").symlink_to(tmp_path / "elsewhere.png")
    (folder / ".samples").write_text("../elsewhere.png\n")
    export_samples(make([_entry(0, 3.5, torch.zeros(3, 4, 4))], modality="image"), folder)
    assert (folder / "02_7.png").read_text() == (tmp_path / "elsewhere.png").read_text() == "mine"
    assert (folder / "01_3.5.png").is_file()
    assert not (folder / "01_3.5.png").is_symlink()
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(InputError, match="a link"):
        export_samples(make(), tmp_path / "link")


def exported(make: Callable[..., Result], folder: Path, sample: Any, modality: str) -> list[Path]:
    return export_samples(make([_entry(0, 1.5, sample)], modality=modality), folder)


def test_sounds_frames_arrays_and_tables_have_files_of_their_kind(make: Callable[..., Result], tmp_path: Path) -> None:
    wave_form = torch.tensor([[0.0, 1.0, -1.0], [0.5, 2.0, 0.0]])
    (sound,) = exported(make, tmp_path, wave_form, "audio")
    with wave.open(str(sound)) as file:
        assert (sound.name, file.getnchannels(), file.getframerate()) == ("01_1.5.wav", 2, 16_000)
        assert np.frombuffer(file.readframes(3), "<i2").tolist() == [0, 16384, 32767, 32767, -32767, 0]
    frames = exported(make, tmp_path, torch.stack([torch.zeros(3, 4, 5), torch.ones(3, 4, 5)]), "video")
    assert [file.name for file in frames] == ["01_1.5_0001.png", "01_1.5_0002.png"]
    assert [Image.open(file).getpixel((4, 3)) for file in frames] == [(0, 0, 0), (255, 255, 255)]
    (array,) = exported(make, tmp_path, np.arange(6.0).reshape(2, 3), "other")
    assert np.load(array).tolist() == [[0, 1, 2], [3, 4, 5]]
    (half,) = exported(make, tmp_path, torch.full((2,), 0.5).bfloat16(), "other")
    assert np.load(half).tolist() == [0.5, 0.5]
    (table,) = exported(make, tmp_path, [{"a": 1, "b": "x, y"}, {"a": 2, "b": ""}], "other")
    assert table.read_text() == 'a,b\n1,"x, y"\n2,\n'
    (picture,) = exported(make, tmp_path, Image.new("RGB", (3, 2), (1, 2, 3)), "other")
    assert Image.open(picture).getpixel((2, 1)) == (1, 2, 3)
    assert sorted(file.name for file in tmp_path.iterdir()) == [".samples", "01_1.5.png"]


def test_a_run_without_samples_gives_no_files(make: Callable[..., Result], tmp_path: Path) -> None:
    assert export_samples(make(), tmp_path) == []


def test_a_file_is_no_folder(make: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="a file"):
        export_samples(make(), tmp_path / "taken")
