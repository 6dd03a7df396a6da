"""The weights of a generator that may move: a child beside its parent, and its file."""

from zmax.finetune.weights.asked import child_mapped, child_native, child_pushed, child_told
from zmax.finetune.weights.child import Child, child_of
from zmax.finetune.weights.export import save_lora
from zmax.finetune.weights.files import read, restored, written

__all__ = [
    "Child",
    "child_mapped",
    "child_native",
    "child_of",
    "child_pushed",
    "child_told",
    "read",
    "restored",
    "save_lora",
    "written",
]
