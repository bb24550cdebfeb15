"""From an experiment and its data to an ensemble with initial weights."""

import torch
from torch import nn

from motet.data import Dataset
from motet.distributed import Grid
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.experiments.experiment import Experiment
from motet.loading import describe_error
from motet.models import CustomModel, ModelSettings


def build(experiment: Experiment, dataset: Dataset, *, grid: Grid | None = None) -> Ensemble:
    """The experiment's ensemble with its initial weights, or this process's members of it; sets torch's seed."""
    spec = dataset.spec
    torch.manual_seed(experiment.seed)
    ensemble = experiment.method.wrap(
        lambda: _build_model(experiment.model, dataset),
        example=dataset.prepare(dataset.train.inputs[:2]),
        likelihood=spec.likelihood,
        objective=experiment.objective,
        first=experiment.first,
        last=experiment.last,
        grid=grid,
    )
    with torch.no_grad():
        outputs = ensemble.predict(dataset.prepare(dataset.train.inputs[:1])).outputs_BMC.shape[-1]
    if outputs != spec.outputs:
        raise InputError(
            f"the model must have {spec.outputs} outputs for {spec.name}",
            got=f"a model with {outputs}",
            fix="Give its last layer one output per class or target",
        )
    return ensemble


def _build_model(model: ModelSettings, dataset: Dataset) -> nn.Module:
    try:
        return model.build(input_shape=dataset.spec.input_shape, outputs=dataset.spec.outputs)
    except Exception as error:
        if isinstance(error, InputError) or not isinstance(model, CustomModel):
            raise
        raise InputError(
            f"{model.function} must build a model", got=describe_error(error), fix="Mend the function"
        ) from error
