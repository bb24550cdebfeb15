"""The scores of the validation split."""

from motet.data import Dataset
from motet.ensemble import Ensemble
from motet.evaluation.predict import predict_split
from motet.metrics import accuracy, rmse
from motet.metrics.scores import as_classes
from motet.training.divergence import Divergence


def validate(ensemble: Ensemble, dataset: Dataset, divergence: Divergence) -> dict[str, float]:
    """Score the ensemble on the validation split.

    Returns:
        validation_nll, and validation_accuracy for a classification or validation_rmse for any other task. Both are in
        the units of the data before targets were standardised.

    Raises:
        TrainingDivergedError: if the negative log-likelihood is not finite.
    """
    prediction = predict_split(ensemble, dataset, dataset.validation, combined=True)
    assert prediction.targets is not None
    spec = dataset.spec
    nll = spec.in_own_units({"nll": float(prediction.nll().mean())})["nll"]
    divergence.check("validation loss", nll)
    if spec.task == "classification":
        classes, labels = as_classes(prediction, prediction.targets)
        return {"validation_nll": nll, "validation_accuracy": float(accuracy(classes.probs, labels))}
    error = spec.target_std * float(rmse(prediction.mean, prediction.targets))
    return {"validation_nll": nll, "validation_rmse": error}
