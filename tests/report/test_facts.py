"""How a comparison was run, as the report page says it."""

from typing import Any

from motet._internal.plain_records import to_record
from motet.data import Augmentation
from motet.report.facts import facts, training_facts
from motet.report.record import read_comparison
from motet.training import Training


def test_data_are_told_with_their_split_and_what_was_left_out(record: dict[str, Any]) -> None:
    said = dict(facts(read_comparison(record)))
    assert said["Data"] == "digits, classification, 10 classes"
    assert not said.keys() & {"Split", "Note"}
    record["data"] |= {"split": "the folders' own splits", "notes": ["1 of 20 images left out", "left out: spare"]}
    said = dict(facts(read_comparison(record)))
    assert said["Split"] == "the folders' own splits"
    assert said["Note"] == "1 of 20 images left out; left out: spare"


def test_a_regression_has_no_classes(regression: dict[str, Any]) -> None:
    regression["data"]["classes"] = 1  # what records hold there is the number of outputs
    assert dict(facts(read_comparison(regression)))["Data"] == "toy, regression"


def test_training_settings_are_words(record: dict[str, Any]) -> None:
    said = dict(training_facts(read_comparison(record | {"training": to_record(Training(epochs=3))})))
    assert "type" not in said
    assert (said["epochs"], said["nesterov"], said["milestones"]) == ("3", "yes", "none")
    assert (said["augment"], said["early stopping"]) == ("none", "none")
    augmented = Training(augment=Augmentation(crop=4, flip=True), milestones=(1.0, 2.5), schedule="step")
    said = dict(training_facts(read_comparison(record | {"training": to_record(augmented)})))
    assert said["augment"] == "crop 4, padding zeros, flip yes, mix probability 1.0"
    assert said["milestones"] == "1.0, 2.5"
