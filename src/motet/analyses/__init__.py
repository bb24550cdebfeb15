"""Analyses of an ensemble's predictions: members to leave out, stopping early, and the cost of losing members."""

from motet.analyses.fit_budget import fit_budget
from motet.inference.lost_members import Dropped, drop_at_random, drop_numbers
from motet.inference.specialists import Specialist, best_of_random, evaluate, greedy

__all__ = [
    "Dropped",
    "Specialist",
    "best_of_random",
    "drop_at_random",
    "drop_numbers",
    "evaluate",
    "fit_budget",
    "greedy",
]
