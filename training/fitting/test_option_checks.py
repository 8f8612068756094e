"""What train.py refuses before it trains: options, features, logs and folders of which no bundle could be made."""

import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import train
from bundle.bundle_folder import check_folder
from bundle.graphs import write_graphs
from bundle.reserved_names import is_reserved
from data.features import parse_feature
from errors import UserError
from fitting import arms as arms_module
from fitting.checkpoints import read_checkpoint, write_checkpoint
from fitting.locks import locked
from fitting.option_checks import check_features, check_log, check_options
from fitting.train_config import TrainConfig
from models.compression import Compression
from testbed.small_logs import random_log
from testbed.small_models import compress, small_full
from testbed.training_runs import Interrupted, leftovers, small_train
from train import main


def a_config(**changes) -> TrainConfig:
    return TrainConfig("log", Path("log.csv"), Path("out"), **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"slots": 1},
        {"slots": 65_537},
        {"user_width": -1},
        {"user_width": 16_384, "user_type": "float16"},
        {"user_width": 32, "user_form": "last_head"},
        {"max_positions": 0},
        {"max_positions": -1},
        {"layers": 0},
        {"layers": 20, "family": "hstu"},
        {"clusters": 0, "record": "factored"},
        {"record": "factored", "family": "sim"},
        {"record": "factored", "recipe": "published"},
        {"heads": 0},
        {"heads": 3},
        {"heads": 1, "family": "sim"},
        {"d_model": 0},
        {"embedding": 0},
        {"block": 0},
        {"batch": 0},
        {"epochs": float("nan")},
        {"epochs": 0.0},
        {"tune_epochs": -1.0},
        {"rate": float("inf")},
        {"tune_rate": 100.0},
        {"threads": -1},
        {"seed": -1},
        {"name": "My_bundle"},
    ],
)
def test_an_option_beyond_its_limits_is_refused_with_its_value(changes: dict) -> None:
    check_options(a_config())
    name = next(iter(changes))
    with pytest.raises(UserError, match=rf"--{name.replace('_', '-')} '?{changes[name]}'?: .*;"):
        check_options(a_config(**changes))


def test_cuda_is_refused_without_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="--device cuda"):
        check_options(a_config(device="cuda"))


@pytest.mark.parametrize("text", ["user_id", "label", "timestamp_ms", "event_id", "scores", "route", "user_code",
                                  "candidate_item", "item_index", "a:0:1e39", "a:1:1.0000000001", "a:0:1e-40",
                                  "a:nan:1", "a:-inf:inf"])  # fmt: skip
def test_a_feature_that_is_a_log_column_or_a_graph_name_is_refused(text: str) -> None:
    check_features({"candidate": [parse_feature("price:0:500:20")], "context": [], "interaction": []})
    with pytest.raises(UserError, match=text.split(":")[0]):
        check_features({"candidate": [parse_feature(text)], "context": [], "interaction": []})


@pytest.mark.parametrize("family", ["target", "sim", "sdim", "eta", "twin", "hstu"])
@pytest.mark.parametrize(
    "options", [{}, {"user_type": "int8", "tied": False}, {"user_type": "int8", "user_form": "last_head"}]
)
def test_every_tensor_name_of_a_graph_is_reserved(family: str, options: dict, tmp_path: Path) -> None:
    model = compress(small_full(family), Compression(slots=16, **options)).requires_grad_(False)
    write_graphs(model, tmp_path)
    names = set()
    for file in tmp_path.glob("*.onnx"):
        graph = onnx.load(file, load_external_data=False).graph
        names |= {x.name for x in (*graph.input, *graph.output, *graph.initializer)}
        names |= {output for node in graph.node for output in node.output}
    possible = {name for name in names if re.fullmatch("[a-z0-9][a-z0-9_-]{0,63}", name)}
    assert {name for name in possible if not is_reserved(name)} == {"watch_ratio", "price", "hour"}


