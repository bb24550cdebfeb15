"""Several independent predictors inside one neural network, read out as an ensemble.

>>> import motet
>>> net = motet.models.mlp(input_shape=(4,), num_classes=3)
>>> x, y = torch.randn(8, 4), torch.randint(3, (8,))
>>> ensemble = motet.MIMO(members=3).wrap(net, example=x[:1])
>>> ensemble.loss(x, y).backward()
>>> ensemble.predict(x).probs.shape
torch.Size([8, 3])
"""

from pathlib import Path

from motet._internal.lazy import lazy_names

__version__ = "0.1.0"

# Names are imported when they are first used, so that --help does not import torch. They are listed in __init__.pyi.
__getattr__, __dir__, __all__ = lazy_names(__name__, Path(__file__).with_suffix(".pyi"))
