"""Networks as users bring them: modules, TorchScript, exported programs; some take no hooks, or have one mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn


class Opaque(nn.Module):
    """A function, or a network that takes no hooks, as a network of one call, so that the same hooks count it.

    Args:
        function: what is called.
        parts: networks that it runs, to be moved with it.
    """

    def __init__(self, function: Callable[..., Any], parts: Sequence[nn.Module] = ()) -> None:
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(parts)

    def forward(self, *given: Any) -> Any:
        """Call the function."""
        return self.function(*given)

    def train(self, mode: bool = True) -> Opaque:
        """Set the mode of what has several."""
        self.training = mode
        for part in self.children():
            set_mode(part, mode)
        return self


class InBatches(Opaque):
    """A network that was compiled for batches of one size: others come in such parts, the last one filled up.

    Args:
        network: the network.
        size: rows of its batches.

    Example:
        >>> InBatches(nn.Identity(), 2)(torch.arange(3.0)[:, None]).shape
        torch.Size([3, 1])
    """

    def __init__(self, network: nn.Module, size: int) -> None:
        super().__init__(network)
        self.size = size

    def forward(self, z: Any) -> Any:
        """Call it on one part after another."""
        n = len(next(iter(z.values()))) if isinstance(z, dict) else len(z)
        made = []
        for start in range(0, n, self.size):
            rows = torch.arange(start, start + self.size, device="cpu").clamp_max(n - 1)
            part = (
                {name: x[rows.to(x.device)] for name, x in z.items()} if isinstance(z, dict) else z[rows.to(z.device)]
            )
            made.append(self.function(part)[: n - start])
        return torch.cat(made)


def as_network(given: Any) -> Any:
    """Return what is called in place of what a user brings, in evaluation mode where it is a module that has one.

    An exported program becomes a module, and what takes no hooks is wrapped in one that does.
    """
    if isinstance(given, torch.export.ExportedProgram):
        rows, module = _first_input(given), given.module()
        return Opaque(module) if rows is None else InBatches(module, rows)
    if not isinstance(given, nn.Module):
        return given
    return set_mode(given, False) if takes_hooks(given) else set_mode(Opaque(given), False)


def takes_hooks(network: nn.Module) -> bool:
    """Say whether calls of a network can be watched; those of TorchScript cannot."""
    try:
        network.register_forward_pre_hook(lambda *_: None).remove()
    except (RuntimeError, NotImplementedError):
        return False
    return True


def set_mode(network: nn.Module, training: bool) -> nn.Module:
    """Put a network into a mode, unless it has one only, as an exported program does, and return it."""
    try:
        return network.train(training)
    except NotImplementedError:
        return network


def dtypes(network: nn.Module) -> list[torch.dtype]:
    """Return the floating dtypes of a network's weights, each once, in their order."""
    return list(dict.fromkeys(p.dtype for p in network.parameters() if p.is_floating_point()))


def _first_input(program: torch.export.ExportedProgram) -> int | None:
    """Return the rows of the batches that a program was exported for, None if it takes any."""
    names = program.graph_signature.user_inputs
    shapes = {node.name: node.meta["val"].shape for node in program.graph.nodes if node.op == "placeholder"}
    rows = next((shapes[name][0] for name in names if isinstance(name, str) and len(shapes[name])), None)
    return rows if isinstance(rows, int) else None
