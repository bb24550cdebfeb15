"""Real processes on this machine compute what one process computes."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import on_ranks
import pytest
import torch

from motet.training import checkpoint_files, fit, load_run_weights, newest_checkpoint

pytestmark = pytest.mark.long


@cache
def _in_one_process() -> Any:
    return on_ranks.gradients()


@pytest.mark.parametrize(("size", "member_ranks"), [(2, None), (4, None), (2, 1), (4, 2)])
def test_gradients_and_initial_weights_are_those_of_one_process(
    ranks: Any, size: int, member_ranks: int | None
) -> None:
    expected = _in_one_process()
    answers = [answer.value for answer in ranks(size, on_ranks.gradients, member_ranks)]
    data_ranks = size // (member_ranks or size)
    for case, (loss, gradients, weights) in expected.items():
        if case == "norm" and data_ranks > 1:
            continue  # statistics of a rank's own rows
        parts = [answer[case] for answer in answers]
        assert sum(part[0] for part in parts) == pytest.approx(loss, abs=1e-12), case
        found = {key: value for part in parts for key, value in part[1].items()}
        assert found.keys() == gradients.keys()
        assert sum(len(part[1]) for part in parts) == data_ranks * len(gradients), "each rank holds its own alone"
        for part in parts:
            for key, value in part[1].items():
                torch.testing.assert_close(value, gradients[key], atol=1e-10, rtol=1e-10)
            for key, value in part[2].items():
                assert torch.equal(value, weights[key]), (case, key)


@pytest.mark.parametrize("size", [2, 4])
def test_twenty_steps_have_the_losses_of_one_process(ranks: Any, alone: Any, size: int) -> None:
    expected = alone(on_ranks.steps, 20)
    for answer in ranks(size, on_ranks.steps, 20):
        assert answer.value == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(("size", "member_ranks"), [(2, None), (4, 2)])
def test_fit_has_the_history_and_the_outputs_of_one_process(
    ranks: Any, alone: Any, tmp_path: Path, size: int, member_ranks: int | None
) -> None:
    rows, outputs, _ = alone(on_ranks.trained)
    for rank, answer in enumerate(ranks(size, _trained, tmp_path, {"member_ranks": member_ranks})):
        assert answer.error == "", (rank, answer.message)
        _same(answer.value, (rows, outputs))


def test_a_run_goes_on_with_any_number_of_ranks(ranks: Any, alone: Any, tmp_path: Path) -> None:
    rows, outputs, _ = alone(on_ranks.trained)
    said = ranks(2, _trained, tmp_path, {"stop_at": 3})
    assert len({answer.value for answer in said}) == 1
    # Steps here take no time: losses are looked at, and requests to stop agreed on, at the end of each epoch.
    assert said[0].value.startswith("stopped by SIGINT after step 4 of 16; run the same command again")
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint/last.json"
    said = ranks(4, _trained, tmp_path, {"stop_at": 2})
    assert said[0].value.startswith("stopped by SIGINT after step 8 of 16")
    assert sorted(item.name for item in (tmp_path / "checkpoint/step-8").iterdir()) == [
        f"rank-{rank}-of-4.safetensors" for rank in range(4)
    ]
    assert "stopped by SIGINT after step 10 " in alone(_trained, tmp_path, {"stop_at": 2})
    assert [item.name for item in (tmp_path / "checkpoint").iterdir()] == ["last.safetensors"]
    for answer in ranks(2, _trained, tmp_path, {"member_ranks": 1}):
        _same(answer.value, (rows, outputs))
    assert sorted(item.name for item in (tmp_path / "checkpoint").iterdir()) == ["last.json", "step-16"]
    assert [file.name for file in checkpoint_files(tmp_path)] == ["rank-0-of-2.safetensors"], (
        "two held the same members"
    )
    # Finished: one process reads what two wrote, and trains no more.
    _same(alone(_trained, tmp_path, {}), (rows, outputs))


@pytest.mark.parametrize(("execution", "optimizer"), [("loop", "sgd"), ("stacked", "adamw")])
def test_weights_that_have_had_no_gradient_are_no_obstacle_to_going_on(
    ranks: Any, alone: Any, tmp_path: Path, execution: str, optimizer: str
) -> None:
    training = replace(on_ranks.TRAINING, optimizer=optimizer, early_stopping=2, monitor="error", learning_rate=0.01)
    settings = {"source": on_ranks.Idle, "execution": execution, "training": training}
    expected = alone(_trained, None, settings)[:2]
    assert "after step 4 " in ranks(2, _trained, tmp_path, settings | {"stop_at": 3})[0].value
    assert "after step 6 " in alone(_trained, tmp_path, settings | {"stop_at": 2})
    for answer in ranks(2, _trained, tmp_path, settings | {"member_ranks": 1}):
        assert answer.error == "", answer.message
        _same(answer.value[:2], expected)


def test_resuming_is_bit_for_bit_the_run_that_never_stopped(ranks: Any, tmp_path: Path) -> None:
    settings = {"source": on_ranks.dropping}
    whole = ranks(2, _trained, tmp_path / "whole", settings)
    ranks(2, _trained, tmp_path / "stopped", settings | {"stop_at": 3})
    for before, after in zip(whole, ranks(2, _trained, tmp_path / "stopped", settings), strict=True):
        assert after.value[0] == before.value[0]
        assert np.array_equal(after.value[1], before.value[1])


def test_a_rank_that_is_killed_is_named_and_the_rest_goes_on(ranks: Any, alone: Any, tmp_path: Path) -> None:
    answers = ranks(3, _trained, tmp_path, {"kill_at": 7}, lost=1, seconds=50)
    for answer in answers[:2]:
        assert answer.error == "LostRankError"
        assert answer.message.startswith("rank 2 (process ")
        assert "died. Continue from the last checkpoint with: torchrun --nproc-per-node=3" in answer.message
    assert newest_checkpoint(tmp_path) is not None
    rows, outputs, _ = alone(on_ranks.trained)
    _same(ranks(3, _trained, tmp_path, {})[0].value, (rows, outputs))


def test_the_newer_of_two_checkpoints_is_taken_and_half_of_one_is_none(ranks: Any, alone: Any, tmp_path: Path) -> None:
    ranks(2, _trained, tmp_path, {"stop_at": 2})
    pointer = (tmp_path / "checkpoint/last.json").read_text(encoding="utf-8")
    (tmp_path / "checkpoint/step-99").mkdir()  # killed before all ranks had written
    (tmp_path / "checkpoint/step-99/rank-0-of-2.safetensors").write_bytes(b"half")
    alone(_trained, tmp_path, {"stop_at": 2})
    (tmp_path / "checkpoint/last.json").write_text(pointer, encoding="utf-8")  # killed before the older one was removed
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint/last.safetensors"
    rows, outputs, _ = alone(on_ranks.trained)
    _same(alone(_trained, tmp_path, {}), (rows, outputs))
    assert [item.name for item in (tmp_path / "checkpoint").iterdir()] == ["last.safetensors"]


def test_predictions_of_a_regression_are_in_the_targets_units_on_any_number_of_ranks(
    ranks: Any, tmp_path: Path
) -> None:
    answers = ranks(2, on_ranks.regression, tmp_path)
    (mean, error), (other, _) = (answer.value for answer in answers)
    assert mean == other
    ensemble, data = on_ranks.scaled(None)
    assert ensemble.target_scale is None
    load_run_weights(tmp_path, ensemble)  # the ranks' files
    prediction = ensemble.predict(data.test.inputs, targets=data.test.targets)
    assert prediction.targets is not None
    assert 900 < mean < 1100
    assert float(prediction.mean.mean()) == pytest.approx(mean)
    assert error == pytest.approx(float((prediction.mean - prediction.targets).square().mean().sqrt()), rel=1e-4)
    alone = fit(ensemble, data, on_ranks.TRAINING, seed=3, folder=tmp_path, progress=False)  # already finished
    assert alone[-1]["validation_rmse"] == pytest.approx(error)


def _trained(folder: Path | None, settings: dict[str, Any]) -> Any:
    return on_ranks.trained(folder, **settings)


def _same(found: Any, expected: tuple[Any, Any]) -> None:
    rows, outputs = expected
    assert [row.keys() for row in found[0]] == [row.keys() for row in rows]
    for mine, theirs in zip(found[0], rows, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-5)
    np.testing.assert_allclose(found[1], outputs, atol=1e-4)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("members", 'the same value of training, but got "ModularNetwork(members=7'),
        ("lambda", "lam=0.5"),
        ("seed", "seed=1"),
        ("data", "the same value of data.sha256"),
    ],
)
def test_ranks_that_differ_say_so_at_the_start(ranks: Any, what: str, words: str) -> None:
    answers = ranks(2, on_ranks.differing, what)
    assert len({answer[1:] for answer in answers}) == 1, "every rank says the same, which is printed once"
    assert answers[0].error == "InputError"
    assert words in answers[0].message
    assert "on rank 1 and " in answers[0].message


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("method", "Use a method whose members are separate networks"),
        ("members", "an ensemble over 2 ranks must have 2 members or more, but got members=1"),
        ("objective", "Use Independent, Joint or Modular"),
        ("layout", "member_ranks=1 and data_ranks=3 with 2 processes"),
    ],
)
def test_what_cannot_be_is_refused(ranks: Any, what: str, words: str) -> None:
    for answer in ranks(2, on_ranks.refusing, what):
        assert answer.error == "InputError", answer
        assert words in answer.message


def test_a_rank_that_stops_with_an_error_is_named(ranks: Any) -> None:
    first, second = ranks(2, on_ranks.one_fails)
    assert (second.error, second.message) == ("ValueError", "no more")
    assert first.error == "LostRankError"
    assert first.message.startswith("rank 1 ")


def test_a_rank_that_is_silent_ends_the_others(ranks: Any) -> None:
    first, second = ranks(2, on_ranks.silent, lost=1)
    assert first.error == "gone", "its watch ended it, though an exchange would have waited"
    assert second.value == "asleep"


def test_bytes_do_not_grow_with_the_network(ranks: Any) -> None:
    small, large = (ranks(2, on_ranks.sent, hidden, 0.9)[0].value for hidden in (16, 256))
    assert small.steps == large.steps == 6
    assert small.bytes_per_step == large.bytes_per_step == 2 * (2 - 1) * 20 * 3 * 4
    in_all = (small.bytes_sent["step"] + small.bytes_sent["agreement"]) / 6
    assert in_all <= 2 * 20 * 3 * 4 * 2
    assert small.data_parallel_bytes_per_step == 2 * 4 * (4 * 16 + 16 + 16 * 3 + 3) * 4
    assert large.data_parallel_bytes_per_step > 10 * small.data_parallel_bytes_per_step


def test_independent_members_exchange_nothing_in_a_step(ranks: Any) -> None:
    assert ranks(2, on_ranks.sent, 16, 0.0)[0].value.bytes_per_step == 0
