"""Deep ensembles: M whole networks (Lakshminarayanan et al. 2017), the upper baseline of the papers."""

import copy
from dataclasses import dataclass
from typing import ClassVar, Literal, final

from torch import Tensor, nn

from motet.errors import InputError
from motet.layers import Layout, Members
from motet.methods._method import Method, Model, check_members, instance_of
from motet.surgery import LayerNames, fresh_copy, probe


@final
@dataclass(frozen=True, kw_only=True)
class DeepEnsemble(Method):
    """M networks that share nothing but the order of the data; M times the parameters and the compute.

    Under the default objective (sum over members) each member gets exactly the gradient that it would get alone.
    Members trained in separate runs would also see the data in different orders; here they see the same batches.

    Attributes:
        members: M; the papers use 4.
        init: ``"fresh"``: members have initial weights of their own, from the function that makes the model or,
            for a module, as `motet.surgery.fresh_like` draws them (the first member keeps the module's own).
            ``"keep"``: every member starts from the module's weights, to fine-tune a pretrained model.

    >>> net = torch.nn.Linear(4, 3)
    >>> ensemble = DeepEnsemble(members=4).wrap(net, example=torch.zeros(1, 4))
    >>> ensemble(torch.zeros(5, 4)).shape
    torch.Size([5, 4, 3])
    """

    name: ClassVar[str] = "deep-ensemble"
    label: ClassVar[str] = "Deep ensemble"
    summary: ClassVar[str] = "M whole networks, nothing shared, M times the cost"

    members: int = 4
    init: Literal["fresh", "keep"] = "fresh"

    def __post_init__(self) -> None:
        check_members(self.members)
        if self.init not in ("fresh", "keep"):
            raise InputError(
                "init must be 'fresh' or 'keep'",
                got=repr(self.init),
                fix="Pass init='keep' to start every member from the model's weights",
            )

    @property
    def size(self) -> int:
        """M."""
        return self.members

    def convert(
        self, model: Model, *, example: Tensor, layout: Layout, first: LayerNames, last: LayerNames
    ) -> nn.Module:
        """M networks side by side."""
        network = instance_of(model)
        if probe(network, example).changes_input and self.members > 1:
            raise InputError(
                "members that share an input must not write on it",
                got="a model that changes its input in place",
                fix="Use the operation that is not in place there: x - mean for x.sub_(mean)",
            )
        if self.init == "keep":
            others = [copy.deepcopy(network) for _ in range(self.members - 1)]
        elif isinstance(model, nn.Module):
            others = [fresh_copy(network) for _ in range(self.members - 1)]
        else:
            others = [instance_of(model) for _ in range(self.members - 1)]
        networks = [network, *others]
        parameters = [parameter for member in networks for parameter in member.parameters()]
        if len({id(parameter) for parameter in parameters}) < len(parameters):
            raise InputError(
                "a function given as the model must make a new module each time",
                got="modules that share parameters",
                fix="Build the model inside the function, or give the model itself",
            )
        return Members(networks, layout=layout)
