"""From an experiment and its data to an ensemble with initial weights."""

import torch
from torch import nn

from motet.data import Dataset
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.experiments.experiment import Experiment
from motet.experiments.likelihood import likelihood_for, outputs_for
from motet.loading import describe_error
from motet.models import CustomModel, ModelSettings


def build(experiment: Experiment, dataset: Dataset) -> Ensemble:
    """The experiment's ensemble with its initial weights; sets torch's seed."""
    spec = dataset.spec
    likelihood = likelihood_for(experiment.likelihood, spec)
    needed = outputs_for(likelihood, spec)
    torch.manual_seed(experiment.seed)
    ensemble = experiment.method.wrap(
        lambda: _build_model(experiment.model, dataset, needed),
        example=dataset.prepare(dataset.train.inputs[:2]),
        likelihood=likelihood,
        objective=experiment.objective,
        first=experiment.first,
        last=experiment.last,
    )
    with torch.no_grad():
        outputs = ensemble.predict(dataset.prepare(dataset.train.inputs[:1])).outputs_BMC.shape[-1]
    if outputs != needed:
        raise InputError(
            f"the model must have {needed} outputs for {spec.name}",
            got=f"a model with {outputs}",
            fix="Give its last layer one output per class or target"
            if needed == spec.outputs
            else f"Give its last layer {needed}, as {likelihood} needs them",
        )
    return ensemble


def _build_model(model: ModelSettings, dataset: Dataset, outputs: int) -> nn.Module:
    try:
        return model.build(input_shape=dataset.spec.input_shape, outputs=outputs)
    except Exception as error:
        if isinstance(error, InputError) or not isinstance(model, CustomModel):
            raise
        raise InputError(
            f"{model.function} must build a model", got=describe_error(error), fix="Mend the function"
        ) from error
