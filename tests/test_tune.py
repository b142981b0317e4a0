"""`tune` in the language: what is searched for, where, and every way it can be wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from findings import base, diagnose, everything, find, program
from tiny_spec import command

from nnspec.checker import check
from nnspec.checker.program import Bound, Origin, Program, Tuning
from nnspec.checker.rules.searched import searched_loss
from nnspec.compiler.proofs import prove
from nnspec.diagnostics import Source
from nnspec.engine.spaces import UniformSpace
from nnspec.semantics.comparison import compare
from nnspec.semantics.meaning import identity, meaning
from nnspec.semantics.resolved import rows

VALIDATED = "train.validation = 0.2\n"
RACE = "race { SGD; Adam(lr=0.05) }\n"


def tuned(more: str, *flags: str, race: str = RACE + VALIDATED) -> Program:
    return program(base(more=f"{race}{more}\n"), *flags)


def tuning(more: str, *flags: str, race: str = RACE + VALIDATED) -> Tuning:
    found = tuned(more, *flags, race=race).tuning
    assert found is not None
    return found


def test_every_lane_has_the_same_number_of_trials() -> None:
    found = tuning(
        "tune { budget = 3; SGD { optimizer.lr = loguniform(0.01, 1) }; Adam.optimizer.lr = uniform(0.1, 1) }"
    )
    assert {lane: [trial.number for trial in own] for lane, own in found.trials.items()} == {
        "SGD": [1, 2, 3],
        "Adam": [1, 2, 3],
    }
    assert str(found.spaces["SGD"]["optimizer.lr"]) == "loguniform(0.01, 1)"
    assert all(0.01 <= trial.settings["optimizer.lr"] <= 1 for trial in found.trials["SGD"])


def test_a_space_without_a_lane_is_for_all_and_a_lane_may_have_its_own() -> None:
    found = tuning("tune { optimizer.lr = loguniform(0.01, 1); Adam { optimizer.lr = loguniform(0.001, 0.1) } }")
    assert {lane: str(own["optimizer.lr"]) for lane, own in found.spaces.items()} == {
        "SGD": "loguniform(0.01, 1)",
        "Adam": "loguniform(0.001, 0.1)",
    }


def test_a_lane_without_spaces_is_not_searched_and_races_as_written() -> None:
    found = tuned("tune { SGD.optimizer.lr = loguniform(0.01, 1) }")
    assert found.tuning is not None
    assert [*found.tuning.trials] == ["SGD"]
    assert found.lanes[1].optimizer.values()["lr"] == 0.05


def test_before_the_search_a_lane_is_in_the_middle_of_its_spaces() -> None:
    found = tuned("tune { SGD.optimizer.lr = loguniform(0.01, 1) }")
    assert found.lanes[0].optimizer.values()["lr"] == pytest.approx(0.1)


def test_trials_alone_are_lanes_with_a_seed_that_no_lane_of_the_race_has() -> None:
    race = f"{RACE}{VALIDATED}train.repeats = 3\nseed = 5\n"
    found = tuned("tune { race = false; budget = 2; studies = 2; optimizer.lr = [0.1, 0.2, 0.3] }", race=race)
    assert [(lane.name, lane.seed) for lane in found.lanes][:5] == [
        ("SGD,study=1,trial=1", 8),
        ("SGD,study=1,trial=2", 8),
        ("SGD,study=2,trial=1", 9),
        ("SGD,study=2,trial=2", 9),
        ("Adam,study=1,trial=1", 8),
    ]
    assert {lane.train.repeats for lane in found.lanes} == {1}
    assert {lane.facts.test for lane in found.lanes} == {0}


def test_lanes_with_seeds_of_their_own_do_not_race_with_those_of_their_trials() -> None:
    race = "race { SGD { optimizer = SGD; seed = 1 }; Adam { optimizer = Adam; seed = 3 } }\ntrain.repeats = 2\n"
    race += VALIDATED
    found = tuned("tune { race = false; budget = 1; optimizer.lr = [0.1, 0.2] }", race=race)
    assert [(lane.name, lane.seed) for lane in found.lanes] == [("SGD,trial=1", 3), ("Adam,trial=1", 5)]


@pytest.mark.parametrize(
    ("spaces", "warned"),
    [
        ("loss = [CrossEntropy, CrossEntropy(label_smoothing=0.3)]", True),
        ("by = loss; loss.label_smoothing = [0, 0.3]", True),
        ("by = epochs_to(val_loss=0.3); loss.label_smoothing = [0, 0.3]", True),
        ("by = val_accuracy; loss.label_smoothing = [0, 0.3]", False),
        ("optimizer.lr = [0.1, 0.2]; train.penalty = [L2(0.1), L2(0.2)]", False),
    ],
)
def test_a_loss_is_not_tuned_by_its_own_value(spaces: str, warned: bool) -> None:
    found = everything(base(more=f"{VALIDATED}tune {{ budget = 2; {spaces} }}\n"))
    assert [each.code for each in found] == ["NN739"] * warned


@pytest.mark.parametrize(("figure", "warned"), [("val_loss", True), ("val_a_loss", False), ("val_a_accuracy", False)])
def test_a_weight_of_a_loss_is_not_tuned_by_the_sum(figure: str, warned: bool) -> None:
    experiment = program(base()).lanes[0]
    origin = Origin(experiment.optimizer.arguments["lr"].origin.span, "given")
    tune = {"tune.by": Bound(figure, origin), "tune.loss_weight.a": Bound(UniformSpace(0, 1), origin)}
    assert bool([*searched_loss(replace(experiment, tune=tune))]) == warned


def test_lists_are_choices_of_any_values() -> None:
    found = tuning(
        "tune { budget = 9; optimizer = [SGD(lr=0.1), Momentum(lr=0.1)]; train.batch = [8, 16] }", race=VALIDATED
    )
    assert {(t.settings["optimizer"], t.settings["train.batch"]) for t in found.trials["run"]} == {
        (optimizer, batch) for optimizer in ("SGD(lr=0.1)", "Momentum(lr=0.1)") for batch in (8, 16)
    }


def test_a_let_can_be_searched_for() -> None:
    text = "let width = 4\ntrain.validation = 0.2\ntune { budget = 2; width = integers(2, 9) }"
    found = program(base("Linear(16)", "Linear(width)", more=text)).tuning
    assert found is not None
    assert all(2 <= trial.settings["width"] <= 9 for trial in found.trials["run"])


def test_flags_set_the_search_and_fix_settings() -> None:
    spaces = "SGD.optimizer.lr = loguniform(0.01, 1); Adam { optimizer.lr = [0.1, 0.2]; optimizer.eps = [1e-8, 1e-4] }"
    found = tuned(f"tune {{ {spaces} }}", "tune.budget=2", "Adam.optimizer.lr=0.3", "SGD.optimizer.lr=0.7")
    assert found.tuning is not None
    assert {lane: [*own] for lane, own in found.tuning.spaces.items()} == {"Adam": ["optimizer.eps"]}
    assert len(found.tuning.trials["Adam"]) == 2
    assert [lane.optimizer.values()["lr"] for lane in found.lanes] == [0.7, 0.3]


def test_a_flag_that_sets_an_optimizer_fixes_its_arguments() -> None:
    found = tuning(f"tune {{ {LR} }}", "SGD.optimizer=SGD(lr=0.5)")
    assert [*found.spaces] == ["Adam"]


def test_with_every_setting_fixed_there_is_no_search() -> None:
    assert tuned("tune { SGD.optimizer.lr = loguniform(0.01, 1) }", "SGD.optimizer.lr=0.7").tuning is None


def test_what_studies_chose_is_raced_study_by_study() -> None:
    flags = (
        "tune.chosen=true",
        "tune.studies=2",
        "tune.SGD.optimizer.lr=[0.1, 0.1]",
        "tune.Adam.optimizer.lr=[0.2, 0.3]",
    )
    found = tuned("tune { optimizer.lr = loguniform(0.01, 1) }\nexpect { Adam.loss < SGD.loss }", *flags)
    assert found.tuning is None
    assert [(lane.name, lane.optimizer.values()["lr"]) for lane in found.lanes] == [
        ("SGD,study=1", 0.1),
        ("SGD,study=2", 0.1),
        ("Adam,study=1", 0.2),
        ("Adam,study=2", 0.3),
    ]
    assert [{figure.lane for figure in case.figures()} for case in found.expectations[0].cases] == [
        {"SGD,study=1", "Adam,study=1"},
        {"SGD,study=2", "Adam,study=2"},
    ]


def test_sections_of_imports_are_merged(tmp_path: object) -> None:
    found = tuning("tune { optimizer.lr = loguniform(0.01, 1) }\ntune.budget = 7\ntune.by = loss")
    assert (found.settings.budget, found.settings.by) == (7, "loss")


LR = "optimizer.lr = loguniform(0.01, 1)"
WRONG = {
    "a test figure": (f"tune {{ {LR}; by = test_loss }}", "NN608", "test_loss"),
    "no metric": (f"tune {{ {LR}; by = val_f1 }}", "NN602", "val_f1"),
    "no figure": (f"tune {{ {LR}; by = val_acc }}", "NN201", "val_acc"),
    "no space": ("tune { budget = 3 }", "NN205", "tune"),
    "a value": ("tune { optimizer.lr = 0.1 }", "NN301", "0.1"),
    "one value": ("tune { optimizer.lr = [0.1] }", "NN302", "[0.1]"),
    "an equal value": ("tune { optimizer.lr = [0.1, 0.1] }", "NN204", "0.1"),
    "out of range": ("tune { optimizer.lr = uniform(-3, 1) }", "NN302", "uniform(-3, 1)"),
    "twice": (f"tune {{ {LR}; {LR} }}", "NN204", "optimizer.lr"),
    "misspelt": (f"tune {{ {LR}; bugdet = 3 }}", "NN201", "bugdet"),
    "of train": (f"tune {{ {LR}; batch = [8, 16] }}", "NN201", "batch"),
    "no lane": (f"tune {{ Adamm.{LR} }}", "NN201", "Adamm.optimizer.lr"),
    "no argument": ("tune { optimizer.momentun = uniform(0.1, 0.9) }", "NN202", "optimizer.momentun"),
    "a seed": ("tune { seed = [1, 2] }", "NN203", "seed"),
    "data": ("tune { data.train = [20, 40] }", "NN203", "data.train"),
    "a sweep": (f"tune {{ {LR} }}\nsweep {{ train.batch = [8, 16] }}", "NN607", "tune"),
    "no budget": (f"tune {{ {LR}; budget = 0 }}", "NN302", "0"),
    "too many": (f"tune {{ {LR}; budget = 600 }}", "NN603", "600"),
    "no effect": (f"tune {{ {LR}; SGD.{LR}; Adam.{LR} }}", "NN203", "optimizer.lr"),
    "a statement": ("tune { loss < 3 }", "NN203", "loss < 3"),
    "a name": (f"tune it {{ {LR} }}", "NN203", "it"),
}


@pytest.mark.parametrize(("more", "code", "at"), WRONG.values(), ids=WRONG.keys())
def test_mistakes_are_reported_where_they_are(more: str, code: str, at: str) -> None:
    assert (code, at) in find(base(more=f"{RACE}{VALIDATED}{more}\n"))


@pytest.mark.parametrize("name", ["tune", "optimizer", "width"])
def test_a_lane_that_flags_do_not_reach_is_not_searched(name: str) -> None:
    race = f"{VALIDATED}let width = 3\nrace {{ {name} {{ optimizer = SGD(lr=0.1) }}; Adam(lr=0.1) }}\n"
    found = diagnose(base(more=f"{race}tune {{ {LR} }}\n"))
    assert [each.code for each in found if each.severity == "error"] == ["NN203"]
    assert "rename the lane" in str(found[0].help)


def test_a_search_covers_a_limited_number_of_settings() -> None:
    lets = "".join(f"let x{n} = 0.1\n" for n in range(51))
    tune = "; ".join(f"x{n} = uniform(0, 1)" for n in range(51))
    more = f"{RACE}{VALIDATED}{lets}tune {{ budget = 2; search = halton; {tune} }}\n"
    assert ("NN302", "halton") in find(base(more=more))
    assert not diagnose(base(more=more.replace("halton", "random")))


def test_a_wrong_value_is_reported_once() -> None:
    (found,) = diagnose(base(more=f"{RACE}{VALIDATED}tune {{ optimizer.lr = uniform(-3, 1) }}\n"))
    assert found.message.startswith("`lr` must be greater than 0")


def test_a_search_needs_validation_samples() -> None:
    (found,) = diagnose(base(more=f"{RACE}tune {{ {LR} }}\n"))
    assert (found.code, found.span.text) == ("NN602", "tune")
    assert "tune.by = loss" in found.help
    assert not diagnose(base(more=f"{RACE}tune {{ {LR}; by = loss }}\n"))


PROBLEM = f"""\
data = Digits(train=50)
model {{ Linear(10) }}
loss = CrossEntropy
{VALIDATED}
tune {{ by = val_loss; target = 0.5 }}
"""
CONTESTANTS = f"race {{ SGD; Adam }}\ntune {{ {LR} }}\n"


def _found(text: str) -> list[tuple[str, str]]:
    checked = check(Source("x.nn", text))
    assert checked.program is None
    return [(d.code, d.span.text) for d in checked.diagnostics]


def test_the_halves_of_a_bench_have_no_findings() -> None:
    assert _found(PROBLEM) == [] == _found(CONTESTANTS)


def test_mistakes_in_a_half_of_a_bench_are_found() -> None:
    assert _found(PROBLEM.replace("Linear(10)", "Linear(0)")) == [("NN302", "0")]
    assert _found(CONTESTANTS.replace("SGD", "SGDD")) == [("NN201", "SGDD")]
    assert _found(CONTESTANTS.replace("0.01", "-1")) == [("NN302", "-1")]


def test_a_search_is_part_of_what_a_spec_means() -> None:
    texts = [
        base(more=f"{RACE}{VALIDATED}tune {{ {each} }}\n") for each in (LR, f"{LR}; budget = 20", f"{LR}; budget = 21")
    ]
    texts.append(base(more=f"{RACE}{VALIDATED}tune {{ optimizer.lr = loguniform(0.001, 1) }}\n"))
    meanings = [identity(meaning(program(text))) for text in texts]
    assert meanings[0] == meanings[1]
    assert len({*meanings}) == 3


def test_diff_and_show_have_the_search() -> None:
    old, new = (
        prove(program(base(more=f"{RACE}{VALIDATED}tune {{ {each} }}\n")))[0] for each in (LR, f"{LR}; budget = 7")
    )
    (group,) = compare(old, new).groups
    assert [(change.what, change.old, change.new) for change in group.changes] == [("tune.budget", "20", "7")]
    shown = {row.name: str(row.value) for row in rows(new.program.lanes[0]) if row.section == "tune" and row.value}
    assert (shown["tune.budget"], shown["tune.by"]) == ("7", "val_loss")
    assert shown["tune.optimizer.lr"] == "loguniform(0.01, 1)"


HELPS = {
    "the time to a target without its figure": (f"tune {{ by = epochs_to(0.3); {LR} }}", "`epochs_to(val_loss=0.5)`"),
    "the time to a comparison": (f"tune {{ by = epochs_to(val_loss < 0.3); {LR} }}", "`epochs_to(val_loss=0.5)`"),
    "the time to a misspelt figure": (f"tune {{ by = epochs_to(val_los=0.3); {LR} }}", "did you mean `val_loss`?"),
    "the time to a target on test data": (f"tune {{ by = epochs_to(test_loss=0.25); {LR} }}", "choose by `val_loss`"),
    "the time to parameters": (f"tune {{ by = epochs_to(params=3); {LR} }}", "for example, `val_loss`"),
    "a percentage to reach": (f"tune {{ by = epochs_to(val_accuracy=90); {LR} }}", "write 90 % as 0.9"),
    "a percentage as target": (f"tune {{ by = val_accuracy; target = 95; {LR} }}", "write 95 % as 0.95"),
    "a lane without a race": (
        "tune { SGD.optimizer.lr = uniform(0, 1) }",
        "there is no `race`: write `optimizer.lr = …`",
    ),
    "a space that leaves the range of a rate": (
        "tune { optimizer.lr = uniform(-1, 1) }",
        "it is a value of `uniform(-1, 1)`: change the ends of this space",
    ),
    "a space that leaves the range of a fraction": (
        "tune { optimizer.momentum = uniform(0, 1.5) }",
        "change the ends of this space",
    ),
    "the seed": ("tune { seed = integers(1, 9) }", "set `train.repeats`"),
    "another number of samples": ("tune { data.train = [10, 20] }", "set it outside `tune`"),
    "two targets": (f"tune {{ by = epochs_to(val_loss=0.3); target = 0.2; {LR} }}", "remove `target`"),
    "brackets for a section": (f"tune [ {LR} ]", "sections have braces: `tune { … }`"),
    "parentheses for a range": (
        "tune { optimizer.lr = (1e-4, 2 * 3) }",
        "a range is `uniform(1e-4, 2 * 3)` or `loguniform(1e-4, 2 * 3)`; a choice is a list: `[1e-4, 2 * 3]`",
    ),
    "parentheses for a choice": ("tune { train.batch = (8, 16, 32) }", "a choice is a list: `[8, 16, 32]`"),
    "exponents": ("tune { optimizer.lr = loguniform(-4, 0) }", "for 10^-4 to 10^0, write `loguniform(1e-4, 1)`"),
    "exponents below one": ("tune { optimizer.lr = loguniform(-4, -1) }", "write `loguniform(1e-4, 1e-1)`"),
    "broken exponents": ("tune { optimizer.lr = loguniform(-2.5, 0.5) }", "write `loguniform(0.00316, 3.16)`"),
    "a logarithm of 0": ("tune { optimizer.lr = loguniform(0, 1) }", "the smallest value worth trying"),
    "an argument of a rate": (
        "optimizer = SGD(lr=0.1)\ntune { optimizer.lr.start = loguniform(1e-3, 1) }",
        "give it a schedule: `optimizer.lr = cosine(0.1)`",
    ),
    "a space for a schedule": (
        "optimizer = SGD(lr=cosine(0.1))\ntune { optimizer.lr = loguniform(1e-3, 1) }",
        "`optimizer.lr.start = …`",
    ),
    "a space for a schedule in a let": (
        "let s = cosine(0.1)\noptimizer = SGD(lr=s)\ntune { optimizer.lr = loguniform(1e-3, 1) }",
        "`optimizer.lr.start = …`",
    ),
    "a rate without its optimizer": ("tune { lr = loguniform(1e-3, 1) }", "`optimizer.lr = …`"),
    "a misspelt let": ("let width = 3\ntune { widht = integers(2, 4) }", "did you mean `width`?"),
    "the direction": (f"tune {{ mode = min; {LR} }}", "remove it: "),
    "a budget at top level": (f"budget = 3\ntune {{ {LR} }}", "`tune.budget = …`"),
    "a budget in train": (f"train.budget = 3\ntune {{ {LR} }}", "`tune.budget = …`"),
    "too many trials": (f"tune {{ budget = 600; studies = 2; {LR} }}", "at most 500"),
    "a space outside tune": ("optimizer = SGD(lr=loguniform(1e-3, 1))", "spaces belong in `tune`"),
    "a space in a sweep": ("sweep { optimizer.lr = loguniform(1e-3, 1) }", "`tune` takes spaces"),
    "a figure that no epoch has": (f"tune {{ by = params; {LR} }}", "for example, `val_loss`"),
    "a number of epochs": (f"tune {{ by = epochs_to; {LR} }}", "for example, `val_loss`"),
    "a figure of Keras": (f"tune {{ by = validation_loss; {LR} }}", "did you mean `val_loss`?"),
    "a space of Optuna": ("tune { optimizer.lr = suggest_float(1e-3, 1) }", "did you mean `uniform`?"),
    "a space of Weights & Biases": (
        "tune { optimizer.lr = log_uniform_values(1e-3, 1) }",
        "did you mean `loguniform`?",
    ),
    "an expression for a figure": (f"tune {{ by = min(val_loss); {LR} }}", "`tune.by = val_loss`"),
}


@pytest.mark.parametrize(("more", "help"), HELPS.values(), ids=HELPS.keys())
def test_the_help_says_what_to_write(more: str, help: str) -> None:
    text = base("optimizer = SGD(lr=0.1)\n", "", more=f"{VALIDATED}{more}\n")
    text = text if "optimizer =" in more else f"{text}optimizer = SGD(lr=0.1)\n"
    found = [each for each in diagnose(text) if each.severity == "error"]
    assert len(found) == 1
    assert help in str(found[0].help)
    assert "test_" not in str(found[0].help)


@pytest.mark.parametrize(
    "written", ["loguniform(1e-4, 1e-1)", "loguniform(0.00316, 3.16)", "uniform(1e-4, 2 * 3)", "[8, 16]"]
)
def test_the_help_works_when_followed(written: str) -> None:
    assert tuned(f"tune {{ optimizer.lr = {written} }}").tuning is not None


def test_files_of_another_folder_are_not_tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = "data = Digits(train=50, test=20)\nmodel { Linear(10) }\nloss = CrossEntropy\noptimizer = SGD(lr=0.1)\n"
    (tmp_path / "x.nn").write_text(f"{network}train {{ epochs = 1; validation = 0.2 }}\n")
    for name in ("a", "b"):
        assert command("run", tmp_path / "x.nn", "--out", tmp_path / name).returncode == 0
    files = '["a/run/weights.npz", "b/run/weights.npz"]'
    (tmp_path / "x.nn").write_text(f"{(tmp_path / 'x.nn').read_text()}tune {{ budget = 2; init_from = {files} }}\n")
    said = command("check", tmp_path / "x.nn")
    assert said.returncode == 1
    assert f"`cd {tmp_path}`" in said.stdout
    monkeypatch.chdir(tmp_path)
    assert command("run", "x.nn", "--out", "c").returncode == 0
    assert command("verify", "c").returncode == 0


def test_help_in_lanes_and_flags() -> None:
    def helps(more: str, *flags: str) -> str:
        found = diagnose(base(more=f"{VALIDATED}{more}\n"), *flags)
        return " ".join(str(each.help) for each in found if each.severity == "error")

    assert "without the lane" in helps(f"{RACE}tune {{ Adam {{ budget = 3; {LR} }} }}")
    assert "`tune.LANE.optimizer.lr = …`" in helps(f"race {{ Adam {{ tune {{ {LR} }} }}; SGD }}")
    assert "fixes a setting" in helps(f"{RACE}tune {{ {LR} }}", "tune=off")


def test_a_search_that_could_not_be_read_is_not_called_empty() -> None:
    found = find(base(more=f"{RACE}{VALIDATED}tune {{ optimizer.lr: loguniform(1e-3, 1) }}\n"))
    assert [code for code, _ in found if code != "NN101"] == []


def test_the_arguments_of_a_schedule_are_searched_for_by_name() -> None:
    more = f"{VALIDATED}let start = 0.1\ntune {{ budget = 2; start = loguniform(0.01, 1) }}\n"
    (lane,) = program(base("SGD(lr=0.1)", "SGD(lr=cosine(start))", more=more)).lanes
    assert str(lane.optimizer.values()["lr"]) == "cosine(0.1)"


SCHEDULED = {
    "positional": ("", "SGD(lr=cosine(0.1, warmup=1))", "SGD(lr=cosine(0.3, warmup=1))"),
    "of a positional rate": ("", "SGD(cosine(start=0.1))", "SGD(cosine(start=0.3))"),
    "by name": ("", "SGD(lr=cosine(warmup=1, start=0.1))", "SGD(lr=cosine(warmup=1, start=0.3))"),
    "of a let": ("let s = cosine(0.1)\n", "SGD(lr=s)", "SGD(lr=cosine(0.3))"),
    "of the optimizer's let": ("let o = SGD(lr=(cosine(0.1)))\n", "o", "SGD(lr=cosine(0.3))"),
    "of a rate given apart": ("", "SGD\noptimizer.lr = cosine(0.1)", "SGD(lr=cosine(0.3))"),
}


@pytest.mark.parametrize(("before", "optimizer", "meant"), SCHEDULED.values(), ids=SCHEDULED.keys())
def test_an_argument_of_a_schedule_is_a_setting(before: str, optimizer: str, meant: str) -> None:
    text = f"{before}{base('SGD(lr=0.1)', optimizer)}"
    written = identity(meaning(program(base("SGD(lr=0.1)", meant))))
    assert identity(meaning(program(text, "optimizer.lr.start=0.3"))) == written
    assert identity(meaning(program(f"{text}optimizer.lr.start = 0.3\n"))) == written
    assert "NN710" not in {each.code for each in everything(text, "optimizer.lr.start=0.3")}  # the `let` is used
    assert identity(meaning(program(text))) != written
    swept = program(f"{text}sweep {{ optimizer.lr.start = [0.2, 0.3] }}\n").lanes
    assert [lane.name for lane in swept] == ["start=0.2", "start=0.3"]
    assert str(swept[1].optimizer) == str(program(base("SGD(lr=0.1)", meant)).lanes[0].optimizer)
    found = program(f"{text}{VALIDATED}tune {{ race = false; budget = 3; optimizer.lr.start = [0.2, 0.3, 0.4] }}\n")
    assert {lane.optimizer.values()["lr"].start for lane in found.lanes} == {0.2, 0.3, 0.4}


def test_an_argument_of_a_schedule_is_a_setting_of_a_lane() -> None:
    race = "race { SGD(lr=cosine(0.1)); Adam { optimizer.lr = step(0.01, every=2) }; Momentum(0.1) }\n"
    lanes = program(
        base("SGD(lr=0.1)", "Adam", more=race), "SGD.optimizer.lr.start=0.2", "Adam.optimizer.lr.every=1"
    ).lanes
    assert [str(lane.optimizer) for lane in lanes] == [
        "SGD(lr=cosine(0.2))",
        "Adam(lr=step(0.01, every=1))",
        "Momentum(lr=0.1)",
    ]
    found = tuning("tune { budget = 2; SGD.optimizer.lr.start = loguniform(0.01, 1) }", race=f"{race}{VALIDATED}")
    assert [*found.spaces] == ["SGD"]
    fixed = tuned(
        "tune { optimizer.lr.start = [0.1, 0.2] }", "optimizer.lr=0.3", race=f"race {{ SGD; Adam }}\n{VALIDATED}"
    )
    assert fixed.tuning is None  # the flag sets the rate as a whole


@pytest.mark.parametrize(
    ("more", "flag", "said"),
    [
        ("", "optimizer.lr.start=0.3", "`optimizer.lr` is not a part with arguments"),
        ("", "optimizer.eps.x=0.3", "`optimizer.eps` is not a part with arguments"),
        ("optimizer.lr = cosine(0.1)\n", "optimizer.lr.begin=0.3", "`cosine` has no argument `begin`"),
        ("optimizer.lr = cosine(0.1)\n", "optimizer.lr.start.x=0.3", "`optimizer.lr.start` is not a part with"),
        ("train.early_stop = patience(3)\n", "train.early_stop.x=0.3", "`patience` has no argument `x`"),
        ("", "train.early_stop.epochs=3", "unknown setting `train.early_stop.epochs`"),
    ],
)
def test_an_argument_needs_its_part(more: str, flag: str, said: str) -> None:
    (found,) = [each for each in diagnose(base(more=more), flag) if each.severity == "error"]
    assert said in found.message


@pytest.mark.parametrize(
    ("race", "idle"), [("SGD(lr=0.3); Adam", True), ("a { train.epochs = 2 }; SGD(lr=0.3)", False)]
)
def test_an_argument_of_a_schedule_has_no_effect_if_every_lane_replaces_it(race: str, idle: bool) -> None:
    schedule = "optimizer.lr = cosine(0.1)\noptimizer.lr.start = 0.3\n"
    said = [each.message for each in diagnose(base(more=f"{schedule}race {{ {race} }}\n"))]
    assert ("`optimizer.lr.start` has no effect: every lane overrides `optimizer`" in said) == idle


def test_an_argument_of_a_stopping_rule_is_a_setting() -> None:
    text = base(more=f"{VALIDATED}train.early_stop = patience(3)\n")
    (lane,) = program(text, "train.early_stop.epochs=7").lanes
    assert str(lane.train.early_stop) == "patience(7)"


def test_a_logarithmic_scale_is_named() -> None:
    found = tuning("let width = 3\ntune { width = integers(2, 32, log=true) }")
    assert str(found.spaces["SGD"]["width"]) == "integers(2, 32, log=true)"


def test_show_says_that_values_are_only_the_middle_of_spaces(tmp_path: Path) -> None:
    path = tmp_path / "x.nn"
    path.write_text(base(more=f"{RACE}{VALIDATED}tune {{ budget = 3; SGD.optimizer.lr = loguniform(0.01, 1) }}\n"))
    said = command("show", path).stdout
    assert "optimizer       SGD(lr=0.1)" in said
    assert (
        "tune            3 trials by val_loss, halton; until then, settings are in the middle of their spaces" in said
    )
    assert "  optimizer.lr  loguniform(0.01, 1)" in said
    assert said.count("loguniform") == 1
    sgd, adam = json.loads(command("show", path, "--json").stdout)["lanes"]
    assert sgd["tune"]["optimizer.lr"] == "loguniform(0.01, 1)"
    assert "tune" not in adam


def test_a_lane_that_does_not_exist_is_named_with_those_that_do() -> None:
    (found,) = diagnose(base(more=f"{RACE}{VALIDATED}tune {{ Momentum.optimizer.lr = uniform(0.1, 1) }}\n"))
    assert found.help == "there is no lane `Momentum`: the lanes are `SGD`, `Adam`"


def test_settings_of_a_lane_whose_part_is_misspelt_are_not_reported() -> None:
    """A fix of both would exchange the two names."""
    more = f"{VALIDATED}tune {{ Adam.optimizer.lr = uniform(0.1, 1) }}\n"
    (found,) = diagnose(base(more=f"race {{ SGD; Adma }}\n{more}"))
    assert found.help == "did you mean `Adam`?"
    (other,) = diagnose(base(more=f"race {{ SGD; Adams: Adam }}\n{more}"))
    assert other.help == "did you mean `Adams`?"


def test_a_lane_whose_only_space_could_not_be_read_is_not_said_to_set_nothing() -> None:
    broken = diagnose(base(more=f"{RACE}{VALIDATED}tune {{ SGD {{ optimizer.lr = uniform(1 2) }} }}\n"))
    assert [each.code for each in broken] == ["NN101"]
    empty = diagnose(base(more=f"{RACE}{VALIDATED}tune {{ SGD {{ }} }}\n"))
    assert "`SGD` sets nothing here" in [each.message for each in empty]
