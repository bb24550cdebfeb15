"""Mean IoU and pixel accuracy."""

import pytest
import torch

from motet import InputError
from motet.metrics import mean_iou, pixel_accuracy


@pytest.mark.parametrize("shape", [(4, 6, 5), (3, 7), (20,)])
@pytest.mark.parametrize("ignored", [-100, 255])
def test_mean_iou_is_that_of_a_loop(shape: tuple[int, ...], ignored: int) -> None:
    torch.manual_seed(0)
    classes = 6  # class 5 is neither predicted nor true
    labels, targets = torch.randint(5, shape), torch.randint(4, shape)
    targets[torch.rand(shape) < 0.2] = ignored
    ious, right, scored = [], 0, 0
    pairs = [(p, t) for p, t in zip(labels.flatten().tolist(), targets.flatten().tolist(), strict=True) if t != ignored]
    for label in range(classes):
        both = sum(p == label and t == label for p, t in pairs)
        either = sum(label in (p, t) for p, t in pairs)
        if either:
            ious.append(both / either)
    right, scored = sum(p == t for p, t in pairs), len(pairs)
    found = mean_iou(labels, targets, classes=classes, ignore_index=ignored)
    assert float(found) == pytest.approx(sum(ious) / len(ious))
    assert float(pixel_accuracy(labels, targets, ignore_index=ignored)) == pytest.approx(right / scored)


def test_a_perfect_map_has_iou_one() -> None:
    targets = torch.tensor([[0, 3], [-100, 3]])
    labels = torch.tensor([[0, 3], [1, 3]])  # class 1 is predicted only where nothing counts
    assert mean_iou(labels, targets, classes=50_000) == 1
    assert pixel_accuracy(labels, targets) == 1


@pytest.mark.parametrize(
    ("labels", "targets", "problem"),
    [
        (torch.zeros(2, 3), torch.zeros(2, 2), "same shape"),
        (torch.zeros(2, 2), torch.full((2, 2), -100), "at least one position"),
        (torch.zeros(2, 2), torch.full((2, 2), 3), "true labels must lie"),
        (torch.full((2, 2), 3), torch.zeros(2, 2), "predicted labels must lie"),
    ],
)
def test_impossible_label_maps_are_refused(labels: torch.Tensor, targets: torch.Tensor, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        mean_iou(labels.long(), targets.long(), classes=3)
