"""Diffusion and flow models: schedules, steps, samplers, the path, denoisers, memory policies."""
