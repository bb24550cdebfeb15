"""MixtureEnsembles: Leveraging parameter sharing for efficient ensembles (Teterwak et al., ICLR 2022 submission)."""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import torch
from torch import nn

from motet._internal.copying import copy_of
from motet._internal.field_types import check_field_types
from motet._internal.renamed_settings import with_old_settings
from motet.errors import InputError
from motet.layers import Bank, Filling, ParameterBlob, SeparateNetworks, TemplateBank, TemplateLayer, TemplateMembers
from motet.method import ConversionContext, Method, Model, check_members, instance_of
from motet.methods._template_init import draw_coefficients, draw_entries, initialise_near
from motet.methods._template_plan import Group, Sharing, count, plan_templates
from motet.surgery import Init, permuted_init_like, probe, replace_module
from motet.surgery.convertible_layers import split_attention

# If less of a trained model is kept, it has to be trained again.
_MOST = 0.9


@final
@with_old_settings
@dataclass(frozen=True, kw_only=True)
class MixtureEnsembles(Method):
    """M networks whose layers are mixtures of the same templates, within a budget of parameters (section 3).

    Paper: https://openreview.net/forum?id=u3IYqzOdQdl.

    Layers of one shape form a group that shares a bank of templates. The weight of layer j of member i is ``sum_l
    alpha_jli T_l`` (equation 2); the coefficients alpha belong to the member. The number of templates follows from the
    budget, for any architecture. With one member this is soft parameter sharing between layers (Savarese and Maire
    2019, https://arxiv.org/abs/1902.09701). Inference costs as much as M networks. Any member can be left out
    (`motet.surgery.member_network`), and `Ensemble.fold` gives M ordinary networks.

    **Shared by the members** are the banks, and as whole layers: layers that are the only one of their shape (unless
    `bank_single_layers`), frozen layers, layers that share their weight, and layers that cannot be mixtures
    (recurrent, embedding and bilinear layers, attention with the batch on axis 1, subclasses with their own forward).
    The paper does the same "to conserve the parameter budget".

    **Separate for each member** are coefficients, norms with their statistics, bare parameters (class tokens), buffers,
    and the biases of mixtures. A bias must fit the features of its layer's weight, which belong to the member; it costs
    as few parameters as a norm.

    **The budget** `params` is the number of parameters that the members share, exactly. What each member owns is added
    to it, as in the paper (105 coefficients and 17,952 norm parameters for WRN-28-10). ``print(ensemble.summary())``
    shows both numbers. ``summary().shared`` equals `params` for two members or more.

    **The loss** is the sum over members. A step of the templates moves a member's weight by ``sum_l alpha^2``
    (initially 1) times its own gradient, so that each member learns as fast as if it were trained separately. The other
    members' gradients enter with products of different members' coefficients, which have random signs. The mean over
    members would divide all this by M. Layers that are shared whole get the sum of all members' gradients, however;
    ``Independent(reduction="mean")`` keeps the single network's scale for them and makes the members slower.

    **A trained model** (``init="keep"``) is the mean of the members' initial weights. This is exact with as many
    templates as layers and ``assignment="same"``. With fewer templates it is the best approximation, and a warning says
    how much of the weights is kept.

    **Differences from the reference:** no public code was found. Biases and norms are separate for each member
    because the paper does not say otherwise, and coefficients may have their own learning rate, because one step of a
    coefficient changes a whole template.

    Attributes:
        members: M; 4, the best of the paper's values (section 5.2).
        params: the budget; as many parameters as the single network has in the same layers if None.
        templates_per_layer: the number of templates that a layer mixes, or all templates if there are fewer. 5 gives
            the paper's 105 coefficients for the 21 layers of WRN-28-10. It is raised if some templates would be unused
            otherwise.
        sharing: ``"groups"``: a bank for each shape. ``"blob"``: one bank for layers of all shapes, for very small
            budgets (section 5.1) and for models whose layers all have different shapes. ``"auto"``: groups if they hold
            at least half of the layers' weights and the budget has a whole template for each of them, and the blob
            otherwise.
        assignment: ``"same"``: corresponding layers of all members read the same templates, as on CIFAR;
            ``"disjoint"``: different templates as long as there are enough, as on ImageNet (section 4.2).
        bank_single_layers: whether layers that are the only one of their shape have a bank too, as in the thin networks
            of appendix A.1, instead of being shared whole.
        filling: how a blob that is smaller than a layer fills it, see `motet.layers.ParameterBlob`. Permuted
            repetitions are the default because they keep the distribution of the entries, use every entry, and have
            no equal rows. The reference code repeats the entries in the same order (``"tile"``), with which budgets
            that share a factor with the length of a row give equal rows of the weight.
        coefficient_lr_scale: the coefficients' learning rate as a multiple of the optimiser's; 1 in the paper. A step
            of a coefficient changes a whole template. In a network without norms, which would compensate for the length
            of a weight, the optimiser's own rate can be too large.

    >>> net = torch.nn.Sequential(*(torch.nn.Linear(8, 8) for _ in range(4)), torch.nn.Linear(8, 3))
    >>> ensemble = MixtureEnsembles(members=4, params=200).wrap(net, example=torch.zeros(1, 8))
    >>> ensemble.summary().shared, ensemble.network.banks[0]
    (200, TemplateBank(3 templates of 8x8 (2.703 whole) for 4 layers, 3 each))
    >>> ensemble(torch.zeros(5, 8)).shape
    torch.Size([5, 4, 3])
    """

    name: ClassVar[str] = "mixture-ensembles"
    label: ClassVar[str] = "MixtureEnsembles"
    summary: ClassVar[str] = "M networks whose layers are mixtures of shared templates, within a budget of parameters"

    members: int = 4
    params: int | None = None
    templates_per_layer: int = 5
    sharing: Sharing = "auto"
    assignment: Literal["same", "disjoint"] = "same"
    bank_single_layers: bool = False
    filling: Filling = "permute"
    coefficient_lr_scale: float = 1.0

    def __post_init__(self) -> None:
        check_field_types(self, convert=False)
        check_members(self.members)
        for setting, smallest in (("params", 1), ("templates_per_layer", 1)):
            value = getattr(self, setting)
            if value is not None and value < smallest:
                raise InputError(f"{setting} must be at least {smallest}", got=f"{value}", fix="Pass a larger number")
        if not 0 < self.coefficient_lr_scale < math.inf:
            raise InputError(
                "coefficient_lr_scale must be a positive number",
                got=f"coefficient_lr_scale={self.coefficient_lr_scale}",
                fix="Pass 1.0 for the optimiser's own learning rate",
            )
        for setting, known in (
            ("sharing", ("auto", "groups", "blob")),
            ("assignment", ("same", "disjoint")),
            ("filling", ("permute", "tile", "interpolate")),
        ):
            if (value := getattr(self, setting)) not in known:
                raise InputError(
                    f"{setting} must be {' or '.join(map(repr, known))}",
                    got=f"{setting}={value!r}",
                    fix=f"Pass {setting}={known[0]!r}",
                )

    @property
    def exempt_from(self) -> Mapping[str, str]:
        """A folded ensemble holds M networks, and one member is not the single network."""
        return {
            "a_fold_is_no_larger": "members whose weights are mixed from shared templates are M full networks when "
            "folded",
            "one_member_is_the_single_network": "one member shares templates between its layers",
        }

    def convert(self, model: Model, context: ConversionContext) -> nn.Module:
        """Return M copies of the model that share the banks and the layers that the class names.

        Raises:
            InputError: if no layer can be a mixture, if the budget is too small (with the smallest possible one), if
                the model modifies its input in place, and if a part that a member owns cannot be copied.
        """
        network = split_attention(instance_of(model))
        probed = probe(network, context.example)
        if probed.changes_input and self.members > 1:
            raise InputError(
                "members that share an input must not change it in place",
                got="a model that changes its input in place",
                fix="Use an operation that is not in place: x - mean instead of x.sub_(mean)",
            )
        plan = plan_templates(
            network,
            probed,
            params=self.params,
            sharing=self.sharing,
            bank_single_layers=self.bank_single_layers,
        )
        mixtures = sum(len(group.layers) for group in plan.groups)
        banks: list[Bank] = []
        kept: list[float] = []
        for group in plan.groups:
            bank = self._bank(group, is_blob=plan.is_blob)
            if context.init == "keep":
                kept.append(initialise_near(bank, [layer.weight.detach() for layer in group.layers], layers=mixtures))
            for index, layer in enumerate(group.layers):
                network = replace_module(network, layer, TemplateLayer(layer, bank, layer_index=index))
            banks.append(bank)
        if min(kept, default=1.0) < _MOST:
            warnings.warn(
                f"the budget keeps {min(kept):.0%} of a trained model's weights: there are too few templates, "
                "or members have to read different ones. Pass a larger params, assignment='same', or "
                "init='fresh' to train from scratch",
                stacklevel=3,
            )
        shared = [*banks, *plan.shared]
        networks = [network, *(_member(network, index, shared, context.init) for index in range(1, self.members))]
        own = count([network]) - count(plan.shared) + sum(bank.coefficients_MR.shape[1] for bank in banks)
        note = f"{plan.params:,} parameters in the budget, and {own:,} more for each member"
        return TemplateMembers(banks, SeparateNetworks(networks, layout=context.layout), note=note)

    def _bank(self, group: Group, *, is_blob: bool) -> Bank:
        weights = [layer.weight.detach() for layer in group.layers]
        readers = self.members if self.assignment == "disjoint" else 1
        kind: type[TemplateBank | ParameterBlob] = ParameterBlob if is_blob else TemplateBank
        special: dict[str, Any] = {"filling": self.filling} if is_blob else {}
        counts = kind.choose_counts(
            group.entries, group.shapes, wanted=self.templates_per_layer, readers=readers, **special
        )
        return kind(
            draw_entries(weights, group.entries),
            draw_coefficients(weights, counts, self.members),
            shapes=group.shapes,
            counts=counts,
            disjoint=readers > 1,
            coefficient_lr_scale=self.coefficient_lr_scale,
            **special,
        )


def _member(network: nn.Module, index: int, shared: list[nn.Module], init: Init) -> nn.Module:
    """Return a copy of the first member that shares the modules in `shared`; with ``init="fresh"`` the rest is drawn
    again.
    """
    common = {id(value) for module in shared for value in module.parameters()}
    # `deepcopy` does not copy objects that it finds in its memo.
    memo: dict[int, Any] = {}
    for module in shared:
        for each in (module, *module.parameters()):
            memo[id(each)] = each
    try:
        twin = copy_of(network, memo)
    except RuntimeError as error:
        raise InputError(
            "the model must work with copy.deepcopy",
            got=f"{type(error).__name__}: {error}",
            fix="Use torch.nn.utils.parametrizations, and store no computed tensors in modules",
        ) from error
    for module in twin.modules():
        if isinstance(module, TemplateLayer):
            module.member_index = index
    if init == "fresh":
        with torch.no_grad():
            for parameter in twin.parameters():
                if parameter.requires_grad and id(parameter) not in common:
                    parameter.copy_(permuted_init_like(parameter))
    return twin
