"""The report shows verdicts and misses, and makes a page from partial results."""

import itertools
import json
import re
from pathlib import Path

import pytest

from models.compression import Compression
from quality.report.page import BEGIN, END, PAGES, PLOTS
from quality.report.plots import tidy
from quality.report.quality_sections import split_text
from quality.report.text import ABSENT
from quality.report.verdicts import (
    DATASETS,
    FAMILIES,
    Arm,
    arm,
    beats,
    in_time,
    parity,
    parity_with_both,
    quick_and_level,
    tally,
)
from testbed.result_pages import (
    factored_rows,
    frontier_rows,
    kept_rows,
    page_of,
    pictures,
    section,
    times_rows,
    unknown_rows,
)

RATIOS = {"full": 1.0, "full_before": 1.0, "converted": 0.0022, "collectivekv": 0.0022, "user_dims_only": 0.0027}
LOSSES = [round(0.7 - 0.002 * i, 4) for i in range(100)]


def row(variant: str, seed: int = 1, auc: float = 0.8, gauc: float = 0.7, **changes) -> dict:
    ratio = RATIOS.get(variant, 0.0)
    found = {"dataset": "ml-1m", "family": "sim", "variant": variant, "seed": seed, "auc": auc, "gauc": gauc}
    found |= {"logloss": 0.5, "ratio": ratio, "m": 4096, "du": 2, "routes": "tied", "trainSeconds": 100}
    found |= {"losses": LOSSES * 2 if variant == "full" else LOSSES} | changes
    return found | {"bytesPerPosition": round(2048 * found["ratio"], 2)}


def arm_of(variant: str, *auc: float, gauc: float = 0.7, **changes) -> Arm:
    return Arm({seed: row(variant, seed, x, gauc, **changes) for seed, x in enumerate(auc)})


# The rule


def test_a_loss_up_to_a_thousandth_is_met_and_a_larger_one_is_missed_by_the_excess() -> None:
    full = arm_of("full", 0.8, 0.8, 0.8)
    assert parity(arm_of("collectivekv", 0.799, 0.799, 0.799), full).met
    assert str(parity(arm_of("collectivekv", 0.7985, 0.7985, 0.7985), full)) == "**missed**: AUC by 0.0005"


def test_a_loss_up_to_the_spread_of_the_full_model_is_met() -> None:
    full = arm_of("full", 0.798, 0.8, 0.802)  # a spread of 0.004
    assert parity(arm_of("collectivekv", 0.794, 0.796, 0.798), full).met
    assert str(parity(arm_of("collectivekv", 0.793, 0.795, 0.797), full)) == "**missed**: AUC by 0.0010"


def test_auc_gauc_and_bytes_must_each_meet_the_target() -> None:
    shared = arm_of("collectivekv", 0.79, gauc=0.697, ratio=0.0092)
    expected = "**missed**: AUC by 0.0090, GAUC by 0.0020, bytes by 0.12 points"
    assert str(parity(shared, arm_of("full", 0.8))) == expected


def test_a_gain_is_not_a_miss() -> None:
    assert parity(arm_of("collectivekv", 0.81, gauc=0.71), arm_of("full", 0.8)).met


def test_only_seeds_that_both_have_are_compared() -> None:
    full = Arm({1: row("full", 1, 0.8), 2: row("full", 2, 0.9)})
    assert parity(Arm({1: row("collectivekv", 1, 0.8)}), full).met


def test_a_full_model_that_more_training_made_worse_does_not_hide_a_loss() -> None:
    shared, full, before = arm_of("collectivekv", 0.8), arm_of("full", 0.8), arm_of("full_before", 0.805)
    assert parity(shared, full).met and not parity_with_both(shared, full, before)


def test_user_dims_alone_must_be_beaten_by_more_than_noise_at_no_more_bytes() -> None:
    shared, full = arm_of("collectivekv", 0.8), arm_of("full", 0.8)
    assert beats(shared, arm_of("user_dims_only", 0.79, gauc=0.69), full).met
    level = arm_of("user_dims_only", 0.7995, gauc=0.69, ratio=0.001)
    assert str(beats(shared, level, full)) == "**missed**: AUC by 0.0005, bytes by 0.12 points"


