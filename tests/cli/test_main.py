"""The command line: the table of facts, training that learns and leaves its files, and hints for missing packages."""
from __future__ import annotations

import builtins
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import torsh
from torsh.cli import digits, main
from torsh.data import DataLoader
from torsh.serialize import load_file


def test_show_tells_versions_devices_and_cache() -> None:
    result = CliRunner().invoke(main.build(), ["show"])
    assert result.exit_code == 0
    for expected in (torsh.__version__, "cpu", "Kernel cache", "llvmlite", "Cores"):
        assert expected in result.output


@pytest.mark.slow
def test_train_digits_learns_and_writes_its_files(tmp_path: Path) -> None:
    result = CliRunner().invoke(main.build(), ["train", "digits", "--epochs", "3", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "Test accuracy" in result.output
    log = json.loads((tmp_path / "digits.json").read_text())
    assert log["loss"][-1] < log["loss"][0] / 3
    assert log["test_accuracy"][-1] > 0.95
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")
    model = digits.network()
    model.load_state_dict(load_file(tmp_path / "digits.safetensors"))
    data = digits.load()
    assert digits.accuracy(model, data) > 0.95
    assert len(DataLoader(data, 64)) == 29


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    original = builtins.__import__

    def without_typer(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "typer":
            raise ModuleNotFoundError("No module named 'typer'", name="typer")
        return original(name, *args, **kwargs)
    monkeypatch.setattr(builtins, "__import__", without_typer)
    with pytest.raises(SystemExit) as stopped:
        main.main()
    assert stopped.value.code == 1
    assert "torsh-ml[cli]" in capsys.readouterr().err


def test_the_kernel_cache_is_shown_and_cleared(tmp_path: Path) -> None:
    environment = dict(os.environ, TORSH_CACHE_DIR=str(tmp_path / "kernels"), COLUMNS="200")

    def command(*words: str) -> str:
        return subprocess.run([sys.executable, "-m", "torsh.cli.main", *words], env=environment, capture_output=True, text=True, check=True).stdout
    program = "import torsh; (torsh.ones(3) + 1).numpy(); (torsh.ones(130, 130) @ torsh.ones(130, 130)).numpy()"
    subprocess.run([sys.executable, "-c", program], env={**environment, "TORSH_TUNE": "1"}, check=True)
    shown = command("cache", "show")
    assert "Measured choices │ 1" in " ".join(shown.split())
    assert "product" in shown
    assert str(tmp_path / "kernels") in shown
    assert "Kernels │ 0" not in shown.replace("  ", " ")
    assert "and 1 measured choices from" in command("cache", "clear")
    assert not list((tmp_path / "kernels").rglob("*.code"))
