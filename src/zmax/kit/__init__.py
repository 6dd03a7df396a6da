"""What methods are built of, for those of other people too: states as data, and the walk along a diffusion path."""

from zmax.core.rng import Rng
from zmax.core.state import STATIC
from zmax.kit.rows import where_rows
from zmax.kit.stalling import Progress
from zmax.kit.walk import Walk, shown
from zmax.kit.weights import effective_size, log_mean, residual, systematic

__all__ = [
    "STATIC",
    "Progress",
    "Rng",
    "Walk",
    "effective_size",
    "log_mean",
    "residual",
    "shown",
    "systematic",
    "where_rows",
]
