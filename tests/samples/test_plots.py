import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import InputError
from samples import plots as plot_files
from samples import story_grammar
from samples.plots import Plot, plots, read_plots, shared
from samples.story_grammar import ending_of, tell


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the grammar's files, which the grammar reads in place of its own."""
    caches = plots, shared, story_grammar._endings
    for file in (*plot_files.PLOT_FILES, "shared.toml"):
        shutil.copy(plot_files.FOLDER / file, tmp_path)
    monkeypatch.setattr(plot_files, "FOLDER", tmp_path)
    for cached in caches:
        cached.cache_clear()
    yield tmp_path
    for cached in caches:
        cached.cache_clear()


@pytest.mark.parametrize("plot", plots(), ids=lambda plot: plot.name)
def test_a_plot_offers_variety_and_names_what_it_is_about(plot: Plot) -> None:
    assert len(plot.things) >= 4
    assert len(plot.summaries) >= 4
    assert plot.endings.keys() >= {"happy", "sad"}
    assert all(len(turns) >= 3 for turns in plot.endings.values())
    assert all("{name}" in summary and "{thing}" in summary for summary in plot.summaries)
    assert set(plot.features) <= {"MoralValue", "Twist", "Foreshadowing", "Conflict"}


SLIPS = [
    ("places = [", "place = [", "[soft_toy] place: unknown key; the keys are things, places,"),
    ('places = ["garden", "park", "yard"]\n', "", "[soft_toy] places: is missing"),
    ('["garden", "park", "yard"]', '"garden"', "[soft_toy] places: must be an array of strings"),
    ('["garden", "park", "yard"]', "[]", "[soft_toy] places: must be an array of strings"),
    ('"teddy bear"', '["teddy bear"]', "[soft_toy] things: must be an array of strings"),
    ('"teddy bear"', '"{color} bear"', "[soft_toy] things: no slot {color}; the slots are none"),
    ("{color}", "{colour}", "[soft_toy] summaries: no slot {colour}; the slots are {name} {kind}"),
    ("{He}", "{mood}", "[soft_toy] beginning: no slot {mood};"),
    ("{place} to look", "{place to look", "[soft_toy] middle: no slot {place to look there too.;"),
    ("happy = [", "hapy = [", "[soft_toy] endings hapy: unknown key; the keys are happy, sad"),
    ("[soft_toy.endings]", "", "[soft_toy] happy: unknown key;"),
    ("[soft_toy]", "", "[things]: must be a table"),
    ("[baking]", "[soft_toy]", "Cannot declare ('soft_toy',) twice"),
    ('"doll",', '"doll"', "Unclosed array (at line "),
]


@pytest.mark.parametrize(("right", "wrong", "message"), SLIPS)
def test_a_slip_in_a_plot_gets_one_clear_line(right: str, wrong: str, message: str, folder: Path) -> None:
    file = folder / "plots_home.toml"
    text = file.read_text()
    assert right in text
    file.write_text(text.replace(right, wrong, 1))
    with pytest.raises(InputError, match=rf"^plots_home.toml: {re.escape(message)}.*\Z"):
        read_plots(file)


def test_another_ending_is_told_where_a_plot_has_it(folder: Path) -> None:
    with pytest.raises(IndexError):
        tell(random.Random(0), "odd")
    with open(folder / "shared.toml", "a") as file:
        file.write('[endings.odd]\nmoods = ["peculiar"]\nclosings = ["{name} and {friend} wondered."]\n')
    home = folder / "plots_home.toml"
    home.write_text(home.read_text().replace("sad = [", 'odd = ["The {thing} hummed."]\nsad = [', 1))
    plots.cache_clear()
    shared.cache_clear()
    for seed in range(10):
        tale = tell(random.Random(seed), "odd")
        assert (tale.plot, tale.ending) == ("soft_toy", "odd")
        assert f"{tale.mentions[-1]} hummed." in tale.story
        assert ending_of(tale.story) == "odd"
