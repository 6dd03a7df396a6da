from __future__ import annotations

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from zmax.core.budget import Ledger
from zmax.run.meter import Meter


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.seen = 0

    def forward(self, x):
        self.seen += len(x)
        return self.layer(x)


def test_nfe_is_the_number_of_samples_through_the_network():
    network, ledger = Counting(), Ledger()
    with Meter((network,), ledger):
        for n in (1, 3, 8):
            network(torch.zeros(n, 4))
        network(torch.cat([torch.zeros(2, 4)] * 2))  # guidance doubles the batch, and the bill
    assert ledger.nfe == network.seen == 16
    assert ledger.nfe_backward == 0


def test_backward_passes_are_counted_where_gradients_flow():
    network, ledger = Counting(), Ledger()
    x = torch.zeros(5, 4, requires_grad=True)
    with Meter((network,), ledger):
        network(network(x)).sum().backward()
        with torch.no_grad():
            network(x)
    assert (ledger.nfe, ledger.nfe_backward) == (15, 10)


def test_recomputation_under_checkpointing_is_charged():
    network, ledger = Counting(), Ledger()
    x = torch.zeros(5, 4, requires_grad=True)
    with Meter((network,), ledger):
        checkpoint(network, x, use_reentrant=False).sum().backward()
    assert ledger.nfe == network.seen == 10


def test_dict_latents_and_keywords_count_by_their_batch():
    class Two(nn.Module):
        def forward(self, *, z):
            return z["a"]

    network, ledger = Two(), Ledger()
    with Meter((network,), ledger):
        network(z={"a": torch.zeros(7, 2), "b": torch.zeros(7, 3)})
    assert ledger.nfe == 7


def test_a_time_before_the_batch_is_no_batch():
    class Flow(nn.Module):
        def forward(self, t, x):
            return t * x

    network, ledger, x = Flow(), Ledger(), torch.zeros(5, 2, requires_grad=True)
    with Meter((network,), ledger):
        network(torch.tensor(0.5), x).sum().backward()
        network(0.5, x)
        network(torch.tensor(0.5), torch.tensor(1.0))  # a single sample
    assert (ledger.nfe, ledger.nfe_backward) == (11, 5)


def test_hooks_are_gone_afterwards():
    network, ledger = Counting(), Ledger()
    with Meter((network,), ledger):
        pass
    network(torch.zeros(2, 4))
    assert ledger.nfe == 0
