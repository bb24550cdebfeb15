"""The default settings of `motet compare`. They were chosen on validation data."""

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
        seeds: the number of seeds.
        tuned: methods whose settings for this data set differ from their papers'.
    """

    model: ModelSettings
    training: Training
    members: int = 3
    seeds: int = 1
    tuned: tuple[Method, ...] = ()

    def method(self, name: str, members: int | None = None) -> Method:
        """Return the method called `name`, with these defaults.

        Args:
            name: see `motet.methods.method_named`.
            members: M; the data set's default if None.

        Raises:
            InputError: if there is no such method, or if its class needs arguments.
        """
        kind = method_named(name)
        method = next((tuned for tuned in self.tuned if type(tuned) is kind), None) or make(kind, name, "method")
        # `samples`: the name in earlier versions, which methods outside motet may still have.
        name_of_field = next((item.name for item in fields(method) if item.name in ("members", "samples")), None)
        if name_of_field is None:
            return method
        changed: dict[str, Any] = {name_of_field: self.members if members is None else members}
        return replace(method, **changed)


# Chosen on validation data with tools/select_digits_defaults.py; results/digits-defaults/ has all results. Training:
# the lowest NLL of the deep ensemble, the papers' upper baseline. rho: the lowest NLL of MIMO, averaged over the
# training settings; the paper's rho = 0 needs more capacity than this network has for three members. Other methods'
# settings: the lowest NLL of those that tools/select_digits_methods.py tried. Three seeds, because one seed on 359 test
# images says little. One learning rate is used for all methods: with the sum over members, a modular network's members
# get gradients as large as the other methods'.
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
        MixtureEnsembles(coefficient_lr_scale=0.01),
        MIMO(**_REPEATED),
        MixMo(**_REPEATED),
        DataMUX(**_REPEATED),
        MIMMO(**_REPEATED),
    ),
)
# Not tuned: common settings, small enough for a CPU.
_IMAGES = Defaults(
    model=SmallCNN(width=2),
    training=Training(epochs=10, learning_rate=0.05, weight_decay=5e-4, warmup_epochs=1.0),
    tuned=(_SUMMED, MIMO(batch_repetition=2), MixMo(batch_repetition=2)),
)
# The same for the user's own images, with the augmentation chosen for them.
_FOLDER = replace(_IMAGES, training=replace(_IMAGES.training, augment=None))
# The same with the usual augmentation for CIFAR.
_CIFAR = replace(
    _IMAGES, training=replace(_IMAGES.training, augment=Augmentation(crop=4, flip=True)), model=SmallCNN(width=2)
)
# MIMO's regression example: 4,000 steps on 64 rows, each member sees its own permutation of the batch.
_TOY = Defaults(
    model=MLP(hidden=(32, 128)),
    training=Training(
        epochs=2000, batch_size=32, optimizer="adamw", learning_rate=0.01, weight_decay=0.0, schedule="constant"
    ),
    tuned=(_SUMMED, MIMO(batch_repetition=1)),
)
# Not tuned: common settings for tables with some thousand rows, a few seconds each on a CPU.
_TABLE = Defaults(
    model=MLP(hidden=(128, 128)),
    training=Training(
        epochs=60, largest_batch_size=32, optimizer="adamw", learning_rate=2e-3, weight_decay=1e-4, warmup_epochs=1.0
    ),
    tuned=(_SUMMED, MIMO(batch_repetition=2), MixMo(batch_repetition=2)),
)
_BY_DATA = {"digits": _DIGITS, "toy": _TOY, "cifar10": _CIFAR, "cifar100": _CIFAR}
_BY_KIND = {"named": _IMAGES, "images": _FOLDER, "table": _TABLE}


def defaults_for(data: str, kind: Kind = "named") -> Defaults:
    """Return the defaults for the data set called `data`, or those for its kind."""
    return _BY_DATA.get(data, _BY_KIND[kind]) if kind == "named" else _BY_KIND[kind]
