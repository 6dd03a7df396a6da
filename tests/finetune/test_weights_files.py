"""A child comes back from its file as it was, or not at all."""

import pytest
import torch
from safetensors import safe_open
from torch import nn

import zmax
from tests.support.parents import KINDS, PARENTS, decoded, module_generator, path_generator, same, shaken
from zmax.core.errors import InputError, ShapeError, StoreError
from zmax.finetune.weights import child_of, read, restored, written


@pytest.mark.parametrize(("parent", "weights"), KINDS)
def test_a_child_comes_back_from_its_file(parent, weights, tmp_path):
    G = PARENTS[parent]()
    child = child_of(G, weights, alpha=3.0)
    child.load(shaken(child))
    blob = written(child, {"score": "attribute:glasses"})
    (tmp_path / "w.safetensors").write_bytes(blob)
    tensors, card = read(tmp_path / "w.safetensors")
    assert same(tensors, child.tensors())
    assert card["score"] == "attribute:glasses"
    assert card["parent"] == (G.source or G.name)
    assert torch.allclose(decoded(restored(G, tensors, card).generator), decoded(child.generator), atol=1e-5)
    assert blob == written(child, {"score": "attribute:glasses"})
    with safe_open(tmp_path / "w.safetensors", framework="pt") as file:
        assert set(file.keys()) == set(child.weights)


def test_a_changed_file_is_refused():
    blob = written(child_of(module_generator()), {"score": "redness"})
    tensors, _ = read(blob)
    flipped = bytearray(blob)
    flipped[-1] ^= 1
    with pytest.raises(StoreError, match="sha256"):
        read(bytes(flipped))
    with pytest.raises(StoreError, match="sha256"):
        read(blob.replace(b"redness", b"badness"))
    assert len(tensors) == 6
    for broken in (blob[:40], b"", b"x" * 200):
        with pytest.raises(InputError, match="safetensors"):
            read(broken)
    with pytest.raises(InputError, match="FileNotFound"):
        read("nowhere.safetensors")


def test_a_card_holds_only_json_and_no_second_parent():
    child = child_of(module_generator())
    with pytest.raises(InputError, match="JSON"):
        written(child, {"score": object()})
    with pytest.raises(InputError, match="parent"):
        written(child, {"parent": "another"})


def test_another_parent_is_refused():
    child = child_of(module_generator(), "lora:2")
    tensors, card = read(written(child, {}))
    with pytest.raises(InputError, match="parent"):
        restored(path_generator(), tensors, card)
    wider = zmax.generator(
        nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Identity(), nn.Identity(), nn.Linear(9, 3)), (6,)
    )
    with pytest.raises(ShapeError, match=r"\(8, 2\)"):
        restored(wider, tensors, {**card, "weights": {**card["weights"], "targets": [["0", "4"]]}}) and None
