"""Samples of every kind come back as they went in."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zmax.core.samples import row
from zmax.store.records import pack_sample, unpack_sample

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
