"""Trains, and at a step says so and waits for the signal that test_killed.py sends. Run as a script.

Arguments: the folder, then jobs METHOD:WAY, done in turn. Ways: SIGINT, SIGTERM and SIGKILL wait in the tenth step;
write waits in the middle of writing the second checkpoint.
"""

import importlib.util
import signal
import sys
import time
from pathlib import Path
from typing import Any

import safetensors.torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from small_data import make_blobs

from motet import fit
from motet.errors import RunInterrupted


def _load_lab() -> Any:
    spec = importlib.util.spec_from_file_location("lab", Path(__file__).with_name("conftest.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["lab"] = module
    spec.loader.exec_module(module)
    return module


def _wait(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    print("ready", flush=True)
    deadline = time.monotonic() + 60
    while signal.getsignal(number) is before and time.monotonic() < deadline:  # fit puts it back when it has noted one
        time.sleep(0.01)


def _wait_in_the_second_write() -> None:
    whole, calls = safetensors.torch.save_file, 0

    def half(tensors: Any, path: Path, **options: Any) -> None:
        nonlocal calls
        calls += 1
        whole(tensors, path, **options)
        if calls == 2:
            path.with_name(".tmpABCDEF").write_bytes(b"as safetensors has it")
            path.write_bytes(path.read_bytes()[:1000])
            print("ready", flush=True)
            time.sleep(60)

    safetensors.torch.save_file = half


def main() -> None:
    lab = _load_lab()
    for job in sys.argv[2:]:
        method, way = job.split(":")
        ensemble, steps = lab.make_ensemble(method), 0

        def count(module: Any, _: object, way: str = way) -> None:
            nonlocal steps
            steps += module.training
            if module.training and steps == 10 and way.startswith("SIG"):
                _wait(signal.Signals[way])

        ensemble.network.register_forward_pre_hook(count)
        if way == "write":
            _wait_in_the_second_write()
        try:
            fit(ensemble, make_blobs(), lab.SHORT, seed=3, folder=Path(sys.argv[1]) / f"{method}-{way}")
        except RunInterrupted as stop:
            print(stop, flush=True)


if __name__ == "__main__":
    main()
