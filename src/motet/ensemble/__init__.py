"""`Ensemble`, the module that every method returns."""

from motet.ensemble.ensemble import Ensemble

__all__ = ["Ensemble"]
