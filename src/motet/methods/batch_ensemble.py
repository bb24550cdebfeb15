"""BatchEnsemble: an alternative approach to efficient ensemble and lifelong learning (Wen et al., ICLR 2020)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn

from motet._internal.field_types import check_field_types
from motet._internal.nested import Inputs, joined
from motet._internal.renamed_settings import with_old_settings
from motet.errors import InputError
from motet.grouping import Grouping, Shared, Split
from motet.layers import ActiveMember, MemberBatchNorm
from motet.method import ConversionContext, Method, Model, check_members, instance_of
from motet.method.rehearsal import another_row
from motet.methods._fast_layers import FAST_KINDS, fast_layer
from motet.objectives import Independent, Objective
from motet.surgery import Init, SharedNetwork, Tiling, after_point, find_tiling, mixing_calls, probe, replace_module
from motet.surgery.convertible_layers import convertible_layers, split_attention
from motet.surgery.recurrent_inputs import batch_axes, without_packed

# How far members start from a trained model's weights, as a fraction of their usual distance.
_NUDGE = 0.1


@final
@with_old_settings
@dataclass(frozen=True, kw_only=True)
class BatchEnsemble(Method):
    """One shared weight per layer; each member scales its inputs and outputs with its own fast weights (section 3).

    Paper: https://arxiv.org/abs/2002.06715.

    Every ordinary Linear layer and convolution becomes a `motet.layers.FastWeights`, with a bias for each member, and
    so do attention's projections; transposed convolutions and recurrent layers get the same weights in layers of their
    own. Other layers (embeddings, bilinear layers) stay shared. Fast weights add very few parameters. Training and
    inference cost M passes of the single network; `Ensemble.fold` removes the cost of the fast weights.

    The shared (slow) weights are the model's, trained or not. Members differ in their fast weights, and in biases that
    are drawn from the distribution of the model's biases. With a trained model (``init="keep"``) the biases are the
    model's, and the fast weights keep a tenth of their deviations from 1, with mean 0 over the members.

    **Differences from the reference:** the paper and its code [uncertainty-baselines, batchensemble.py] differ in two
    places; the code is the default, and settings choose the paper's variant (`fast_init`, `training_batches`). The loss
    is the *mean* over members and rows, as in the code: slow weights then get gradients of the single network's size at
    the single network's learning rate.

    Attributes:
        members: M; 4 in the paper.
        rank: r, the number of pairs of fast weights whose products are added to give a member's scales. Initial fast
            weights shrink as r grows, so that the mean square of these scales does not change.
        fast_init: the distribution of initial fast weights: ``"normal"``, N(1, fast_std^2), the code's default; or
            ``"signs"``, +1 or -1, as in the paper.
        fast_std: the standard deviation of ``"normal"``. At 0 members differ only in their biases.
        fast_positive: the probability of +1 of ``"signs"``.
        fast_weight_lr_scale: the learning rate of fast weights and of the members' biases as a multiple of the
            optimiser's: 0.5 on CIFAR, 0.25 on ImageNet in the code. (The code scales gradients instead, which is the
            same for SGD but has no effect with an optimiser like Adam.) Fast weights are never decayed.
        norm: ``"shared"``: batch norms compute their statistics over all members' rows, as by default in the code.
            ``"per-member"``: each member has its own statistics, scales and shifts (the code's "ensemble batch norm").
            Norms that look at each row separately, such as LayerNorm, are shared in either case.
        training_batches: ``"tiled"``: every member sees every example, as in the code. ``"split"``: each member sees
            1/M of the batch, as in the paper's text: M times cheaper, with M times fewer examples for each member. See
            `motet.grouping.Split`.

    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> ensemble = BatchEnsemble(members=4).wrap(net, example=torch.zeros(1, 4))
    >>> ensemble(torch.zeros(5, 4)).shape
    torch.Size([5, 4, 3])
    >>> ensemble.fold().network.networks[3][0]
    Linear(in_features=4, out_features=8, bias=True)
    """

    name: ClassVar[str] = "batch-ensemble"
    label: ClassVar[str] = "BatchEnsemble"
    summary: ClassVar[str] = "shared weights, scaled for each member by rank-one fast weights; M times the compute"

    members: int = 4
    rank: int = 1
    fast_init: Literal["normal", "signs"] = "normal"
    fast_std: float = 0.5
    fast_positive: float = 0.5
    fast_weight_lr_scale: float = 0.5
    norm: Literal["shared", "per-member"] = "shared"
    training_batches: Literal["tiled", "split"] = "tiled"

    def __post_init__(self) -> None:
        check_field_types(self, convert=False)
        check_members(self.members)
        if self.rank < 1:
            raise InputError("rank must be at least 1", got=f"rank={self.rank}", fix="Pass rank=1, as in the paper")
        _check_choice("fast_init", self.fast_init, ("normal", "signs"))
        _check_choice("norm", self.norm, ("shared", "per-member"))
        _check_choice("training_batches", self.training_batches, ("tiled", "split"))
        if not 0 <= self.fast_std < math.inf:
            raise InputError(
                "fast_std must be a number of at least 0",
                got=f"fast_std={self.fast_std}",
                fix="Pass fast_std=0.5, as in the reference implementation",
            )
        if not 0 <= self.fast_positive <= 1:
            raise InputError(
                "fast_positive must be a probability",
                got=f"fast_positive={self.fast_positive}",
                fix="Pass 0.5 for equally many -1 and +1",
            )
        if not 0 < self.fast_weight_lr_scale < math.inf:
            raise InputError(
                "fast_weight_lr_scale must be a positive number",
                got=f"fast_weight_lr_scale={self.fast_weight_lr_scale}",
                fix="Pass 1.0 for the optimiser's own learning rate",
            )

    @property
    def exempt_from(self) -> Mapping[str, str]:
        """A folded ensemble holds M networks."""
        return {
            "a_fold_is_no_larger": "members whose weights are scaled copies of shared weights are M full "
            "networks when folded"
        }

    @property
    def grouping(self) -> Grouping:
        """Every member sees every example, or each member sees its part of the batch."""
        return Split() if self.training_batches == "split" else Shared()

    @property
    def default_objective(self) -> Objective:
        """The mean over all members' rows."""
        return Independent(reduction="mean")

    def convert(self, model: Model, context: ConversionContext) -> nn.Module:
        """Return the model with fast weights in its layers.

        Raises:
            InputError: if the model modifies its input in place, has no layer that can be converted, or, for
                ``norm="per-member"``, has no batch norm.
        """
        network = instance_of(model)
        probed = probe(network, context.example)
        if probed.changes_input and self.members > 1:
            raise InputError(
                "members that share an input must not change it in place",
                got="a model that changes its input in place",
                fix="Use an operation that is not in place: x - mean instead of x.sub_(mean)",
            )
        network = split_attention(network)
        layers, others = convertible_layers(network, FAST_KINDS)
        layers, packed = without_packed(network, context.example, layers)
        norms = _batch_norms(network) if self.norm == "per-member" else {}
        example = joined([context.example, another_row(context.example)])
        if not layers:
            raise InputError(
                "BatchEnsemble needs a Linear layer, a convolution or a recurrent layer that it can convert",
                got=", ".join(f"{name!r} ({reason})" for name, reason in (others | packed).items())
                or "a model without such layers",
                fix="Use ordinary layers, or another method",
            )
        tiling, active = _tiling(network, example, [*layers, *norms], batch_axes(layers))
        # All layers, also those that did not run: which parameters there are must not depend on the example. A layer
        # whose weight the model's code reads without calling it stays shared, because what replaces it would not run.
        idle = [name for name in layers if name not in tiling.ran]
        read = after_point(network, example, None) if idle else set()
        layers = {name: layer for name, layer in layers.items() if name not in idle or f"{name}.weight" not in read}
        for name, layer in layers.items():
            fast = fast_layer(
                layer,
                self.initial,
                members=self.members,
                init=context.init,
                layout=context.layout if name in tiling.layers else None,
                active=active,
                lr_scale=self.fast_weight_lr_scale,
            )
            network = replace_module(network, layer, fast)
        for name, norm in norms.items():
            layout = context.layout if name in tiling.layers else None
            own = MemberBatchNorm(norm, self.members, layout=layout, active=active)
            network = replace_module(network, norm, own)
        return SharedNetwork(network, self.members, layout=context.layout, tiles=tiling.at_entrance, active=active)

    def initial(self, features: int, init: Init) -> Tensor:
        """Return initial fast weights for this many features, ``(M, r, features)``."""
        shape = (self.members, self.rank, features)
        if self.fast_init == "signs":
            draws = 2.0 * (torch.rand(shape, dtype=torch.float64) < self.fast_positive).double() - 1.0
            mean, square = 2 * self.fast_positive - 1, 1.0
        else:
            draws = 1.0 + self.fast_std * torch.randn(shape, dtype=torch.float64)
            mean, square = 1.0, 1 + self.fast_std**2
        if init == "keep":
            return (1.0 + _NUDGE * (draws - draws.mean(dim=0))) / math.sqrt(self.rank)
        # If draws have mean square q, the mean square of sum_r gamma_r alpha_r is r q^2 + r (r - 1) mean^4.
        of_sum = self.rank * square**2 + self.rank * (self.rank - 1) * mean**4
        shrink: float = (square**2 / of_sum) ** 0.25
        return draws * shrink


def _tiling(
    network: nn.Module, example: Inputs, names: list[str], axes: dict[str, int]
) -> tuple[Tiling, ActiveMember | None]:
    """Return where rows become members' rows; or, if they cannot, what tells the layers which member runs."""
    try:
        return find_tiling(network, example, names, axes=axes), None
    except InputError:
        ran = frozenset(call.name for call in mixing_calls(network, example))
        return Tiling(frozenset(), at_entrance=False, ran=ran), ActiveMember()


def _batch_norms(network: nn.Module) -> dict[str, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d]:
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    # Subclasses are left out, because they may do more than normalise.
    norms = {name: module for name, module in network.named_modules() if type(module) in kinds}
    if not norms:
        raise InputError(
            "norm='per-member' needs torch's own batch norms",
            got="a model without nn.BatchNorm1d, 2d or 3d (subclasses do not count)",
            fix="Use norm='shared': LayerNorm and GroupNorm work on each row separately, so members may share them",
        )
    return norms


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(
            f"{name} must be one of {', '.join(map(repr, choices))}",
            got=f"{name}={value!r}",
            fix=f"Pass {name}={choices[0]!r}, the default",
        )
