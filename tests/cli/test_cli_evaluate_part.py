"""motet evaluate RUN --members, --lost."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from motet.data import load
from motet.evaluation import predict_split
from motet.experiments import find_run, load_ensemble
from motet.metrics import flops, score

pytestmark = pytest.mark.slow

Motet = Callable[..., Any]


def test_some_members_of_a_run(motet: Motet) -> None:
    made = motet(
        "compare", "digits", "--methods", "single,deep-ensemble", "--members", 4, "--epochs", 1, "--seeds", 1,
        "--model", "mlp", "--out", "runs",
    )  # fmt: skip
    assert made.code == 0, made
    Path("out").symlink_to("runs/deep-ensemble-seed0")
    dataset = load("digits")
    ensemble = load_ensemble(find_run(Path("out")), dataset)
    assert motet("evaluate", "out").code == 0

    def record() -> dict[str, Any]:
        return json.loads(Path("out/evaluation.json").read_text())

    for options, chosen in [
        (("--members", "0,3"), [0, 3]),
        (("--members", "3,"), [3]),
        (("--members", "2"), [0, 1]),
        (("--lost", "1,2"), [0, 3]),
        (("--lost", "0"), [1, 2, 3]),
        (("--members", "3", "--lost", "1"), [0, 2]),
    ]:
        code, text, err = motet("evaluate", "out", *options)
        assert (code, err) == (0, "evaluation: out/evaluation.json\n")
        part = ensemble.subset(chosen)
        assert record()["part"]["members"] == chosen
        assert record()["part"]["flops"] == flops(part.fold(), dataset.prepare(dataset.test.inputs[:1]))
        expected = score(predict_split(part, dataset, dataset.test))
        for name, value in record()["part"]["scores"].items():
            assert value == pytest.approx(expected[name], rel=1e-5)
        lines = text.splitlines()
        assert lines[1] == f"{len(chosen)} of 4 members: {', '.join(map(str, chosen))}"
        assert lines[2].split() == ["accuracy", "NLL", "ECE", "Brier", "FLOPs"]
        assert "ensemble" in record()  # what was found earlier is kept
    first = [motet("evaluate", "out", "--lost", "0.5", "--json").out for _ in range(2)]
    assert first[0] == first[1]
    assert 1 <= len(json.loads(first[0])["part"]["members"]) <= 4
    for options, message in [
        (("--members", "9"), "1..4"),
        (("--members", "0,9"), "index 9"),
        (("--members", "two"), "--members 0,3,5"),
        (("--lost", "some"), "--lost 0.3"),
        (("--lost", "0,1,2,3"), "must remain"),
        (("--lost", "1.5"), "[0, 1)"),
        (("--members", "2", "--distinct"), "Run motet evaluate once for each"),
    ]:
        code, _, err = motet("evaluate", "out", *options)
        assert code == 2
        assert message in err, err
