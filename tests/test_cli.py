import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent.parent


@pytest.mark.parametrize("script", ["prepare_data.py", "finetune.py", "generate.py", "quickstart.py"])
def test_a_bad_setting_as_a_newcomer_sees_it(script: str) -> None:
    bad = subprocess.run([sys.executable, HERE / script, "--seed", "-1"], capture_output=True, text=True)
    assert bad.returncode == 2
    assert bad.stdout == ""
    assert bad.stderr == f"{script}: error: --seed -1: must be at least 0{AT_MOST.get(script, '')}\n"


AT_MOST = {"finetune.py": " and at most 4294967295"}
