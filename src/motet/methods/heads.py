"""Choose how the outputs of M heads leave a network: as rows, or in the channels up to its end."""

from torch import nn

from motet._internal.nested import joined
from motet.layers import HeadsInChannels, MultiHead
from motet.method import ConversionContext
from motet.method.rehearsal import another_row
from motet.surgery.trial import gives_own_outputs, returns_rows


def with_heads(network: nn.Module, context: ConversionContext, members: int) -> nn.Module:
    """Return the network itself if its heads' rows ``(M B)`` reach its end; otherwise in `HeadsInChannels`.

    Args:
        network: the network with `MultiHead` layers.
        context: what `Method.convert` is passed.
        members: M.
    """
    heads = [each for each in network.modules() if isinstance(each, MultiHead)]
    if members == 1 or len(heads) != 1 or heads[0] is network or context.example.is_meta:
        return network
    example = joined([context.example, another_row(context.example)])
    if returns_rows(network, example, members):
        return network  # whether they are the right ones is found out in the rehearsal
    axis = getattr(context.likelihood, "class_axis", None)
    heads[0].stays_in_channels = True
    inside = HeadsInChannels(network, members, axis=-1 if axis is None else axis)
    if gives_own_outputs(inside, example, members):
        return inside
    heads[0].stays_in_channels = False
    return network
