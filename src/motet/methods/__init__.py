"""The methods, one file each. Importing one here is all it takes for the library and the command line to find it."""

# In the order in which tables list them.
# isort: off
from motet.method import Method, Model
from motet.methods.single import Single
from motet.methods.deep_ensemble import DeepEnsemble
from motet.methods.modular_network import ModularNetwork
from motet.methods.mc_dropout import MCDropout
from motet.methods.tree_net import TreeNet
from motet.methods.multihead import Multihead
from motet.methods.batch_ensemble import BatchEnsemble
from motet.methods.mixture_ensembles import MixtureEnsembles
from motet.methods.mimo import MIMO
from motet.methods.mixmo import MixMo
from motet.methods.datamux import DataMUX
from motet.methods.early_exit import EarlyExit
from motet.methods.dun import DUN
from motet.methods.mimmo import MIMMO

from motet.methods.named import method_named
# isort: on

METHODS: dict[str, type[Method]] = {
    kind.name: kind
    for kind in list(globals().values())
    if isinstance(kind, type) and issubclass(kind, Method) and kind is not Method
}
"""Every method of motet's own by its name, in the order of the imports above."""

__all__ = [
    "DUN",
    "METHODS",
    "MIMMO",
    "MIMO",
    "BatchEnsemble",
    "DataMUX",
    "DeepEnsemble",
    "EarlyExit",
    "MCDropout",
    "Method",
    "MixMo",
    "MixtureEnsembles",
    "Model",
    "ModularNetwork",
    "Multihead",
    "Single",
    "TreeNet",
    "method_named",
]
