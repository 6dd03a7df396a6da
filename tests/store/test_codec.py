"""Samples of every kind come back as they went in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from zmax.core.samples import row
from zmax.store.samples import pack_sample, survives, unpack_sample

ARRAYS = {
    "float32": np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3),
    "big-endian": np.arange(4, dtype=">f8"),
    "transposed": np.arange(6).reshape(2, 3).T,
    "reversed": np.arange(5, dtype=np.uint8)[::-1],
    "flags": np.array([True, False]),
    "complex": np.array([1 + 2j], dtype=np.complex64),
    "no axes": np.array(2.5),
    "empty": np.zeros((0, 3)),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_come_back_as_arrays(name):
    kind, blob = pack_sample(ARRAYS[name])
    back = unpack_sample(kind, blob)
    assert (kind, type(back), back.dtype) == ("array", np.ndarray, ARRAYS[name].dtype.newbyteorder("="))
    np.testing.assert_array_equal(back, ARRAYS[name])
    assert back.flags.writeable


@pytest.mark.parametrize(
    ("sample", "plain"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (
            {"atoms": 3, "charge": np.float64(0.25), "at": np.eye(2)},
            {"atoms": 3, "charge": 0.25, "at": [[1, 0], [0, 1]]},
        ),
        (np.array(["C", "O"]), ["C", "O"]),
    ],
)
def test_numpy_inside_plain_data_becomes_plain(sample, plain):
    kind, blob = pack_sample(sample)
    assert (kind, unpack_sample(kind, blob)) == ("json", plain)


def test_what_has_no_bytes_is_printed():
    kind, blob = pack_sample(1 + 2j)
    assert (kind, unpack_sample(kind, blob)) == ("printed", "(1+2j)")


def test_a_row_shares_nothing_with_its_batch():
    for batch in (np.zeros((2, 3)), torch.zeros(2, 3), [np.zeros(3), np.zeros(3)]):
        kept = row(batch, 0)
        batch[0][:] = 7
        assert float(kept.sum()) == 0


def test_plain_data_of_every_kind_comes_back_as_it_was():
    samples = [
        (1, (2.5, None)),
        {1: "a", (2, 3): {"x"}},
        {"of type": "tuple", "parts": [1]},
        frozenset({b"a", 2}),
        b"\x00\xff",
        [True, {"a": ({"b": b"c"},)}],
        "\ud800",
    ]
    for sample in samples:
        kind, blob = pack_sample(sample)
        assert unpack_sample(kind, blob) == sample
        assert type(unpack_sample(kind, blob)) is type(sample)
        assert survives(sample, kind, blob)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA"])
def test_pictures_come_back_pixel_by_pixel(mode):
    picture = Image.effect_noise((7, 5), 80).convert(mode)
    back = unpack_sample(*pack_sample(picture))
    assert (back.mode, back.size, back.tobytes()) == (mode, (7, 5), picture.tobytes())


@pytest.mark.parametrize("sample", [1 + 2j, object(), [np.float32(1)], {"at": np.eye(2)}, Image.new("CMYK", (2, 2))])
def test_what_does_not_come_back_is_known(sample):
    assert not survives(sample, *pack_sample(sample))
