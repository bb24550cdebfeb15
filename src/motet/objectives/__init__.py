"""Training losses: how members are coupled. They map the members' outputs and the targets to a scalar."""

from motet.objectives.base import ExitObjective, Objective
from motet.objectives.depth import DepthELBO, DepthMarginalLikelihood, ExitSum
from motet.objectives.independent import Independent
from motet.objectives.modular import Joint, Modular, ModularExits

__all__ = [
    "DepthELBO",
    "DepthMarginalLikelihood",
    "ExitObjective",
    "ExitSum",
    "Independent",
    "Joint",
    "Modular",
    "ModularExits",
    "Objective",
]
