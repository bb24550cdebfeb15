"""MixtureEnsembles: Leveraging parameter sharing for efficient ensembles (ICLR 2022 submission)."""

import copy
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import torch
from torch import nn

from motet.errors import InputError
from motet.layers import Bank, Filling, ParameterBlob, SeparateNetworks, TemplateBank, TemplateLayer, TemplateMembers
from motet.method import Given, Method, Model, check_members, instance_of
from motet.methods._template_init import draw_coefficients, draw_entries, start_near
from motet.methods._template_plan import Group, Sharing, count, plan_templates
from motet.surgery import Init, fresh_like, probe, replace_module

# A model of which less is kept has to be trained again.
_MOST = 0.9


@final
@dataclass(frozen=True, kw_only=True)
class MixtureEnsembles(Method):
    """M networks whose layers are mixtures of the same templates, within a budget of parameters (section 3).

    Layers of one shape are a group with a bank of templates; the weight of layer j of member i is
    ``sum_l alpha_jli T_l`` (equation 2) with coefficients of each member's own. The number of templates is what the
    budget allows, whatever the architecture. With one member it is soft parameter sharing between layers (Savarese
    and Maire 2019). Inference costs what M networks cost, and any of the members may be left out
    (`motet.surgery.member_network`); `Ensemble.fold` gives M ordinary networks.

    **What the members share** is the banks, and whole: layers that are alone in their group (unless
    `bank_single_layers`), frozen layers, layers that share their weight, and layers that cannot be mixtures (attention
    of torch's own, recurrent and embedding layers, subclasses with a forward of their own). As in the paper that is
    "to conserve the parameter budget".

    **What each member owns**: coefficients, norms with their statistics, bare parameters (class tokens), buffers, and
    the biases of its mixtures. A bias fits the features that its layer's weight makes, which are the member's own;
    it costs as little as a norm, and gives models without norms what norms give those with them.

    **The budget** `params` is the number of parameters that the members share: exactly that many there are, never
    more. What each member owns comes on top, as in the paper (105 coefficients and 17,952 of norms for WRN-28-10);
    ``print(ensemble.summary())`` gives both numbers. ``summary().shared`` equals `params` for two members or more.

    **The loss** is the sum over members. The templates' gradient moves a member's own weight by ``sum_l alpha^2``, 1 at
    first, times what its own loss asks for, so that each member learns as fast as it would alone; what the others ask
    for comes with products of different members' coefficients, of random sign. The mean would make that 1/M. Layers
    shared whole get the sum of all members' gradients, though: ``Independent(reduction="mean")`` keeps theirs, and
    makes the members slower.

    **A trained model** (``init="keep"``) starts as the mean of the members' weights, exactly with as many templates as
    layers and ``assignment="same"``; with less it is the nearest there is, and a warning says how near.

    Attributes:
        members: M; 4, the best of those tried (section 5.2).
        params: the budget; as many as the single network has in the same layers if None.
        templates_per_layer: how many templates a layer mixes, or all there are if that is fewer. 5 gives the paper's
            105 coefficients for the 21 layers of WRN-28-10. More where templates would be left over otherwise.
        sharing: ``"groups"`` by shape; one ``"blob"`` for layers of all shapes, for very small budgets (section 5.1)
            and models whose layers all differ; ``"auto"``: groups if they hold half of the layers' weights or more
            and the budget has a whole template for each of them, and the blob otherwise.
        assignment: ``"same"``: corresponding layers of all members read the same templates, as on CIFAR;
            ``"disjoint"``: different ones until there are no others, as on ImageNet (section 4.2).
        bank_single_layers: whether layers that are alone in their group have banks too, as for the thin networks of
            appendix A.1, rather than being shared whole.
        filling: how a blob smaller than a layer fills it; see `motet.layers.ParameterBlob`. Tiling is the default, as
            it keeps the entries' distribution, whatever it is, and uses every entry.
        coefficient_lr: the coefficients' learning rate as a multiple of the optimiser's; 1 in the paper. A step of a
            coefficient moves a whole template: in a network without norms, which forgive a weight its length, the
            optimiser's own rate can be too much.

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
    filling: Filling = "tile"
    coefficient_lr: float = 1.0

    def __post_init__(self) -> None:
        check_members(self.members)
        for setting, smallest in (("params", 1), ("templates_per_layer", 1)):
            value = getattr(self, setting)
            if value is not None and value < smallest:
                raise InputError(f"{setting} must be at least {smallest}", got=f"{value}", fix="Pass a larger number")
        if not 0 < self.coefficient_lr < math.inf:
            raise InputError(
                "coefficient_lr must be a positive number",
                got=f"coefficient_lr={self.coefficient_lr}",
                fix="Pass 1.0 for the optimiser's own learning rate",
            )
        for setting, known in (
            ("sharing", ("auto", "groups", "blob")),
            ("assignment", ("same", "disjoint")),
            ("filling", ("tile", "interpolate")),
        ):
            if (value := getattr(self, setting)) not in known:
                raise InputError(
                    f"{setting} must be {' or '.join(map(repr, known))}",
                    got=f"{setting}={value!r}",
                    fix=f"Pass {setting}={known[0]!r}",
                )

    @property
    def size(self) -> int:
        """M."""
        return self.members

    @property
    def exempt_from(self) -> Mapping[str, str]:
        """A fold holds M networks, and one member is not the single network."""
        return {
            "a_fold_is_no_larger": "members whose weights are mixed from shared templates hold them all when folded",
            "one_member_is_the_single_network": "one member shares templates between its layers",
        }

    def convert(self, model: Model, given: Given) -> nn.Module:
        """M copies of the model that share what the class says, with the banks behind them.

        Raises:
            InputError: if no layer can be a mixture, if the budget is too small (with the smallest possible one), if
                the model writes on its input, and if what a member owns cannot be copied.
        """
        network = instance_of(model)
        probed = probe(network, given.example)
        if probed.changes_input and self.members > 1:
            raise InputError(
                "members that share an input must not write on it",
                got="a model that changes its input in place",
                fix="Use the operation that is not in place there: x - mean for x.sub_(mean)",
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
            if given.init == "keep":
                kept.append(start_near(bank, [layer.weight.detach() for layer in group.layers], layers=mixtures))
            for index, layer in enumerate(group.layers):
                network = replace_module(network, layer, TemplateLayer(layer, bank, layer_index=index))
            banks.append(bank)
        if min(kept, default=1.0) < _MOST:
            warnings.warn(
                f"the budget keeps {min(kept):.0%} of a trained model's weights: templates are too few, or members "
                "have to read different ones. Pass a larger params, assignment='same', or init='fresh' to train anew",
                stacklevel=3,
            )
        shared = [*banks, *plan.shared]
        networks = [network, *(_member(network, index, shared, given.init) for index in range(1, self.members))]
        own = count([network]) - count(plan.shared) + sum(bank.coefficients_MR.shape[1] for bank in banks)
        note = f"{plan.params:,} parameters in the budget, and {own:,} of each member's own beside it"
        return TemplateMembers(banks, SeparateNetworks(networks, layout=given.layout), note=note)

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
            coefficient_lr=self.coefficient_lr,
            **special,
        )


def _member(network: nn.Module, index: int, shared: list[nn.Module], init: Init) -> nn.Module:
    """A copy of the first member with what all members share left out; fresh, what it owns is drawn anew."""
    common = {id(value) for module in shared for value in module.parameters()}
    # What `deepcopy` finds in its memo it does not copy.
    memo: dict[int, Any] = {}
    for module in shared:
        for each in (module, *module.parameters()):
            memo[id(each)] = each
    try:
        twin = copy.deepcopy(network, memo)
    except RuntimeError as error:
        raise InputError(
            "a model must be one that copy.deepcopy can copy",
            got=f"{type(error).__name__}: {error}",
            fix="Use torch.nn.utils.parametrizations for computed weights",
        ) from error
    for module in twin.modules():
        if isinstance(module, TemplateLayer):
            module.member_index = index
    if init == "fresh":
        with torch.no_grad():
            for parameter in twin.parameters():
                if parameter.requires_grad and id(parameter) not in common:
                    parameter.copy_(fresh_like(parameter))
    return twin
