"""The base class of every method, and the functions that a method outside motet needs.

Derive from `Method`. Its `convert` is passed a `ConversionContext`. `instance_of` makes a model that may be changed;
`motet.surgery` analyses it and replaces its layers, `motet.layers` has layers with a member axis, and
`motet.testing.check_method` checks the result. The guide is docs/adding-a-method.md.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, final

import torch
from torch import nn

from motet._internal.field_types import check_field_types
from motet._internal.nested import Inputs
from motet._internal.own_code import class_name
from motet._internal.renamed_settings import adopt_old_properties, renamed_property
from motet.distributed import Grid, MemberShard
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.grouping import Grouping, Shared
from motet.inference.input_form import InputForm, example_of
from motet.layers import Layout
from motet.likelihoods import Categorical, Combination, Likelihood
from motet.method.checks import check_members
from motet.method.model import Model, check_model
from motet.method.rehearsal import rehearse
from motet.objectives import ExitObjective, Independent, Objective
from motet.surgery import Init, LayerNames, looks_trained
from motet.surgery.adapted import Output, adapted


@final
@dataclass(frozen=True, kw_only=True)
class ConversionContext:
    """The arguments of `Method.convert` other than the model.

    Attributes:
        example: an input batch of one row or more: a tensor, or several (`motet.types.NestedInputs`).
        layout: the ensemble's layout; member layers hold it if they must know what their rows are.
        first, last: the names of the model's input and output layers, if the user gave them.
        init: whether members draw separate initial weights, or start from the model's.
        likelihood: the distribution whose natural parameters the outputs are.
        only: indices of the members to hold, in an ensemble over several processes; None for all.
    """

    example: Inputs
    layout: Layout
    first: LayerNames = None
    last: LayerNames = None
    init: Init = "fresh"
    likelihood: Likelihood = field(default_factory=Categorical)
    only: range | None = None


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """An efficient ensemble method: a frozen record of settings that can wrap a model.

    A method answers four questions: which examples each member sees in training (`grouping`), which weights belong to
    which member (`convert`), how members are coupled in the loss (`default_objective`), and how their predictions are
    combined (`combination`).
    """

    name: ClassVar[str]
    """The method's name on the command line and in run folders."""
    label: ClassVar[str]
    """The method's name in tables and figures."""
    summary: ClassVar[str]
    """One line: which weights are shared and which examples each member sees."""
    shares_nothing: ClassVar[bool] = False
    """Whether members are separate networks, so that each can be in its own process."""
    differ_by_weights: ClassVar[bool] = True
    """Whether members have weights of their own, so that equal members are an error; if not, random masks, for example,
    make them different.
    """

    @property
    def exempt_from(self) -> Mapping[str, str]:
        """Laws of `motet.testing.check_method` that do not apply to this method, with the reasons."""
        return {}

    @property
    def combination(self) -> Combination:
        """How predictions are combined; a mixture by default. A subclass may make it a setting."""
        return "mixture"

    @property
    def default_objective(self) -> Objective | ExitObjective:
        """The training loss if `wrap` is passed none; the sum of the members' own losses by default."""
        return Independent(reduction="sum")

    @property
    def default_likelihood(self) -> Likelihood:
        """The likelihood if `wrap` is passed none; `Categorical` by default."""
        return Categorical()

    size = renamed_property("size", "members")
    size_in_training = renamed_property("size_in_training", "members_in_training")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        adopt_old_properties(cls, Method, size="members", size_in_training="members_in_training")

    if TYPE_CHECKING:
        # Only for type checkers: a property here would become the default of a field called `members`.
        @property
        @abstractmethod
        def members(self) -> int:
            """The number of members M."""

    @property
    def members_in_training(self) -> int:
        """The number of members that a training step runs; all by default."""
        return self.members

    @property
    def grouping(self) -> Grouping:
        """Which examples of a training batch each member sees; by default all members see all examples."""
        return Shared()

    def grouping_for(self, network: nn.Module, example: Inputs) -> Grouping:
        """Return the grouping for an ensemble with this `network`: `grouping`, unless it depends on the model."""
        return self.grouping

    @abstractmethod
    def convert(self, model: Model, context: ConversionContext) -> nn.Module:
        """Make a network of M members. The model passed is not changed.

        Args:
            model: a module, or a function that makes a new one at each call; start from `instance_of`.
            context: the example, the layout, the layers that the user named, the initialisation, the likelihood.

        Returns:
            A module from rows to rows ``(M B, C)``, member-major: first all rows of member 0. An input that all members
            share is passed as ``B`` rows, separate inputs for the members as ``M B`` rows: `ConversionContext.layout`
            tells which.

        Raises:
            InputError: if the model does not fit, with what the method needs.
        """

    def wrap(
        self,
        model: Model,
        *,
        example: Any,
        output: Output = None,
        likelihood: Likelihood | None = None,
        objective: Objective | ExitObjective | None = None,
        first: LayerNames = None,
        last: LayerNames = None,
        init: Init | None = None,
        combination: Combination | None = None,
        grid: Grid | None = None,
    ) -> Ensemble:
        """Turn a model into an ensemble of this method.

        Model and example may be on the meta device; weights are loaded later, after ``ensemble.to_empty(device=...)``.

        Args:
            model: any module that maps its input to ``(B, C)``, or to outputs at positions, such as ``(B, C, H, W)`` or
                ``(B, T, C)``, with ``likelihood=Categorical(class_axis=...)``; it is copied and never changed. Or a
                function that makes a new module at each call, which is used without copying. Pass a function for
                methods whose members have separate networks: each network then gets the model's own initialisation.
            example: an input batch of one row or more, used to find out how the model works: ``x[:1]``. A tuple is
                passed as ``model(*example)``, a dictionary (such as a tokenizer returns) as ``model(**example)``. They
                may be nested; what is not a tensor in them is passed on unchanged. All tensors have the batch as first
                axis.
            output: which tensor of the model's output to use, if it returns several: a name, a position, or a function
                of what the model returns. If None, its ``logits``, or its only floating-point tensor.
            likelihood: the distribution whose natural parameters the outputs are; `default_likelihood` if None.
            objective: the training loss; the method's own if None.
            first: name or names of the layers that read the input, if they cannot be found.
            last: name or names of the layers that make the output, if they cannot be found.
            init: ``"fresh"``: members draw separate initial weights, from the function that makes the model or, for a
                module, from `motet.surgery.permuted_init_like`. ``"keep"``: members start from the model's weights plus
                small differences, to continue from a pretrained model. If None, a function gives fresh weights, and a
                module keeps its weights if its normalisation layers look trained, that is, if their running statistics
                or scales differ from the initial values.
            combination: how predictions are combined, ``"mixture"`` or ``"geometric"``; if None, the objective's
                choice, or the method's if the objective has none.
            grid: the processes that the members are distributed over, from `motet.distributed.start`. The ensemble then
                holds this process's members, and its loss is this process's part of the whole loss. With the same seed
                the members have the weights that they would have in one process.

        Raises:
            InputError: if the model or the example does not fit; with the candidates if layers are ambiguous.
        """
        example = example_of(example)
        check_model(model, example, init)
        # Also where gradients are switched off around this call: parameters made here must be trainable.
        with torch.inference_mode(False), torch.enable_grad():
            example = example.clone() if example.is_inference() else example
            return self._wrap(
                adapted(model, example, output),
                example=example,
                likelihood=likelihood or self.default_likelihood,
                objective=objective or self.default_objective,
                first=first,
                last=last,
                init=init,
                combination=combination,
                grid=grid,
            )

    def _wrap(
        self,
        model: Model,
        *,
        example: Inputs,
        likelihood: Likelihood,
        objective: Objective | ExitObjective,
        first: LayerNames,
        last: LayerNames,
        init: Init | None,
        combination: Combination | None,
        grid: Grid | None,
    ) -> Ensemble:
        """Return the ensemble. Arguments: see `wrap`."""
        self._check_members()
        check_field_types(self, convert=False)
        if grid is not None and grid.size > 1 and likelihood.output_axis is not None:
            raise InputError(
                "members can be distributed over several processes only if the model has one row of outputs per "
                "example",
                got=f"the likelihood {likelihood} on {grid.size} processes",
                fix="Run the ensemble in one process",
            )
        if init is None:
            init = "keep" if isinstance(model, nn.Module) and looks_trained(model) else "fresh"
        shard = None if grid is None or grid.size == 1 else self._shard(grid, objective)
        layout, only = Layout(), None if shard is None else shard.only
        context = ConversionContext(
            example=example, layout=layout, first=first, last=last, init=init, likelihood=likelihood, only=only
        )
        network = self.convert(model, context)
        ensemble = Ensemble(
            network,
            members=self.members if shard is None else shard.held,
            description=str(self),
            likelihood=likelihood,
            objective=objective,
            grouping=self.grouping_for(network, example),
            layout=layout,
            combination=combination or objective.combination or self.combination,
            members_in_training=self.members_in_training if shard is None else shard.held,
            input_form=InputForm.of(example),
            shard=shard,
        )
        rehearse(ensemble, example, members_differ=self.differ_by_weights)
        return ensemble

    def _check_members(self) -> None:
        if not hasattr(self, "members"):
            raise InputError(
                "a method must have an attribute members, the number of its members",
                got=f"{class_name(type(self))} without it",
                fix="Add a field to the class, members: int = 3, or a property",
            )
        check_members(self.members)
        if type(self).size is not Method.size and self.size != self.members:  # an override by the earlier name
            raise InputError(
                "a method's attribute 'members' must be its number of members",
                got=f"members={self.members} and size={self.size} (the earlier name) in {class_name(type(self))}",
                fix="Give the field called members another name, and rename size to members",
            )

    def _shard(self, grid: Grid, objective: Objective | ExitObjective) -> MemberShard:
        if not self.shares_nothing:
            raise InputError(
                "members can be distributed over several processes only if they share no parameters",
                got=f"{self} on {grid.size} processes",
                fix="Use a method whose members are separate networks, such as DeepEnsemble, or run it in one process",
            )
        shard = MemberShard(grid, self.members)
        shard.check(objective)
        return shard
