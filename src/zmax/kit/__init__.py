"""What methods are built of, for those of other people too: states as data, and the walk along a diffusion path."""

from zmax.core.rng import Rng
from zmax.core.state import ROW, STATIC
from zmax.kit.chains import Progress
from zmax.kit.rows import join, take, where, where_rows
from zmax.kit.walk import Walk, shown
from zmax.kit.weights import effective_size, log_mean, residual, systematic

__all__ = [
    "ROW",
    "STATIC",
    "Progress",
    "Rng",
    "Walk",
    "effective_size",
    "join",
    "log_mean",
    "residual",
    "shown",
    "systematic",
    "take",
    "where",
    "where_rows",
]
