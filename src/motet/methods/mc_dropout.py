"""MC dropout: dropout at test as samples of a network (Gal and Ghahramani, ICML 2016), a baseline of the papers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from motet._internal.evaluation_mode import evaluating
from motet.errors import InputError, nearest
from motet.layers import MASKS, Masks, Ordinary, SampleDropout, Tile, WrappedLayer
from motet.method import Given, Method, Model, instance_of
from motet.surgery import SharedNetwork, cut_points, ordinary_layers, probe, replace_module


@final
@dataclass(frozen=True, kw_only=True)
class MCDropout(Method):
    """One network with dropout before its layers; its members are samples of the masks.

    A training step runs one sample, with a mask of its own for every example: ordinary dropout. At test S samples run.
    By default a sample is a network: it has one mask for each layer, the same for all examples and at every call, so
    that predictions can be repeated, do not depend on what else is in the batch, and members mean something. The
    papers' code draws new masks for every example and call: ``masks="fresh"``. The expectation is the same.

    Dropout modules that the model has of its own stay what they are, on in training and off at test. The setting
    `rate` would otherwise not say how much is dropped at test, and functional dropout, which nothing can find in a
    model, would be treated differently. Take them out, or set their rate to 0, to sample from these masks alone.

    Attributes:
        rate: the probability of dropping an entry. 0.1 in the baselines of MIMO (uncertainty-baselines, there behind
            the first convolution of each block); 0.15 in MIMMO's, before every convolution and linear layer.
        where: modules whose Linear, Conv1d and Conv2d layers get dropout before them; None for the whole model.
        samples: S at test; MIMMO uses 10, uncertainty-baselines 1 and 30.
        masks: ``"fixed"`` or ``"fresh"``, at test.
        seed: of the fixed masks.

    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> ensemble = MCDropout(rate=0.5, samples=10).wrap(net, example=torch.zeros(1, 4))
    >>> ensemble.predict(torch.ones(5, 4)).member_probs.shape
    torch.Size([5, 10, 3])
    """

    name: ClassVar[str] = "mc-dropout"
    label: ClassVar[str] = "MC dropout"
    summary: ClassVar[str] = "one network, S dropout masks at test: S times the cost there"

    rate: float = 0.1
    where: tuple[str, ...] | None = None
    samples: int = 4
    masks: Masks = "fixed"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise InputError("samples must be at least 1", got=f"samples={self.samples}", fix="Pass samples=1 or more")
        if not 0 <= self.rate < 1:
            raise InputError(
                "the dropout rate must lie in [0, 1)", got=f"rate={self.rate}", fix="Pass rate=0.1, for example"
            )
        if self.masks not in MASKS:
            raise InputError(
                f"masks must be one of {', '.join(MASKS)}",
                got=repr(self.masks),
                fix="Pass masks='fixed' for predictions that can be repeated",
            )
        if isinstance(self.where, str) or self.where == ():
            raise InputError(
                "where must be names of modules in a tuple, or None for the whole model",
                got=repr(self.where),
                fix="Pass where=('layer4', 'fc'), for example",
            )

    @property
    def size(self) -> int:
        """S."""
        return self.samples

    @property
    def exempt_from(self) -> Mapping[str, str]:
        """Masks in training are drawn from torch's default generator; without masks samples are equal."""
        if self.rate == 0:
            return {"members_differ": "without masks all samples are equal"}
        return {"the_generator_alone_decides_the_grouping": "masks are drawn from torch's default generator"}

    @property
    def size_in_training(self) -> int:
        """One sample: a training step is one of ordinary dropout."""
        return 1

    def convert(self, model: Model, given: Given) -> nn.Module:
        """The model with dropout before its layers, and the rows tiled at the last place that no mask has reached."""
        network = instance_of(model)
        probe(network, given.example)  # for its checks of what the model takes and returns
        layers = self._layers(network)
        cut = _last_cut_before(network, given.example, list(layers.values()))
        if cut is not None:
            module, tile = network.get_submodule(cut), Tile(self.samples, layout=given.layout)
            network = replace_module(network, module, WrappedLayer(module, behind=tile))
        for index, layer in enumerate(layers.values()):
            dropout = SampleDropout(
                self.rate, self.samples, masks=self.masks, seed=self.seed, index=index, layout=given.layout
            )
            network = replace_module(network, layer, WrappedLayer(layer, before=dropout))
        # From the entrance on samples share no work: folded, they run in turn, which is kinder to caches.
        return SharedNetwork(network, self.samples, layout=given.layout, tiles=True) if cut is None else network

    def _layers(self, network: nn.Module) -> dict[str, Ordinary]:
        layers, _ = ordinary_layers(network)
        if self.where is not None:
            names = dict(network.named_modules())
            for name in self.where:
                if name not in names or not name:
                    raise InputError(
                        "where must name modules of the model", got=repr(name), fix=nearest(name, names.keys() - {""})
                    )
                if not any(_inside(layer, name) for layer in layers):
                    raise InputError(
                        "a module named in where must hold a Linear, Conv1d or Conv2d layer",
                        got=f"{name!r}, a {type(names[name]).__name__} without one",
                        fix=f"Name others: {', '.join(map(repr, layers)) or 'the model has none'}",
                    )
            layers = {key: layer for key, layer in layers.items() if any(_inside(key, name) for name in self.where)}
        if not layers:
            raise InputError(
                "MC dropout needs a Linear, Conv1d or Conv2d layer to drop inputs of",
                got="a model without one",
                fix="Use a model with such a layer",
            )
        return layers


def _inside(layer: str, name: str) -> bool:
    return layer == name or layer.startswith(f"{name}.")


def _last_cut_before(network: nn.Module, example: Tensor, layers: list[Ordinary]) -> str | None:
    """The last cut point that is done before the first of `layers` runs; None if there is none."""
    cuts = {point.name for point in cut_points(network, example)}
    done: list[str] = []
    before: list[list[str]] = []
    handles = [layer.register_forward_pre_hook(lambda _, args: before.append(list(done))) for layer in layers]
    for name in cuts:
        finished = network.get_submodule(name)
        handles.append(finished.register_forward_hook(lambda _, args, output, name=name: done.append(name)))
    try:
        with torch.no_grad(), evaluating(network):
            network(example.detach().clone())
    finally:
        for handle in handles:
            handle.remove()
    return before[0][-1] if before and before[0] else None
