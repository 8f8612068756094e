"""train.py refuses wrong input with one line, before training."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import train
from bundle import export
from errors import UserError
from fitting import arms as arms_module
from testbed.training_runs import Interrupted, leftovers, small_train
from train import main


def test_train_refuses_a_folder_with_other_files_before_training(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arms_module, "fit", lambda *_: pytest.fail("trained"))
    config = small_train(root)
    config.out.mkdir()
    (config.out / "photo").write_text("precious")
    with pytest.raises(UserError, match="--out"):
        main(config)
    assert (config.out / "photo").read_text() == "precious"


def test_a_changed_log_does_not_use_the_checkpoints(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_train(root, comparisons=False)
    trained: list[str] = []
    fit = arms_module.fit

    def last_fails(model, log, chosen, c, name, *rest):
        trained.append(name)
        if name == "small collectivekv":
            raise Interrupted
        return fit(model, log, chosen, c, name, *rest)

    monkeypatch.setattr(arms_module, "fit", last_fails)
    with pytest.raises(Interrupted):
        main(config)
    rows = config.log.read_text().splitlines()
    config.log.write_text("\n".join([*rows[:-1], rows[-1].replace(",i", ",x", 1)]) + "\n")
    with pytest.raises(Interrupted):
        main(config)
    assert trained == ["small full", "small collectivekv"] * 2


@pytest.mark.parametrize(
    "given",
    [
        ["--log", "absent.csv"],
        ["--log", "log.csv", "--clusters", "-1"],
        ["--log", "log.csv", "--candidate-features", "dwell"],
        ["--log", "log.csv", "--split", "time"],
    ],
)
def test_a_wrong_command_prints_an_error_line_and_exits_with_2(
    given: list[str],
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    small_train(root)
    monkeypatch.chdir(root)
    monkeypatch.setattr(train.sys, "argv", ["train.py", "log", *given, "--out", str(root / "bundle")])
    assert train.command() == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert leftovers(root) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "--log, the interaction log, .*and --out, the folder .*: give"),
        (["--out", "mine"], "error: --log, "),
        (["--log", "log.csv"], "error: --out, "),
    ],
)
def test_log_and_out_have_no_default_for_a_log(
    given: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train.sys, "argv", ["train.py", "log", *given])
    with pytest.raises(SystemExit, match="2"):
        train.command()
    assert re.search(said, capsys.readouterr().err)


@pytest.mark.parametrize(("family", "positions"), [("hstu", 372), ("sim", 372), ("target", 60)])
def test_a_pool_with_a_slot_for_each_position_is_refused_before_training(
    family: str, positions: int, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The 12 users have 372 positions to learn from. Without features, these are 60 items and actions."""
    features = {} if family != "target" else {"interaction_features": []}
    config = small_train(root, family=family, record="pool", slots=positions, comparisons=False, **features)
    layers = 2 if family == "hstu" else 0
    main(replace(config, slots=positions - 100, layers=layers) if positions > 100 else replace(config, user_width=0))
    monkeypatch.setattr(arms_module, "fit", lambda *_: pytest.fail("trained"))
    with pytest.raises(UserError, match=f"--slots {positions}: .* from {positions} distinct positions.*; give fewer"):
        main(config)
    assert leftovers(root) == []


def test_a_failed_export_leaves_no_draft_and_keeps_the_bundle(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_train(root, comparisons=False)
    main(config)
    whole = (config.out / "bundle.json").read_bytes()

    def fails(*_: object, **__: object) -> None:
        raise UserError("no golden interaction")

    monkeypatch.setattr(export, "write_golden", fails)
    with pytest.raises(UserError, match="no golden interaction"):
        main(config)
    assert (config.out / "bundle.json").read_bytes() == whole
    assert [path.name for path in root.iterdir() if path.name.startswith(".bundle")] == []


def test_a_feature_column_without_numbers_is_refused_with_its_first_cell(root: Path) -> None:
    config = small_train(root, context_features=[], candidate_features=["shade"])
    rows = config.log.read_text().replace("freshness", "shade").splitlines()
    cells = [row.split(",") for row in rows[1:]]
    written = [",".join([*row[:6], "" if i == 0 else "dark", row[7]]) for i, row in enumerate(cells)]
    config.log.write_text("\n".join([rows[0], *written]) + "\n")
    with pytest.raises(UserError, match='log.csv, line 3, column shade: is "dark", not a number; write a number with'):
        main(config)
    config.log.write_text(config.log.read_text().replace("dark", ""))
    with pytest.raises(UserError, match="column shade is empty; write numbers"):
        main(config)


def test_ctrl_c_during_the_imports_prints_one_line(tmp_path: Path) -> None:
    """The torch of this test gets the signal when it is imported."""
    (tmp_path / "torch.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    command = [sys.executable, train.__file__, "demo"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert done.returncode == 130
    assert re.fullmatch("interrupted; the same command.* goes on .*\n", done.stderr)


def test_ctrl_c_prints_one_line_and_exits_with_130(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    log = small_train(root).log
    monkeypatch.setattr(arms_module, "fit", interrupted)
    monkeypatch.setattr(train.sys, "argv", ["train.py", "log", "--log", str(log), "--out", str(root / "bundle")])
    assert train.command() == 130
    assert re.fullmatch("interrupted; the same command.* goes on .*\n", capsys.readouterr().err)
