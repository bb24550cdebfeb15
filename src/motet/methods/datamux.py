"""DataMUX: Data multiplexing for neural networks (Murahari et al., NeurIPS 2022), and MIMMO's baseline of that name."""

from dataclasses import dataclass
from typing import ClassVar, Literal, final, get_args

import torch
from torch import Tensor, nn

from motet._internal.field_types import check_field_types
from motet._internal.nested import NestedInputs
from motet.errors import InputError
from motet.grouping import Grouping, Permuted
from motet.layers import ConcatenatedInput, LearnedTransforms, Multiplexed, MultiplexedEmbedding, SummedTransforms
from motet.layers.multiplexed import Kind, pixels, random_rotations
from motet.method import ConversionContext, Method, Model, check_members, instance_of
from motet.methods.heads import with_heads
from motet.methods.member_layers import member_heads, with_member_inputs_and_heads
from motet.methods.separate_inputs import with_separate_inputs
from motet.surgery import Probe, input_layers, output_layers, probe, replace_module

Transform = Literal["learned", "gaussian", "orthogonal", "identity"]
# A matrix with this many rows takes 64 MiB for each member.
_MOST_ROTATED = 4096


@final
@dataclass(frozen=True, kw_only=True)
class DataMUX(Method):
    """A transform for each member's input, one network that reads all of them, M heads.

    Paper: https://arxiv.org/abs/2202.09318.

    The transforms come before the whole model and depend on its input. For images they are convolutions of size 3x3 (3
    for signals ``(B, C, L)`` read by a Conv1d), padded to keep the size. For vectors and tokens, whose features are the
    last axis, they are a linear map of each step's features.

    ``"learned"`` is MIMMO's baseline (supplement, section A): C to C channels and a ReLU; the members' results are
    concatenated along the channels and read by a widened input layer. It is not linear, so a shared input costs M
    transforms and the wide input layer, and `Ensemble.fold` gains nothing. The other transforms are fixed and *summed*,
    not averaged, into the unchanged model, as in the original (section 3.1 and its vision notebook). On a shared input
    they can be summed into one transform.

    **Differences from the reference:** heads are separate linear layers, as in MIMMO's baseline, and not the original's
    demultiplexer (one layer per member before a shared layer), so that methods differ only in their inputs.
    ``"graded"`` of the original (constant kernels 1, 2, ...) is left out, because it only scales the members. Weights
    of a trained model are kept, but its input changes, so that it has to be trained again.

    Attributes:
        members: M; 2, the smallest number in MIMMO's tables.
        transform: ``"learned"``; ``"gaussian"``: random kernels C to C with N(0, 1) entries, or N(0, 1) factors for the
            features; ``"orthogonal"``: a random rotation of each channel's pixels, or of the features; ``"identity"``:
            the plain sum of the inputs, a control in which members' inputs cannot be told apart. (The original's
            ``"identity"`` is an all-ones kernel, a blur, in which they cannot be told apart either.)
        norm: for ``"learned"``: whether there is a batch norm between convolution and ReLU. MIMMO's text has none, its
            first author's code has one, and the operation counts in its tables are exactly those of a convolution
            without bias, a batch norm and a ReLU. So it is on by default. Linear maps of features have none.
        batch_repetition: the number of times each step's examples are repeated; 2, as for every method of MIMMO's
            tables.
        input_repetition: rho, the fraction of rows in which all members see the same input; 0.25, as in these tables.

    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> DataMUX(members=2).wrap(net, example=torch.zeros(1, 4)).network.network[0].layer
    Linear(in_features=8, out_features=8, bias=True)
    >>> DataMUX(members=2, transform="gaussian").wrap(net, example=torch.zeros(1, 4)).network.network[0]
    Linear(in_features=4, out_features=8, bias=True)
    """

    name: ClassVar[str] = "datamux"
    label: ClassVar[str] = "DataMUX"
    summary: ClassVar[str] = "a transform of each member's input, one body, M heads"

    members: int = 2
    transform: Transform = "learned"
    norm: bool = True
    batch_repetition: int = 2
    input_repetition: float = 0.25

    def __post_init__(self) -> None:
        check_field_types(self, convert=False)
        check_members(self.members)
        if self.transform not in get_args(Transform):
            raise InputError(
                f"transform must be one of {', '.join(get_args(Transform))}",
                got=repr(self.transform),
                fix="Pass 'learned' for trained transforms, or 'gaussian' for random ones",
            )
        _ = self.grouping  # checks the two repetitions

    @property
    def grouping(self) -> Grouping:
        """Each member sees its own permutation of the repeated batch."""
        return Permuted(batch_repetition=self.batch_repetition, input_repetition=self.input_repetition)

    def convert(self, model: Model, context: ConversionContext) -> nn.Module:
        """Return the model after M transforms, with M heads in place of its output layer.

        Raises:
            InputError: if the input is not floating-point, has an unknown layout, or is too large for ``"orthogonal"``;
                and if input or output layers are ambiguous or cannot be replaced.
        """
        example = context.example
        network = instance_of(model)
        probed = probe(network, example)
        if isinstance(example, NestedInputs) and len(example.tensors) == 1:
            example = example.tensors[0]
        if not isinstance(example, Tensor) or not example.is_floating_point():
            return self._of_tokens(network, probed, context)
        axes = _axes(network, probed, example)
        if self.transform == "learned":
            network = with_member_inputs_and_heads(self, lambda: network, context, ConcatenatedInput)
            features = example.shape[1 if axes else -1]
            transforms: LearnedTransforms | SummedTransforms = LearnedTransforms(
                features, self.members, axes=axes, norm=self.norm, layout=context.layout, like=example
            )
        else:
            for layer in output_layers(network, probed, context.last):
                network = replace_module(network, layer, member_heads(layer, self.members, context.init))
            kind, weights = self._fixed(example, axes)
            transforms = SummedTransforms(kind, weights, axes=axes, layout=context.layout)
        return Multiplexed(transforms, network, layout=context.layout)

    def _of_tokens(self, network: nn.Module, probed: Probe, context: ConversionContext) -> nn.Module:
        """Return a network that reads token ids: the vectors of its embeddings are transformed, not the ids."""
        readers = input_layers(network, probed, context.first)
        names = tuple(name for name, module in network.named_modules() if any(module is each for each in readers))
        for layer in readers:
            if not isinstance(layer, nn.Embedding):
                raise InputError(
                    "DataMUX transforms the one tensor that a model reads, or the vectors of its embeddings",
                    got=f"several inputs, or integers, of which {names} are read by other layers",
                    fix="Use MIMO, which gives each tensor an input layer of its own",
                )
            like = layer.weight.detach()
            if self.transform == "learned":
                transforms: LearnedTransforms | SummedTransforms = LearnedTransforms(
                    layer.embedding_dim, self.members, axes=0, norm=False, layout=context.layout, like=like
                )
            else:
                kind, weights = self._fixed(like, 0)
                transforms = SummedTransforms(kind, weights, axes=0, layout=context.layout)
            own = MultiplexedEmbedding(layer, transforms, layout=context.layout, members=self.members)
            network = replace_module(network, layer, own)
        for head in output_layers(network, probed, context.last):
            network = replace_module(network, head, member_heads(head, self.members, context.init))
        return with_separate_inputs(with_heads(network, context, self.members), context, self.members, names)

    def _fixed(self, example: Tensor, axes: int) -> tuple[Kind, Tensor]:
        """Return the operation of `SummedTransforms`, and the members' random weights for it."""
        if self.transform == "identity":
            return "scale", torch.ones(self.members, 1, device=example.device, dtype=example.dtype)
        if self.transform == "gaussian":
            features = example.shape[1 if axes else -1]
            shape = (features, features, *[3] * axes) if axes else (features,)
            return ("convolve" if axes else "scale"), torch.randn(self.members, *shape).to(example)
        if (size := pixels(example, axes)) > _MOST_ROTATED:
            raise InputError(
                f"transform='orthogonal' can rotate at most {_MOST_ROTATED} numbers per channel",
                got=f"inputs of shape {tuple(example.shape[1:])}, which need {size:,} x {size:,} matrices",
                fix="Pass transform='gaussian' or 'learned'",
            )
        return "rotate", random_rotations(self.members, size, like=example)


def _axes(network: nn.Module, probed: Probe, example: Tensor) -> int:
    """Return how many of the input's last axes are spatial: 0 for features, 1 for signals, 2 for images.

    The shape alone does not say what ``(B, 5, 3)`` is: the layer that reads it distinguishes signals from tokens.
    Images that a model flattens are still images.
    """
    readers = [network.get_submodule(name) for name in probed.input_layers]
    if example.ndim == 3:
        return 1 if any(isinstance(reader, nn.Conv1d) for reader in readers) else 0
    reads_last = any(isinstance(each, nn.Linear) and each.in_features == example.shape[-1] for each in readers)
    if example.ndim == 4 and not reads_last:
        return 2
    if example.ndim > 4 and not reads_last:
        raise InputError(
            "DataMUX transforms vectors, tokens, signals or images",
            got=f"inputs of shape {tuple(example.shape[1:])} that no Linear layer reads along their last axis",
            fix="Reshape them to (channels, height, width)",
        )
    return 0
