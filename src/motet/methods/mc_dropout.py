"""MC dropout: predictions under several dropout masks (Gal and Ghahramani, ICML 2016), a common baseline."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from motet._internal.copying import copy_of, stand_in_for
from motet._internal.evaluation_mode import on_trial
from motet._internal.field_types import check_field_types
from motet._internal.nested import Inputs, joined
from motet._internal.renamed_settings import with_old_settings
from motet._internal.wording import with_article
from motet.errors import InputError, nearest
from motet.layers import MASKS, RECURRENT, TRANSPOSED, ActiveMember, Masks, SampleDropout, Tile, WrappedLayer
from motet.method import ConversionContext, Method, Model, check_members, instance_of
from motet.method.rehearsal import another_row
from motet.surgery import SharedNetwork, cut_points, probe, replace_module
from motet.surgery.convertible_layers import KINDS, convertible_layers, split_attention
from motet.surgery.recurrent_inputs import batch_axes, without_packed
from motet.surgery.trial import gives_own_outputs


@final
@with_old_settings
@dataclass(frozen=True, kw_only=True)
class MCDropout(Method):
    """One network with dropout before its layers; each member is the network under one sampled mask.

    Paper: https://arxiv.org/abs/1506.02142.

    A training step is a step of ordinary dropout: one pass, with a new mask for every example. At test M masks are
    used.

    Dropout modules that the model already has are not changed: they are active in training and inactive at test. If
    they were active at test, `rate` would not say how much is dropped there, and functional dropout, which cannot be
    found in a model, would be treated differently. To sample from these masks only, remove the model's own dropout or
    set its rate to 0.

    **Differences from the reference:** the papers' code draws new masks for every example and every call:
    ``masks="fresh"``. By default a member has one mask for each layer, which is the same for all examples and at every
    call. Predictions can then be repeated, do not depend on the other examples in the batch, and a member is a fixed
    network. The expected prediction is the same.

    Attributes:
        rate: the probability of dropping an entry. 0.1 in the baselines of MIMO (uncertainty-baselines, which has
            dropout only after the first convolution of each block); 0.15 in those of MIMMO, before every convolution
            and linear layer.
        where: names of the modules whose layers get dropout before them; None for the whole model.
        members: M, the number of masks at test; MIMMO uses 10, uncertainty-baselines 1 and 30.
        masks: ``"fixed"`` or ``"fresh"``, at test.
        seed: the seed of the fixed masks.

    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> ensemble = MCDropout(rate=0.5, members=10).wrap(net, example=torch.zeros(1, 4))
    >>> ensemble.predict(torch.ones(5, 4)).member_probs.shape
    torch.Size([5, 10, 3])
    """

    name: ClassVar[str] = "mc-dropout"
    label: ClassVar[str] = "MC dropout"
    summary: ClassVar[str] = "one network, M dropout masks at test; M times the cost at test"

    differ_by_weights: ClassVar[bool] = False

    rate: float = 0.1
    where: tuple[str, ...] | None = None
    members: int = 4
    masks: Masks = "fixed"
    seed: int = 0

    def __post_init__(self) -> None:
        check_field_types(self, convert=False)
        check_members(self.members)
        if not 0 <= self.rate < 1:
            raise InputError(
                "the dropout rate must lie in [0, 1)", got=f"rate={self.rate}", fix="Pass rate=0.1, for example"
            )
        if self.masks not in MASKS:
            raise InputError(
                f"masks must be one of {', '.join(MASKS)}",
                got=repr(self.masks),
                fix="Pass masks='fixed' for repeatable predictions",
            )
        if isinstance(self.where, str) or self.where == ():
            raise InputError(
                "the setting where must be a tuple of names of modules, or None for the whole model",
                got=repr(self.where),
                fix="Pass where=('layer4', 'fc'), for example",
            )

    @property
    def exempt_from(self) -> Mapping[str, str]:
        """Training masks come from torch's default generator, and with rate 0 all members are equal."""
        if self.rate == 0:
            return {"members_differ": "without masks all members are equal"}
        return {"the_generator_alone_decides_the_grouping": "masks are drawn from torch's default generator"}

    @property
    def members_in_training(self) -> int:
        """One: a training step is a step of ordinary dropout."""
        return 1

    def convert(self, model: Model, context: ConversionContext) -> nn.Module:
        """Return the model with dropout before its layers. Rows are repeated for the members at the last point that all
        paths go through before the first dropout, so that the layers up to there run only once.

        Raises:
            InputError: if `where` names modules that the model lacks, or if no layer's inputs can be dropped.
        """
        network = instance_of(model)
        probe(network, context.example)  # checks what the model takes and returns
        network = split_attention(network)
        layers = self._layers(network, context.example)
        axes = batch_axes(layers)
        cut = _last_cut_before(network, context.example, list(layers.values()))
        example = joined([context.example, another_row(context.example)])
        # Token ids, and masks beside them, are repeated as a whole: a mask for fewer rows may not show in the example.
        if cut is not None and isinstance(example, Tensor) and example.is_floating_point():
            after_cut = self._with_masks(copy_of(network), list(layers), context, axes, cut=cut)
            if gives_own_outputs(after_cut, example, self.members):
                return after_cut
        # If masks are used from the input layer on, members share no work. Folded, they run in turn, which uses caches
        # better.
        tiled = self._with_masks(network, list(layers), context, axes)
        whole = SharedNetwork(tiled, self.members, layout=context.layout, tiles=True)
        if gives_own_outputs(whole, example, self.members):
            return whole
        active = ActiveMember()
        for module in tiled.modules():
            if isinstance(module, SampleDropout):
                module.active = active
        return SharedNetwork(tiled, self.members, layout=context.layout, tiles=False, active=active)

    def _with_masks(
        self,
        network: nn.Module,
        layers: list[str],
        context: ConversionContext,
        axes: dict[str, int],
        *,
        cut: str | None = None,
    ) -> nn.Module:
        """Return the network with dropout before its layers. Rows are repeated for the members after `cut`."""
        found = [network.get_submodule(name) for name in layers]
        if cut is not None:
            module, tile = network.get_submodule(cut), Tile(self.members, layout=context.layout)
            network = replace_module(network, module, WrappedLayer(module, post=tile))
        for index, (name, layer) in enumerate(zip(layers, found, strict=True)):
            dropout = SampleDropout(
                self.rate,
                self.members,
                masks=self.masks,
                seed=self.seed,
                index=index,
                layout=context.layout,
                axis=axes.get(name, 0),
            )
            network = replace_module(network, layer, WrappedLayer(layer, pre=dropout))
        return network

    def _layers(self, network: nn.Module, example: Inputs) -> dict[str, nn.Module]:
        layers, _ = convertible_layers(network, (*KINDS, *TRANSPOSED, *RECURRENT))
        layers, _ = without_packed(network, example, layers)
        if self.where is not None:
            names = dict(network.named_modules())
            for name in self.where:
                if name not in names or not name:
                    raise InputError(
                        "the setting where must name modules of the model",
                        got=repr(name),
                        fix=nearest(name, names.keys() - {""}),
                    )
                if not any(_inside(layer, name) for layer in layers):
                    raise InputError(
                        "a module named in the setting where must contain a Linear, convolution or recurrent layer",
                        got=f"{name!r}, {with_article(type(names[name]).__name__)} without one",
                        fix=f"Name other modules: {', '.join(map(repr, layers)) or 'the model has none'}",
                    )
            layers = {key: layer for key, layer in layers.items() if any(_inside(key, name) for name in self.where)}
        if not layers:
            raise InputError(
                "MC dropout needs a Linear layer, a convolution or a recurrent layer whose inputs it can drop",
                got="a model without one",
                fix="Use a model with such a layer",
            )
        return layers


def _inside(layer: str, name: str) -> bool:
    return layer == name or layer.startswith(f"{name}.")


def _last_cut_before(network: nn.Module, example: Inputs, layers: list[nn.Module]) -> str | None:
    """Return the last cut point that has run before the first of `layers` runs, or None if there is none."""
    names = [name for name, module in network.named_modules() if any(module is layer for layer in layers)]
    cuts = {point.name for point in cut_points(network, example)}
    network = stand_in_for(network)
    done: list[str] = []
    before: list[list[str]] = []
    found = map(network.get_submodule, names)
    handles = [layer.register_forward_pre_hook(lambda _, args: before.append(list(done))) for layer in found]
    for name in cuts:
        finished = network.get_submodule(name)
        handles.append(finished.register_forward_hook(lambda _, args, output, name=name: done.append(name)))
    try:
        with torch.no_grad(), on_trial(network):
            network(example.detach().clone())
    finally:
        for handle in handles:
            handle.remove()
    return before[0][-1] if before and before[0] else None
