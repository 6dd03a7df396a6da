"""Set-up of the whole suite: shapes are checked, workers do not fight over cores, the user's cache is left alone.

Calls are checked against every jaxtyping annotation in zmax (ZMAX_SHAPE_CHECKS=0 turns that off).
"""

from __future__ import annotations

import os
import tempfile

os.environ["ZMAX_CACHE"] = tempfile.mkdtemp(prefix="zmax-tests-")

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

import shape_checks
import torch

torch.set_warn_always(True)  # else what torch says once a process fails whichever test comes first
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)
if os.environ.get("ZMAX_SHAPE_CHECKS", "1") != "0":
    shape_checks.install()

torch.manual_seed(0)  # noqa: TID251 - networks that a file makes when it is read


def pytest_runtest_setup() -> None:
    """Begin every test at the same global random numbers, whatever ran before it."""
    torch.manual_seed(0)  # noqa: TID251 - what networks are initialised by
