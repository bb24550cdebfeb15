"""MixMo: Mixing multiple inputs for multiple outputs via deep subnetworks (Rame, Sun & Cord, ICCV 2021)."""

from dataclasses import dataclass
from typing import ClassVar, Literal, final, get_args

from torch import Tensor, nn

from motet.errors import InputError
from motet.grouping import Grouping
from motet.grouping.mixed import Mixed
from motet.layers import MultiInput, Ordinary
from motet.likelihoods import Combination
from motet.method import Given, Method, Model, check_members
from motet.methods.member_layers import with_member_inputs_and_heads

Mixing = Literal["auto", "cut", "linear"]


@final
@dataclass(frozen=True, kw_only=True)
class MixMo(Method):
    """M inputs, each behind an input layer of its own, mixed in random shares into one body with M heads.

    Right behind the input layers ``e_m`` the features are ``h = M sum_m mask_m e_m(x_m)``, where the masks add up to 1.
    At test the masks are their mean, so that ``h = sum_m e_m(x)``: with one shared input the M input kernels add up to
    one, as in `MIMO`, which is linear mixing with equal shares and equal weights (``alpha=0, mixing="linear"``).

    Not included is the CutMix of each member's own input that the authors add in their best results (MSDA): it is an
    augmentation that any method could have.

    Attributes:
        members: M; 2 in the paper.
        batch_repetition: each step's examples are repeated this often, 4 on CIFAR.
        input_repetition: rho, the fraction of rows in which all members see the same input; 0.
        mixing: ``"linear"``: by shares alone (Linear-MixMo). ``"cut"``: in some steps one input fills a box instead
            (Cut-MixMo); it needs images ``(B, C, H, W)`` that a Conv2d reads. ``"auto"``: cut for those, linear for
            all else: vectors, signals, tokens, and images that a model flattens.
        alpha: of the Dirichlet distribution of the shares, 2; 0 or less for equal shares.
        cut_probability: of a step that cuts, 0.5; the others mix linearly.
        weight_root: r in the weights of the losses, ``w_m = M lambda_m^(1/r) / sum_j lambda_j^(1/r)``; 3.
        test_scale: multiplies ``sum_m e_m(x)`` at test; 1 in the paper. The shares of a training step vary, so that
            its features vary more than those at test: a value above 1 makes up for that.
        combination: ``"geometric"`` averages the members' logits, as the authors do; ``"mixture"`` their
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
    summary: ClassVar[str] = "M inputs mixed in random shares or cut out of each other, one body, M heads"

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
                fix="Pass 1 for the paper's",
            )
        _ = self.grouping  # checks the other settings

    @property
    def size(self) -> int:
        """M."""
        return self.members

    @property
    def grouping(self) -> Grouping:
        """Each member sees its own permutation of the repeated batch, mixed with the others'."""
        return self._mixed(cut=self.mixing != "linear")

    def grouping_for(self, network: nn.Module, example: Tensor) -> Grouping:
        """As `grouping`, but linear where `mixing` is ``"auto"`` and the model does not read images by a Conv2d."""
        if self.mixing == "auto":
            stems = [module.layer for module in network.modules() if isinstance(module, MultiInput)]
            return self._mixed(cut=all(_reads_images(stem, example, self.members) for stem in stems))
        return self.grouping

    def convert(self, model: Model, given: Given) -> nn.Module:
        """The model with a multi-input layer in place of its input layer and M heads in place of its output layer."""

        def multi_input(layer: Ordinary, kernels: Tensor) -> nn.Module:
            if self.mixing == "cut" and not _reads_images(layer, given.example):
                raise InputError(
                    "mixing='cut' needs images (batch, channels, height, width) that a Conv2d reads",
                    got=f"inputs of shape {tuple(given.example.shape)} that a {type(layer).__name__} reads",
                    fix="Pass mixing='linear', or 'auto' to cut only where that can be",
                )
            return MultiInput(layer, kernels, layout=given.layout, scale=self.test_scale)

        return with_member_inputs_and_heads(self, model, given, multi_input)

    def _mixed(self, *, cut: bool) -> Mixed:
        return Mixed(
            batch_repetition=self.batch_repetition,
            input_repetition=self.input_repetition,
            alpha=self.alpha,
            cut_probability=self.cut_probability if cut else 0.0,
            weight_root=self.weight_root,
        )


def _reads_images(layer: nn.Module, example: Tensor, members: int = 1) -> bool:
    """Whether the layer reads the example's channels as they are: a model may take its axes elsewhere."""
    return isinstance(layer, nn.Conv2d) and example.ndim == 4 and layer.in_channels == members * example.shape[1]
