from dataclasses import dataclass

import pytest

from common.cli import parse, setting
from common.errors import InputError
from forked import Forked, run_script

SCRIPTS = ("prepare_data.py", "finetune.py", "generate.py", "evaluate.py", "quickstart.py")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_bad_setting_as_a_newcomer_sees_it(script: str) -> None:
    bad = Forked(run_script, script, "--seed", "-1").finish()
    assert bad.returncode == 2
    assert bad.stdout == ""
    assert bad.stderr == f"{script}: error: --seed -1: must be at least 0{AT_MOST.get(script, '')}\n"


AT_MOST = dict.fromkeys(("finetune.py", "generate.py", "quickstart.py"), " and at most 4294967295")


@dataclass(frozen=True)
class Several:
    name: tuple[str, ...] = setting((), "names")
    share: tuple[float, ...] = setting((1.0, 2.5), "shares", at_least=0, at_most=3)


def test_an_option_may_take_several_values() -> None:
    assert parse(Several, [], None) == Several((), (1.0, 2.5))
    assert parse(Several, ["--share", "1", "0.5", "--name", "a", "b"], None) == Several(
        ("a", "b"), (1.0, 0.5)
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--share", "1", "-1", "4"], "--share -1.0: must be .* at most 3; --share 4.0: must be"),
        (["--share", "nan"], "--share nan: must be finite"),
        (["--share", "x"], "--share"),
        (["--name"], "--name"),
    ],
)
def test_limits_hold_for_each_of_several_values(given: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse(Several, given, None)
