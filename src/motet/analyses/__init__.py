"""What can be found out about an ensemble from its predictions: whom to leave out, when to stop, what losing costs."""

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
