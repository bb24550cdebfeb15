"""Layers whose weights are mixtures of shared templates."""
