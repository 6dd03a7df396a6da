"""Trains one network of the zoo: `python -m zoo.train avatars-gan`, and so on with the names in `RECIPES`.

Resumes from `zoo/build/<name>.pt` where there is one.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import sys

import torch

RECIPES = {
    "attribute": ("zoo.train_attribute", "ATTRIBUTE"),
    "attribute-judge": ("zoo.train_attribute", "JUDGE"),
    "avatars-gan": ("zoo.train_gan", "RECIPE"),
    "avatars-flow": ("zoo.train_flow", "RECIPE"),
    "avatars-vae": ("zoo.train_vae", "RECIPE"),
    "critic": ("zoo.train_critic", "RECIPE"),
}


def keep_memory() -> None:
    """Tells glibc to keep what tensors free: giving it back and faulting it in again costs a third of the time."""
    if sys.platform == "linux":
        trim_threshold, top_pad, mmap_threshold = -1, -2, -3
        libc = ctypes.CDLL("libc.so.6")
        for option, value in ((mmap_threshold, 1 << 25), (trim_threshold, 1 << 30), (top_pad, 1 << 26)):
            libc.mallopt(option, value)


def main() -> None:
    """Reads the name and the number of threads, and trains."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: 1)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_memory()
    torch.set_flush_denormal(True)
    module, recipe = RECIPES[arguments.name]
    recipes = importlib.import_module(module)
    recipes.train(getattr(recipes, recipe))


if __name__ == "__main__":
    main()
