"""What `motet compare` trains when it is not told otherwise. Settings were chosen on validation data."""

from dataclasses import dataclass, fields, replace
from typing import Any, final

from motet._internal.own_code import make
from motet.data import Augmentation, Kind
from motet.methods import (
    MIMMO,
    MIMO,
    BatchEnsemble,
    DataMUX,
    MCDropout,
    Method,
    MixMo,
    MixtureEnsembles,
    ModularNetwork,
    method_named,
)
from motet.models import MLP, ModelSettings, SmallCNN
from motet.training import Training


@final
@dataclass(frozen=True, kw_only=True)
class Defaults:
    """Default settings for one data set.

    Attributes:
        model: the model that every method wraps.
        training: how every method is trained.
        members: M for every method that has members.
        seeds: how many seeds.
        tuned: methods whose settings differ from their papers' for this data set.
    """

    model: ModelSettings
    training: Training
    members: int = 3
    seeds: int = 1
    tuned: tuple[Method, ...] = ()

    def method(self, name: str, members: int | None = None) -> Method:
        """The method called `name`, with these defaults and the number of members asked for.

        Args:
            name: see `motet.methods.method_named`.
            members: M; the data set's default if None.

        Raises:
            InputError: if there is no such method, or its class cannot be made without arguments.
        """
        kind = method_named(name)
        method = next((tuned for tuned in self.tuned if type(tuned) is kind), None) or make(kind, name, "method")
        # Monte Carlo samples are MC dropout's members: methods are compared at as many of them.
        size = next((item.name for item in fields(method) if item.name in ("members", "samples")), None)
        if size is None:
            return method
        many: dict[str, Any] = {size: self.members if members is None else members}
        return replace(method, **many)


# Chosen on validation data with tools/select_digits_defaults.py; results/digits-defaults/ keeps all that was tried.
# Training: where the deep ensemble, the papers' upper baseline, has its lowest NLL. rho: MIMO's lowest NLL on average
# over the training settings; the paper's rho = 0 asks more capacity of the network than this one has for three members.
# The other methods' own settings: the lowest NLL of those that tools/select_digits_methods.py tried.
# One seed on 359 test images says little, hence three.
# One learning rate serves all methods: under the sum a modular network's members get gradients as large as others'.
_SUMMED = ModularNetwork(reduction="sum")
_REPEATED: dict[str, Any] = {"batch_repetition": 2, "input_repetition": 0.7}
_DIGITS = Defaults(
    model=SmallCNN(width=2),
    training=Training(epochs=30, batch_size=32, learning_rate=0.02, weight_decay=5e-4, warmup_epochs=1.0),
    seeds=3,
    tuned=(
        _SUMMED,
        MCDropout(rate=0.02),
        BatchEnsemble(fast_std=0.1),
        MixtureEnsembles(coefficient_lr=0.01),
        MIMO(**_REPEATED),
        MixMo(**_REPEATED),
        DataMUX(**_REPEATED),
        MIMMO(**_REPEATED),
    ),
)
# Not tuned: common settings, small enough for a CPU to finish.
_IMAGES = Defaults(
    model=SmallCNN(width=2),
    training=Training(epochs=10, batch_size=128, learning_rate=0.05, weight_decay=5e-4, warmup_epochs=1.0),
    tuned=(_SUMMED, MIMO(batch_repetition=2), MixMo(batch_repetition=2)),
)
# The same with the augmentation that everybody uses on CIFAR.
_CIFAR = replace(
    _IMAGES, training=replace(_IMAGES.training, augment=Augmentation(crop=4, flip=True)), model=SmallCNN(width=2)
)
# MIMO's regression example: 4,000 steps on 64 rows, each member its own permutation of the batch.
_TOY = Defaults(
    model=MLP(hidden=(32, 128)),
    training=Training(
        epochs=2000, batch_size=32, optimizer="adamw", learning_rate=0.01, weight_decay=0.0, schedule="constant"
    ),
    tuned=(_SUMMED, MIMO(batch_repetition=1)),
)
# Not tuned: what is usual for tables of some thousand rows, a few seconds each on a CPU.
_TABLE = Defaults(
    model=MLP(hidden=(128, 128)),
    training=Training(
        epochs=60, batch_size=32, optimizer="adamw", learning_rate=2e-3, weight_decay=1e-4, warmup_epochs=1.0
    ),
    tuned=(_SUMMED, MIMO(batch_repetition=2), MixMo(batch_repetition=2)),
)
_BY_DATA = {"digits": _DIGITS, "toy": _TOY, "cifar10": _CIFAR, "cifar100": _CIFAR}
_BY_KIND = {"named": _IMAGES, "images": _IMAGES, "table": _TABLE}


def defaults_for(data: str, kind: Kind = "named") -> Defaults:
    """Defaults for the data set called `data`: its own, or those for its kind."""
    return _BY_DATA.get(data, _BY_KIND[kind]) if kind == "named" else _BY_KIND[kind]