def test_labels_that_are_all_equal_are_refused_to_learn_from_and_reported_to_test_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    label, first = np.array([1, 1, 1, 0], np.float32), np.array([True, True, False, False])
    with pytest.raises(UserError, match="all 2 labels to learn from are 1"):
        check_log([""], label, first, ~first)
    check_log([""], label, ~first, first)
    assert "no AUC" in capsys.readouterr().out
    with pytest.raises(UserError, match="1,024 actions"):
        check_log([""] * 1025, label, ~first, first)


# Folders.


@pytest.mark.parametrize("made", ["foreign", "file", "link", "under a file", "locked"])
def test_a_folder_with_other_files_is_refused_and_not_changed(made: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "photo").write_text("precious")
    if made == "foreign":
        out = kept
    elif made == "file":
        out.write_text("precious")
    elif made == "link":
        out.symlink_to(kept)
    elif made == "under a file":
        out = kept / "photo" / "out"
    else:
        out = Path("/proc/out")
    with pytest.raises(UserError, match="--out"):
        check_folder(out)
    assert (kept / "photo").read_text() == "precious"


def test_a_bundle_may_replace_a_bundle_or_an_empty_folder(tmp_path: Path) -> None:
    check_folder(tmp_path / "a" / "b")
    check_folder(tmp_path / "a")
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "bundle.json").write_text("{}")
    (tmp_path / "bundle" / "encode.onnx").write_text("")
    check_folder(tmp_path / "bundle")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "bundle"]


def test_train_refuses_a_folder_with_other_files_before_training(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arms_module, "fit", lambda *_: pytest.fail("trained"))
    config = small_train(root)
    config.out.mkdir()
    (config.out / "photo").write_text("precious")
    with pytest.raises(UserError, match="--out"):
        main(config)
    assert (config.out / "photo").read_text() == "precious"


# Checkpoints.


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


def test_the_digest_of_a_log_depends_on_every_column() -> None:
    log = random_log(1)
    assert random_log(1).digest() == log.digest() != random_log(2).digest()
    for name, value in vars(log).items():
        other = [*value[:-1], "other"] if isinstance(value, list) else np.append(value[:-1], value[-1:] + 1, 0)
        assert replace(log, **{name: other}).digest() != log.digest(), name


def test_a_cut_checkpoint_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "full.part"
    write_checkpoint({"step": 1}, path)
    assert read_checkpoint(path) == {"step": 1} and [p.name for p in tmp_path.iterdir()] == ["full.part"]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="full.part.*damaged.*--fresh"):
        read_checkpoint(path)


HOLD = """
import sys
from pathlib import Path
from fitting.locks import locked
with locked(Path(sys.argv[1]), "it"):
    print("held", flush=True)
    sys.stdin.read()  # until it is killed
"""


def test_a_lock_names_its_holder_and_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(train.__file__).parent,
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"it: already running as pid {holder.pid};"), locked(path, "it"):
            pass
        os.kill(holder.pid, signal.SIGKILL)
    finally:
        holder.kill()
        holder.communicate()
    with locked(path, "it"):
        assert path.read_text() == str(os.getpid())
    assert not path.exists()


# What the command says.


@pytest.mark.parametrize(
    "given",
    [
        ["--log", "absent.csv"],
        ["--log", "log.csv", "--slots", "1"],
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


def test_a_feature_column_without_numbers_is_refused_with_its_first_cell(root: Path) -> None:
    config = small_train(root, context_features=[], candidate_features=["shade"])
    rows = config.log.read_text().replace("freshness", "shade").splitlines()
    cells = [row.split(",") for row in rows[1:]]
    written = [",".join([*row[:6], "" if i == 0 else "dark", row[7]]) for i, row in enumerate(cells)]
    config.log.write_text("\n".join([rows[0], *written]) + "\n")
    with pytest.raises(UserError, match="column shade is not numeric, first 'dark' at log.csv, line 3; write numbers"):
        main(config)
    config.log.write_text(config.log.read_text().replace("dark", ""))
    with pytest.raises(UserError, match="column shade is empty; write numbers"):
        main(config)


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
