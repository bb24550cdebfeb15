"""MIMO: Training independent subnetworks for robust prediction (Havasi et al., ICLR 2021)."""

from dataclasses import dataclass
from typing import ClassVar, final

from torch import nn

from motet._internal.field_types import check_field_types
from motet.grouping import Grouping, Permuted
from motet.method import ConversionContext, Method, Model, check_members
from motet.methods.member_layers import multi_input, with_member_inputs_and_heads


@final
@dataclass(frozen=True, kw_only=True)
class MIMO(Method):
    """M inputs concatenated at the input layer, one shared body, M heads (section 2).

    Paper: https://arxiv.org/abs/2010.06610.

    In training each member sees its own permutation of the batch and predicts its own input. At test all members get
    the same input. The M input kernels can then be summed into one, so that inference costs as much as the single
    network (`Ensemble.fold`).

    **Differences from the reference** (uncertainty-baselines, mimo.py): none in the layers, the batches or the loss.
    `batch_repetition` does not divide the batch size: a step over u unique examples has ``u * batch_repetition`` rows,
    while the reference's batch size counts rows after repetition.

    Attributes:
        members: M; 3 for WRN-28-10 on CIFAR (section 4.1).
        batch_repetition: the number of times each step's examples are repeated, 4 on CIFAR (section 4.3, figure 6b).
        input_repetition: rho, the fraction of rows in which all members see the same input: 0 on CIFAR, 0.6 on ImageNet
            (section 4.2, figure 6a).

    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> ensemble = MIMO(members=2).wrap(net, example=torch.zeros(1, 4))
    >>> ensemble.network[0].layer
    Linear(in_features=8, out_features=8, bias=True)
    >>> ensemble.fold().network[0]
    Linear(in_features=4, out_features=8, bias=True)
    """

    name: ClassVar[str] = "mimo"
    label: ClassVar[str] = "MIMO"
    summary: ClassVar[str] = "M inputs into one body, M heads: independent subnetworks at the single network's cost"

    members: int = 3
    batch_repetition: int = 4
    input_repetition: float = 0.0

    def __post_init__(self) -> None:
        check_field_types(self, convert=False)
        check_members(self.members)
        _ = self.grouping  # checks the two repetitions

    @property
    def grouping(self) -> Grouping:
        """Each member sees its own permutation of the repeated batch."""
        return Permuted(batch_repetition=self.batch_repetition, input_repetition=self.input_repetition)

    def convert(self, model: Model, context: ConversionContext) -> nn.Module:
        """Return the model with a multi-input layer in place of its input layer and M heads in place of its output
        layer.

        Raises:
            InputError: if the input or output layers are ambiguous, the same, or cannot be replaced.
        """
        return with_member_inputs_and_heads(
            self, model, context, lambda layer, kernels: multi_input(layer, kernels, context.layout)
        )
