"""Every method by name, whatever room it lives in; each room adds its own."""

from __future__ import annotations

from typing import Any

from zmax.core.registry import Registry
from zmax.core.strategy import Strategy

methods: Registry[type[Strategy[Any]]] = Registry("method", "zmax.methods")
