"""The methods, one file each. Importing one here is all it takes for the library and the command line to find it."""

# In the order in which tables list them.
# isort: off
from motet.method import Method as Method
from motet.method import Model as Model
from motet.methods.single import Single as Single
from motet.methods.deep_ensemble import DeepEnsemble as DeepEnsemble
from motet.methods.modular_network import ModularNetwork as ModularNetwork
from motet.methods.ncl import NCL as NCL
from motet.methods.mc_dropout import MCDropout as MCDropout
from motet.methods.tree_net import TreeNet as TreeNet
from motet.methods.multihead import Multihead as Multihead
from motet.methods.batch_ensemble import BatchEnsemble as BatchEnsemble
from motet.methods.mixture_ensembles import MixtureEnsembles as MixtureEnsembles
from motet.methods.mimo import MIMO as MIMO
from motet.methods.mixmo import MixMo as MixMo
from motet.methods.datamux import DataMUX as DataMUX
from motet.methods.early_exit import EarlyExit as EarlyExit
from motet.methods.dun import DUN as DUN
from motet.methods.mimmo import MIMMO as MIMMO

from motet.methods.named import method_named as method_named
# isort: on

METHODS: dict[str, type[Method]] = {
    kind.name: kind
    for kind in list(globals().values())
    if isinstance(kind, type) and issubclass(kind, Method) and kind is not Method
}
"""Every method of motet's own by its name, in the order of the imports above."""

__all__ = ["METHODS", "Method", "Model", "method_named"]
__all__ += [kind.__name__ for kind in METHODS.values()]