def test_time_is_met_up_to_the_share() -> None:
    assert in_time(0.4).met and str(in_time(0.46)) == "**missed**: by 6 points"


def test_conversion_alone_must_be_both_quick_and_level_with_the_full_model() -> None:
    def judged(seconds: int, auc: float) -> bool | None:
        converted = Arm({1: row("converted", 1, auc, trainSeconds=seconds)})
        before = Arm({1: row("full_before", 1, 0.8, trainSeconds=100 if seconds else 0)})
        return quick_and_level(converted, before, Arm({1: row("full", 1, 0.8)}))

    assert [judged(40, 0.8), judged(41, 0.8), judged(40, 0.7985), judged(0, 0.8)] == [True, False, False, None]


def test_a_target_is_met_only_when_all_pairs_are_measured() -> None:
    pairs = list(itertools.product(DATASETS, FAMILIES))
    rows = [row("full", dataset=d, family=f) for d, f in pairs]

    def counted(n: int) -> tuple[str, str]:
        found = tally(rows[:n], ["full"], lambda full: full.mean("auc") == 0.8)
        return str(found), found.verdict

    assert counted(0) == ("not measured yet", "-")
    assert counted(3) == ("3 of 3 measured, of 10 planned", "met so far")
    assert counted(10) == ("10 of 10", "met")
    rows[4]["auc"] = 0.7
    assert counted(10) == ("9 of 10", "**missed**")


def test_the_arm_without_history_is_that_of_every_family() -> None:
    assert arm([row("no_history", family="none")], "ml-1m", "hstu", "no_history")


# The page


def all_rows(seeds: int = 2) -> list[dict]:
    rows = []
    for d, seed in itertools.product(DATASETS, range(1, seeds + 1)):
        rows.append(row("no_history", seed, 0.7, 0.65, dataset=d, family="none"))
        for f, variant in itertools.product(FAMILIES, RATIOS):
            loss = {"user_dims_only": 0.02, "converted": 0.0015}.get(variant, 0.0002 * seed)
            seconds = {"converted": 5, "collectivekv": 30}.get(variant, 100)
            rows.append(row(variant, seed, 0.83 - loss, 0.74 - loss, dataset=d, family=f, trainSeconds=seconds))
    return rows


def knob_rows() -> list[dict]:
    def of(knob: str, value: object, stage: str, auc: float) -> dict:
        kept = {k: v for k, v in row("collectivekv", 1, auc).items() if k not in ("variant", "losses")}
        return kept | {"knob": knob, "value": value, "stage": stage, "distinctSlots": {"50": 20.0, "200": 61.4}}

    values = [("slots", Compression().slots, 0.801), ("slots", 64, 0.79), ("tied", False, 0.8), ("user_width", 0, 0.8)]
    rows = [of(knob, value, stage, auc) for knob, value, auc in values for stage in ("converted", "tuned")]
    return [of("full", None, "tuned", 0.802), *rows, of("recipe", "published", "published", 0.78)]


def structure_rows() -> list[dict]:
    ranks, shares = [1, 2, 4, 8, 16, 32, 64], [0.3, 0.5, 0.7, 0.9, 0.95, 0.99, 1.0]
    alike = {kind: {"mean": 0.5, "quantiles": [0.3, 0.4, 0.5, 0.6, 0.7]} for kind in ("users", "mixed", "random")}
    part = {"offset": 0.1, "rank": 64, "ranks": ranks, "similarity": alike}
    part |= dict.fromkeys(("stacked", "own", "others", "oneOther"), shares)
    use = {"slots": 64, "reachable": 60, "used": 50, "dead": 0.2188, "entropyBits": 5.1, "perplexity": 34.3}
    use |= {"place": [1, 5, 50], "share": [0.1, 0.02, 0.001], "upTo": [0.1, 0.3, 1.0]}
    layer = {"layer": 0, "width": 256, "key": part, "value": part, "slots": {"tied": use}}
    layer |= {"distinct": {"tied": {"50": {"users": 9, "mean": 31.0}, "100": {"users": 4, "mean": 48.5}}}}
    rows = []
    for d, f in itertools.product(DATASETS, FAMILIES):
        layers = [layer, layer | {"layer": 1}] if f == "hstu" else [layer]
        rows.append({"dataset": d, "family": f, "seed": 1, "users": 9, "positions": 400, "layers": layers})
    return rows


