"""How members are coupled in the loss: member outputs and targets to a scalar."""

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
