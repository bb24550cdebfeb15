"""Several independent predictors inside one neural network, read out as an ensemble.

>>> import motet
>>> net = motet.models.mlp(input_shape=(4,), num_classes=3)
>>> x, y = torch.randn(8, 4), torch.randint(3, (8,))
>>> ensemble = motet.MIMO(members=3).wrap(net, example=x[:1])
>>> ensemble.loss(x, y).backward()
>>> ensemble.predict(x).probs.shape
torch.Size([8, 3])
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from motet import data, distributed, metrics, models
    from motet.data import Dataset
    from motet.ensemble import Ensemble
    from motet.errors import InputError
    from motet.experiments import Experiment
    from motet.grouping import Permuted, Shared, Split
    from motet.joint_objectives import Joint, Modular, ModularExits
    from motet.likelihoods import Bernoulli, Categorical, Gaussian, HeteroscedasticGaussian, Poisson
    from motet.methods import (
        DUN,
        MIMMO,
        MIMO,
        BatchEnsemble,
        DataMUX,
        DeepEnsemble,
        EarlyExit,
        MCDropout,
        Method,
        MixMo,
        MixtureEnsembles,
        ModularNetwork,
        Multihead,
        Single,
        TreeNet,
    )
    from motet.mixing import Mixed
    from motet.objectives import Independent
    from motet.prediction import Prediction
    from motet.training import Training, fit
    from motet.types import Batch, Progress

__version__ = "0.1.0"

# Names are imported when they are first used: the command line's --help then never waits for torch.
_HOMES = {
    "Batch": "types",
    "BatchEnsemble": "methods",
    "Bernoulli": "likelihoods",
    "Categorical": "likelihoods",
    "DUN": "methods",
    "DataMUX": "methods",
    "Dataset": "data",
    "DeepEnsemble": "methods",
    "EarlyExit": "methods",
    "Ensemble": "ensemble",
    "Experiment": "experiments",
    "Gaussian": "likelihoods",
    "HeteroscedasticGaussian": "likelihoods",
    "Independent": "objectives",
    "InputError": "errors",
    "Joint": "joint_objectives",
    "MCDropout": "methods",
    "MIMMO": "methods",
    "MIMO": "methods",
    "Method": "methods",
    "MixMo": "methods",
    "Mixed": "mixing",
    "MixtureEnsembles": "methods",
    "Modular": "joint_objectives",
    "ModularExits": "joint_objectives",
    "ModularNetwork": "methods",
    "Multihead": "methods",
    "Permuted": "grouping",
    "Poisson": "likelihoods",
    "Prediction": "prediction",
    "Progress": "types",
    "Shared": "grouping",
    "Single": "methods",
    "Split": "grouping",
    "Training": "training",
    "TreeNet": "methods",
    "data": "",
    "distributed": "",
    "fit": "training",
    "metrics": "",
    "models": "",
}

__all__ = [
    "DUN",
    "MIMMO",
    "MIMO",
    "Batch",
    "BatchEnsemble",
    "Bernoulli",
    "Categorical",
    "DataMUX",
    "Dataset",
    "DeepEnsemble",
    "EarlyExit",
    "Ensemble",
    "Experiment",
    "Gaussian",
    "HeteroscedasticGaussian",
    "Independent",
    "InputError",
    "Joint",
    "MCDropout",
    "Method",
    "MixMo",
    "Mixed",
    "MixtureEnsembles",
    "Modular",
    "ModularExits",
    "ModularNetwork",
    "Multihead",
    "Permuted",
    "Poisson",
    "Prediction",
    "Progress",
    "Shared",
    "Single",
    "Split",
    "Training",
    "TreeNet",
    "data",
    "distributed",
    "fit",
    "metrics",
    "models",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'motet' has no attribute {name!r}")
    home = _HOMES[name]
    value = getattr(import_module(f"motet.{home}"), name) if home else import_module(f"motet.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
