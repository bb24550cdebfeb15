"""The layer with fast weights for each kind of layer that BatchEnsemble converts."""

from collections.abc import Callable

from torch import Tensor, nn

from motet.layers import (
    RECURRENT,
    TRANSPOSED,
    ActiveMember,
    FastRecurrent,
    FastTransposed,
    FastWeights,
    Layout,
    Ordinary,
    Recurrent,
    Transposed,
)
from motet.surgery import Init, fresh_stack
from motet.surgery.convertible_layers import KINDS

FAST_KINDS: tuple[type[nn.Module], ...] = (*KINDS, *TRANSPOSED, *RECURRENT)


def fast_layer(
    layer: nn.Module,
    initial: Callable[[int, Init], Tensor],
    *,
    members: int,
    init: Init,
    layout: Layout | None,
    active: ActiveMember | None,
    lr_scale: float,
) -> FastWeights | FastTransposed | FastRecurrent:
    """Return the layer that replaces `layer`.

    Args:
        layer: one of `FAST_KINDS`.
        initial: makes initial fast weights for a number of features, ``(M, r, features)``.
        members: M.
        init: ``"fresh"``: the members' biases are new draws; ``"keep"``: they are the layer's.
        layout: the ensemble's layout, if the layer reads shared rows.
        active: names the member that runs, where members run one after another; None where they never do.
        lr_scale: the learning rate of what belongs to members as a multiple of the optimiser's.
    """

    def of_members(bias: Tensor) -> Tensor:
        return bias.detach().repeat(members, 1) if init == "keep" else fresh_stack(bias, members)

    if isinstance(layer, RECURRENT):
        return _recurrent(layer, initial, of_members, init=init, layout=layout, active=active, lr_scale=lr_scale)
    assert isinstance(layer, Ordinary | Transposed)
    biases = None if layer.bias is None else of_members(layer.bias)
    if isinstance(layer, TRANSPOSED):
        fast_in, fast_out = initial(layer.in_channels, init), initial(layer.out_channels, init)
        return FastTransposed(layer, fast_in, fast_out, biases, layout=layout, active=active, lr_scale=lr_scale)
    inputs = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
    fast_in, fast_out = initial(inputs, init), initial(len(layer.weight), init)
    return FastWeights(layer, fast_in, fast_out, biases, layout=layout, active=active, lr_scale=lr_scale)


def _recurrent(
    layer: Recurrent,
    initial: Callable[[int, Init], Tensor],
    of_members: Callable[[Tensor], Tensor],
    *,
    init: Init,
    layout: Layout | None,
    active: ActiveMember | None,
    lr_scale: float,
) -> FastRecurrent:
    biases = {name: of_members(value) for name, value in layer.named_parameters() if value.ndim == 1}
    shapes = {name: value.shape for name, value in layer.named_parameters() if value.ndim == 2}
    fast_in = {name: initial(shape[1], init) for name, shape in shapes.items()}
    fast_out = {name: initial(shape[0], init) for name, shape in shapes.items()}
    return FastRecurrent(layer, fast_in, fast_out, biases, layout=layout, active=active, lr_scale=lr_scale)
