"""Where a generator's networks are, and what is shipped with its weights."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import zmax
from zmax.core.budget import Budget, Ledger
from zmax.core.errors import InputError
from zmax.core.proposal import Latents, Proposal, Unscored
from zmax.core.shelf import Shelf
from zmax.core.space import Space
from zmax.run.evaluator import Evaluator


class Plain(zmax.Generator):
    space = Space.of((3,))

    def decode(self, z):
        return z


def test_networks_move_and_where_there_are_none_that_is_said():
    G = zmax.generator(nn.Linear(3, 2), shape=(3,))
    assert G.to("meta").device == "meta"
    with pytest.raises(InputError, match="networks that can be moved"):
        Plain().to("cpu")
    with pytest.raises(InputError, match="one of this machine"):
        G.to("no such device")


def test_what_is_only_shown_takes_no_graph_through_the_decoder():
    G, graphs = zmax.generator(nn.Linear(3, 2), shape=(3,), differentiable=True), []
    G.networks[0].register_forward_hook(lambda _network, _inputs, output: graphs.append(output.requires_grad))
    evaluator = Evaluator(G, zmax.score(lambda x: x[:, 0]), Ledger(), Budget(100))
    evaluator.evaluate(Proposal(Latents(torch.zeros(4, 3)), Unscored()), slice(0, 4))
    assert graphs == [False]


def test_a_shelf_gives_back_the_network_that_was_saved_and_its_card(tmp_path):
    for folder in ("weights", "cards"):
        (tmp_path / folder).mkdir()
    saved, arguments = nn.Linear(3, 2), {"in_features": 3, "out_features": 2}
    save_file(saved.state_dict(), tmp_path / "weights" / "line.safetensors", {"arguments": json.dumps(arguments)})
    (tmp_path / "cards" / "line.json").write_text('{"licence": "CC0 für alle"}', encoding="utf-8")
    shelf = Shelf(tmp_path, {"line": nn.Linear})
    assert torch.equal(shelf.load("line").weight, saved.weight)
    assert not shelf.load("line").training
    assert not shelf.load("line").weight.requires_grad
    assert shelf.card("line") == {"licence": "CC0 für alle"}
