"""What `motet compare` trains when it is not told otherwise: per data set, settings that were tuned on validation."""

from dataclasses import dataclass
from typing import final

from motet.methods import MIMO
from motet.models import ModelSettings, SmallCNN, WideResNet
from motet.training import Training


@final
@dataclass(frozen=True, kw_only=True)
class Defaults:
    """Default settings for one data set."""

    model: ModelSettings
    training: Training
    mimo: MIMO


_DIGITS = Defaults(
    model=SmallCNN(width=4),
    training=Training(epochs=60, batch_size=32, learning_rate=0.05, weight_decay=5e-4, warmup_epochs=1),
    mimo=MIMO(members=3, batch_repetition=2, input_repetition=0.0),
)
_IMAGES = Defaults(
    model=WideResNet(depth=10, width=2),
    training=Training(epochs=20, batch_size=128, learning_rate=0.1, weight_decay=5e-4, warmup_epochs=1),
    mimo=MIMO(members=3, batch_repetition=2, input_repetition=0.0),
)
_DEFAULTS = {"digits": _DIGITS, "fashion-mnist": _IMAGES, "mnist": _IMAGES}


def defaults_for(data: str) -> Defaults:
    """Defaults for the data set called `data`; those of a small image set where it has none of its own."""
    return _DEFAULTS.get(data, _IMAGES)
