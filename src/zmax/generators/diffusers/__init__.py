"""Pipelines of diffusers as generators."""

from zmax.generators.diffusers.adapter import from_diffusers

__all__ = ["from_diffusers"]
