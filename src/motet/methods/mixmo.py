"""MixMo: Mixing multiple inputs for multiple outputs via deep subnetworks (Rame, Sun & Cord, ICCV 2021)."""

from dataclasses import dataclass
from typing import ClassVar, Literal, final, get_args

from torch import Tensor, nn

from motet._internal.field_types import check_field_types
from motet._internal.nested import Inputs
from motet._internal.wording import with_article
from motet.errors import InputError
from motet.grouping import Grouping
from motet.grouping.mixed import Mixed
from motet.layers import MultiEmbedding, MultiInput, Ordinary
from motet.likelihoods import Combination
from motet.method import ConversionContext, Method, Model, check_members
from motet.methods.member_layers import multi_input, with_member_inputs_and_heads

Mixing = Literal["auto", "cut", "linear"]


@final
@dataclass(frozen=True, kw_only=True)
class MixMo(Method):
    """M inputs with separate input layers, mixed with random ratios into one body with M heads.

    Paper: https://arxiv.org/abs/2103.06132.

    After the input layers ``e_m`` the features are ``h = M sum_m mask_m e_m(x_m)``, where the masks add up to 1. At
    test each mask is 1/M, so that ``h = sum_m e_m(x)``. With one shared input the M input kernels can then be summed
    into one, as in `MIMO`, which is linear mixing with equal ratios and equal weights (``alpha=0, mixing="linear"``).
    Each ``e_m`` starts as an ordinary layer, with the scale that the model's own input layer has. MIMO's kernels are
    parts of one layer over M inputs, and so ``1 / sqrt(M)`` as large.

    **Differences from the reference** (https://github.com/alexrame/mixmo-pytorch): the CutMix of each member's own
    input, which the authors add in their best results (MSDA), is not included. It is a data augmentation that could be
    combined with any method. Where the input layer has a bias, there is one for all members, added after mixing.
    `test_scale` is an addition. If a trained model is continued (``init="keep"``), the kernels add up to its own.

    Attributes:
        members: M; 2 in the paper.
        batch_repetition: the number of times each step's examples are repeated, 4 on CIFAR.
        input_repetition: rho, the fraction of rows in which all members see the same input; 0.
        mixing: ``"linear"``: a weighted sum of the inputs' features (Linear-MixMo). ``"cut"``: in some steps one input
            fills a box instead (Cut-MixMo); this needs images ``(B, C, H, W)`` read by a Conv2d. ``"auto"``: cut for
            such images, linear for all other inputs: vectors, signals, tokens, and images that the model flattens.
        alpha: the parameter of the Dirichlet distribution of the mixing ratios, 2; 0 or less for equal ratios.
        cut_probability: the probability that a step uses cut mixing, 0.5; the other steps mix linearly.
        weight_root: r in the weights of the losses, ``w_m = M lambda_m^(1/r) / sum_j lambda_j^(1/r)``; 3.
        test_scale: multiplies ``sum_m e_m(x)`` at test; 1 in the paper. Mixing ratios vary in training, so features
            vary more there than at test; a value above 1 compensates for that.
        combination: ``"geometric"`` averages the members' logits, as the authors do; ``"mixture"`` averages their
            probabilities, as the papers of the other methods do.

    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> ensemble = MixMo(members=2).wrap(net, example=torch.zeros(1, 4))
    >>> ensemble.grouping.cut_probability
    0.0
    >>> ensemble.fold().network[0]
    Linear(in_features=4, out_features=8, bias=True)
    """

    name: ClassVar[str] = "mixmo"
    label: ClassVar[str] = "MixMo"
    summary: ClassVar[str] = "M inputs, mixed with random ratios or cut out of each other, one body, M heads"

    members: int = 2
    batch_repetition: int = 4
    input_repetition: float = 0.0
    mixing: Mixing = "auto"
    alpha: float = 2.0
    cut_probability: float = 0.5
    weight_root: float = 3.0
    test_scale: float = 1.0
    combination: Combination = "geometric"

    def __post_init__(self) -> None:
        check_field_types(self, convert=False)
        check_members(self.members)
        for name, kind in (("mixing", Mixing), ("combination", Combination)):
            if getattr(self, name) not in get_args(kind):
                raise InputError(
                    f"{name} must be one of {', '.join(get_args(kind))}",
                    got=repr(getattr(self, name)),
                    fix=f"Pass {name}={type(self).__dataclass_fields__[name].default!r} for the default",
                )
        if not 0 < self.test_scale < float("inf"):
            raise InputError(
                "test_scale must be a positive, finite number",
                got=f"test_scale={self.test_scale}",
                fix="Pass 1, as in the paper",
            )
        _ = self.grouping  # checks the other settings

    @property
    def grouping(self) -> Grouping:
        """Each member sees its own permutation of the repeated batch, mixed with the others'."""
        return self._mixed(cut=self.mixing != "linear")

    def grouping_for(self, network: nn.Module, example: Inputs) -> Grouping:
        """Return `grouping`, but with linear mixing if `mixing` is ``"auto"`` and no Conv2d reads the images."""
        if self.mixing == "auto":
            stems = [module.layer for module in network.modules() if isinstance(module, MultiInput)]
            reads_tokens = any(isinstance(module, MultiEmbedding) for module in network.modules())
            return self._mixed(
                cut=not reads_tokens and all(_reads_images(stem, example, self.members) for stem in stems)
            )
        return self.grouping

    def convert(self, model: Model, context: ConversionContext) -> nn.Module:
        """Return the model with a multi-input layer in place of its input layer and M heads in place of its output
        layer.

        Raises:
            InputError: if the input or output layers are ambiguous, the same, or cannot be replaced.
        """

        def input_layer(layer: Ordinary | nn.Embedding, kernels: Tensor) -> nn.Module:
            if self.mixing == "cut" and not _reads_images(layer, context.example):
                raise InputError(
                    "mixing='cut' needs images (batch, channels, height, width) that a Conv2d reads",
                    got=f"inputs of shape {tuple(context.example.shape)}, read by {with_article(type(layer).__name__)}",
                    fix="Pass mixing='linear', or 'auto' to cut only where it is possible",
                )
            return multi_input(layer, kernels, context.layout, scale=self.test_scale)

        return with_member_inputs_and_heads(self, model, context, input_layer, separate=True)

    def _mixed(self, *, cut: bool) -> Mixed:
        return Mixed(
            batch_repetition=self.batch_repetition,
            input_repetition=self.input_repetition,
            alpha=self.alpha,
            cut_probability=self.cut_probability if cut else 0.0,
            weight_root=self.weight_root,
        )


def _reads_images(layer: nn.Module, example: Inputs, members: int = 1) -> bool:
    """Whether the layer reads the example's channels unchanged; a model may move its axes first."""
    return isinstance(layer, nn.Conv2d) and example.ndim == 4 and layer.in_channels == members * example.shape[1]