def all_results() -> dict[str, list[dict]]:
    found = {"quality": all_rows(), "knobs": knob_rows(), "structure": structure_rows(), "factored": factored_rows()}
    return found | {"frontier": frontier_rows(), "unknown": unknown_rows(), "kept": kept_rows(), "times": times_rows()}


def test_without_results_every_section_says_so_and_no_plot_is_drawn(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    headings = [heading for one in PAGES.values() for heading in one.sections]
    for heading in set(headings) - {"Targets", "What was compared", "Which record to choose"}:
        assert ABSENT in section(page, heading)
    assert section(page, "Targets").count("not measured yet") == 7
    assert "](quality/" not in page and not pictures(tmp_path)


@pytest.mark.parametrize("variant", [*RATIOS, "no_history"])
def test_results_with_an_arm_missing_make_a_page(tmp_path: Path, variant: str) -> None:
    rows = [r for r in all_rows(1) if r["variant"] != variant]
    assert "ML-1M" in page_of(tmp_path, quality=rows, knobs=[r for r in knob_rows() if r["stage"] != "tuned"])


@pytest.mark.parametrize("variant", [*RATIOS, "no_history"])
def test_results_with_only_one_arm_make_a_page(tmp_path: Path, variant: str) -> None:
    rows = [r for r in all_rows(1) if r["variant"] == variant]
    assert "not measured yet" in section(page_of(tmp_path, quality=rows), "Targets")


def test_all_results_make_every_section_and_every_plot(tmp_path: Path) -> None:
    page = page_of(tmp_path, **all_results())
    assert ABSENT not in page and "not measured yet" not in page
    assert pictures(tmp_path).keys() == PLOTS.keys() == set(re.findall(r"\]\(quality/(\w+)\.svg\)", page))
    assert all(len(svg) < 150_000 for svg in pictures(tmp_path).values())
    assert section(page, "Targets").count("10 of 10") == 4
    assert "| 5 of 5: SIM, SDIM, ETA, TWIN, HSTU | met |" in section(page, "Targets")


def test_every_row_of_a_table_has_as_many_cells_as_its_head(tmp_path: Path) -> None:
    page = page_of(tmp_path, **all_results())
    tables = re.findall(r"(?:^\|.*\n?)+", page, re.MULTILINE)
    assert len(tables) >= 10
    for lines in tables:
        assert len({line.count("|") for line in lines.strip().split("\n")}) == 1


def test_a_miss_shows_in_its_row_and_in_the_target(tmp_path: Path) -> None:
    rows = all_rows()
    for r in rows:
        if r["variant"] == "collectivekv" and (r["dataset"], r["family"]) == ("kuairand", "eta"):
            r["gauc"] -= 0.005
    page = page_of(tmp_path, quality=rows)
    assert section(page, "CollectiveKV against the full model").count("**missed**: GAUC by 0.0040") == 1
    assert "| 9 of 10 | **missed** |" in section(page, "Targets")
    assert "| 4 of 5: SIM, SDIM, TWIN, HSTU | met |" in section(page, "Targets")


def test_a_weak_full_model_and_slow_training_are_missed_targets(tmp_path: Path) -> None:
    rows = [r | {"auc": r["auc"] - 0.01, "trainSeconds": 100} for r in all_rows()]
    page = section(page_of(tmp_path, quality=rows), "Targets")
    assert "**missed** by 0.0053" in page and "| 0 of 10 | **missed** |" in page


def test_knobs_are_compared_with_their_full_model_and_defaults_are_bold(tmp_path: Path) -> None:
    page = section(page_of(tmp_path, knobs=knob_rows()), "Knobs")
    assert "| slots of the pool | 64 | 0.22 % | -0.0120 / +0.0000 | -0.0120 / +0.0000 | 61 | - |" in page
    default = f"{Compression().slots:,}"
    assert f"|  | **{default}** | 0.22 % | -0.0010 / +0.0000 |" in page
    assert page.count(f"**{default}**") == 1
    assert "| one route for key and value | no, one each |" in page
    assert page.count("**yes**") == 1 and "|  | the published recipe | 0.22 % | - | -0.0220 / +0.0000 |" in page


def test_the_structure_file_may_name_its_rows(tmp_path: Path) -> None:
    folder = tmp_path / "training" / "results"
    folder.mkdir(parents=True)
    (folder / "structure.json").write_text(json.dumps({"ml-1m/sim/1": structure_rows()[0]}))
    assert "| ML-1M | SIM | keys | 64 |" in page_of(tmp_path)


def test_settings_are_shown_if_the_results_have_them(tmp_path: Path) -> None:
    page_of(tmp_path)
    of = {"split": "position:0.1", "epochs": 2.25, "rate": 6e-3, "tune_epochs": 0.4, "tune_rate": 1e-3}
    whole = {"rows": all_rows(), "datasets": {"ml-1m": of}}
    (tmp_path / "training" / "results" / "quality.json").write_text(json.dumps(whole))
    assert "| ML-1M | the last 10 % of each user's queries | 2.25 | 0.006 | 0.4 | 0.001 |" in page_of(tmp_path)
    assert split_text("time:0.25") == "the last 25 % of the queries in time"


# Writing again


def test_notes_by_hand_stay_in_their_sections(tmp_path: Path) -> None:
    path, other = (tmp_path / "docs" / f"{name}.md" for name in ("quality-pools", "quality"))
    assert section(page_of(tmp_path, quality=all_rows(), knobs=knob_rows()), "Knobs").count(BEGIN) == 1  # room for them
    page = path.read_text().replace(f"{BEGIN}\n\n{END}", f"{BEGIN}\nWhy 4,096.\n\nAnd why \\1 tied.\n{END}")
    page = page.replace("\n\n## All arms", f"\n\n{BEGIN}\nOn the full model.\n{END}\n\n## All arms")
    path.write_text(page)
    other.write_text(other.read_text().replace("\n\n## The data", f"\n\n{BEGIN}\nOn items.\n{END}\n\n## The data"))
    again = page_of(tmp_path)
    assert path.read_text() == page
    assert "Why 4,096.\n\nAnd why \\1 tied." in section(again, "Knobs")
    assert "On the full model." in section(again, "CollectiveKV against the full model")
    assert "On items." in section(again, "Kept encodings")
    path.write_text(page.replace("## Knobs", "## Settings"))
    assert "Why 4,096." in page_of(tmp_path)  # of a heading that is gone


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    results = all_results()
    pages = [page_of(tmp_path / name, **results) for name in ("a", "b")]
    assert pages[0] == pages[1] and pictures(tmp_path / "a") == pictures(tmp_path / "b")
    backwards = {name: rows[::-1] for name, rows in results.items()}
    assert page_of(tmp_path / "c", **backwards) == pages[0]


def test_plots_without_results_are_removed(tmp_path: Path) -> None:
    page_of(tmp_path, quality=all_rows(1))
    assert set(pictures(tmp_path)) == {"frontier", "losses"}
    assert "](quality/" not in page_of(tmp_path, quality=[]) and not pictures(tmp_path)


def test_tidy_shortens_tags_and_keeps_labels() -> None:
    assert (
        tidy('<path d="M 1.23456 7"/>  \n<text>within 0.001</text>')
        == '<path d="M 1.23 7"/>\n<text>within 0.001</text>\n'
    )
