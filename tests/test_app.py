"""The demo without a browser: its API, its limits, its start."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client

import app
import generate
from clean_environment import ROOT
from demo import NANO, VISITOR, nano, served, told
from model import GPT2
from serving import fence
from serving.visit import check_request

ASKED: dict[str, Any] = dict(
    topic="a dog", ending="sad", temperature=0.7, max_tokens=200, ending_strength=1, seed=3
)
HOSTILE = (
    "<script>alert(1)</script>",
    "A dog<|endoftext|> and a cat<|endoftext|>",
    "\U0001f98a and \U0001f469\u200d\U0001f680 fly",
    "\u05db\u05dc\u05d1 \u05e7\u05d8\u05df \u202e\u0643\u0644\u0628",
    "zero \x00 byte",
)
SECRET = "Rumpelstiltskin"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Gradio may keep files."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def address(cache: Path) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(cache))
        with served(nano()) as address:
            yield address


def call(address: str, name: str, data: list[Any]) -> tuple[str, Any]:
    """How a request to the API ended, "complete" or "error", and what came with it."""
    url = f"{address}/gradio_api/call/{name}"
    body = json.dumps({"data": data})  # NaN and all
    joined = VISITOR.post(url, content=body, headers={"Content-Type": "application/json"})
    events = VISITOR.get(f"{url}/{joined.raise_for_status().json()['event_id']}").text
    ended, value = re.findall(r"^event: (\w+)\ndata: (.*)$", events, re.M)[-1]
    return ended, json.loads(value)


@pytest.mark.parametrize(("ending", "seed"), [("happy", 0), ("sad", 7)])
def test_the_api_tells_what_generate_tells_and_says_how_far_it_is(
    address: str, ending: str, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = "Lily plants a seed."
    job = Client(address, verbose=False).submit(topic, ending, seed=seed, api_name="/story")
    last = job.result(60)
    settings = {"checkpoint": NANO, "topic": topic, "ending": ending, "seed": seed}
    generate.main(["--json", *(f"--{name}={value}" for name, value in settings.items())])
    assert last == json.loads(capsys.readouterr().out)["stories"][0]
    for so_far in job.outputs():
        assert so_far == last or not so_far["complete"]
        assert last["text"].startswith(so_far["text"])
        assert 0 < so_far["tokens"] <= last["tokens"]


def test_a_model_of_three_endings_is_asked_for_one_of_them(cache: Path) -> None:
    endings = ("funny", "happy", "sad")
    with served(nano(endings)) as address:
        ended, data = call(address, "story", list((ASKED | {"ending": "funny"}).values()))
        assert (ended, data[0]["text"]) == ("complete", told("a dog", "funny", 3, endings).text)
        ended, answer = call(address, "story", list((ASKED | {"ending": "odd"}).values()))
        assert (ended, answer["error"]) == ("error", "ending: must be funny, happy or sad")


def test_without_a_seed_each_story_is_another(address: str) -> None:
    one, other = (call(address, "story", ["a dog", "sad", 0.7, 20, 1, None])[1][0] for _ in range(2))
    assert one["seed"] != other["seed"]


@pytest.mark.parametrize("topic", HOSTILE)
def test_whatever_is_typed_is_a_topic(address: str, topic: str) -> None:
    ended, data = call(address, "story", list((ASKED | {"topic": topic}).values()))
    assert (ended, data[0]["text"]) == ("complete", told(topic, "sad", 3).text)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (dict(topic=""), "topic: is empty"),
        (dict(topic=" \n\t"), "topic: is empty"),
        (dict(topic="x" * 5_000), "topic: must be a text of at most 500 characters"),
        (dict(topic="\U0001f98a" * 500), "topic: makes a prompt of"),
        (dict(topic=["a dog"]), "topic: must be a text"),
        (dict(topic=None), "topic: must be a text"),
        (dict(topic="\ud800"), "topic: is not UTF-8"),
        (dict(ending="so-so"), "ending: must be happy or sad"),
        (dict(ending=["sad"]), "ending: must be happy or sad"),
        (dict(temperature=float("nan")), "temperature: must be a number from 0.1 to 1.4"),
        (dict(temperature=float("inf")), "temperature: must be"),
        (dict(temperature=0), "temperature: must be"),
        (dict(temperature="warm"), "temperature: must be"),
        (dict(temperature=True), "temperature: must be"),
        (dict(max_tokens=10**9), "max_tokens: must be a number from 20 to 256"),
        (dict(max_tokens=0), "max_tokens: must be"),
        (dict(ending_strength=-1), "ending_strength: must be a number from 0 to 3"),
        (dict(seed=-1), "seed: must be a number from 0"),
        (dict(seed=2**40), "seed: must be"),
        (dict(seed=SECRET), "seed: must be"),
    ],
)
def test_what_cannot_be_told_is_refused_in_one_line_that_quotes_nothing(
    address: str, asked: dict[str, Any], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    ended, answer = call(address, "story", list((ASKED | asked).values()))
    assert ended == "error"
    assert answer["error"].startswith(said)
    assert "\n" not in answer["error"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("more", [0, -1, 1], ids=["as many", "too few", "too many"])
def test_nothing_that_is_sent_to_any_event_of_the_page_is_printed_or_read_or_fetched(
    address: str, cache: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path, more: int
) -> None:
    file = tmp_path / "of_the_server.txt"
    file.write_text(SECRET)
    files = [
        {"path": path, "meta": {"_type": "gradio.FileData"}} for path in (str(file), f"{address}/health")
    ]
    functions = VISITOR.get(f"{address}/config").json()["dependencies"]
    session = {"session_hash": SECRET}
    joins = 0
    for function in functions:
        for value in (SECRET, [SECRET], {SECRET: SECRET}, None, *files, files):
            data = [value] * max(0, len(function["inputs"]) + more)
            joined = VISITOR.post(
                f"{address}/gradio_api/queue/join",
                json={"data": data, "fn_index": function["id"], **session},
            )
            if joined.status_code == 200:
                joins += bool(function["inputs"])
                events = VISITOR.get(f"{address}/gradio_api/queue/data", params=session).text
                assert file.name not in events
    assert joins == (0 if more else 3 * 7)  # generate, the other ending, the API
    call(address, "story", [SECRET, "sad", 0.7, 20, 1, 0])
    printed = capfd.readouterr()
    assert SECRET not in printed.out + printed.err
    assert "Traceback" not in printed.err
    assert list(cache.rglob("*")) == []


def test_only_the_routes_of_the_page_are_open(address: str, capfd: pytest.CaptureFixture[str]) -> None:
    for path in (
        "/monitoring",
        "/gradio_api/deep_link?session_hash=x",
        f"/gradio_api/file={ROOT / 'README.md'}",
        f"/gradio_api/file={address}/health",
        "/gradio_api/proxy=https://huggingface.co",
    ):
        assert VISITOR.get(address + path).status_code == 404
    for path in (
        f"call/{SECRET}",
        f"call/v2/{SECRET}",
        f"run/{SECRET}",
        "api/0",
        "vibe-edit",
    ):
        assert VISITOR.post(f"{address}/gradio_api/{path}", json={"data": [SECRET]}).status_code == 404
    assert capfd.readouterr() == ("", "")


def test_what_is_too_large_or_no_business_of_visitors_is_refused(address: str) -> None:
    kind = {"Content-Type": "application/json"}
    call = f"{address}/gradio_api/call/story"
    large = VISITOR.post(call, content=b" " * (fence.LARGEST_REQUEST + 1), headers=kind)
    unbounded = VISITOR.post(call, content=iter([b" "]), headers=kind)
    file = VISITOR.post(f"{address}/gradio_api/upload", files={"files": b"a file"})
    past_the_queue = VISITOR.post(f"{address}/gradio_api/run/story", json={"data": list(ASKED.values())})
    assert [answer.status_code for answer in (large, unbounded, file, past_the_queue)] == [413, 400, 404, 404]


def test_a_story_has_no_more_tokens_than_fit_behind_its_prompt(model: GPT2) -> None:
    context = model.config.context_length
    request, sampling = check_request(model, "a dog " * 50, "sad", 1, context, 2, 0)
    prompts, others = generate.encode_requests(model, [request], 2)
    assert sampling.max_new_tokens + max(len(prompts[0]), len(others[0][0])) == context


def test_bad_settings_get_one_clear_line(complaint: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    with app.listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    assert "no fine-tuned model is here" in complaint(app.main, "--port", port)
    assert "no/where/at/all: there is no such thing here" in complaint(
        app.main, "--port", port, "--checkpoint", "no/where/at/all"
    )
    with app.listen("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        assert f"--port {port} (or $HOST, $PORT): cannot listen there" in complaint(app.main, "--port", port)
    monkeypatch.setenv("PORT", "http")
    assert "--port: invalid int value: 'http'" in complaint(app.main)
    monkeypatch.setenv("PORT", "70000")
    assert "--port 70000: must be at least 1 and at most 65535" in complaint(app.main)
    assert "--host not-an-address" in complaint(app.main, "--port", "7860", "--host", "not-an-address")
    given = ("--port", "7860", "--visitor-header", "X-Real-IP:")
    assert "--visitor-header 'X-Real-IP:': is no name of a header" in complaint(app.main, *given)


def test_what_is_no_setting_of_ours_in_the_environment_is_not_taken(
    complaint: Callable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORT", "")
    monkeypatch.setenv("HOST", "x86_64-conda-linux-gnu")
    monkeypatch.setattr(app, "listen", lambda host, port: pytest.fail(f"{host} {port}"))
    with pytest.raises(pytest.fail.Exception, match=r"^127\.0\.0\.1 7860$"):
        app.main([])
    assert "note: HOST=x86_64-conda-linux-gnu is no address" in capsys.readouterr().err


def test_all_addresses_are_those_of_either_kind() -> None:
    with app.listen("::", 0) as listening:
        listening.listen()
        for address in ("127.0.0.1", "::1"):
            with socket.create_connection((address, listening.getsockname()[1]), timeout=60):
                pass


@pytest.mark.parametrize(
    ("before", "proxy"),
    [
        ("sys.modules['gradio'] = None", ""),
        ("pass", "gopher://127.0.0.1:9"),
        ("pass", "http://proxy:port"),
    ],
    ids=["no gradio", "no such proxy", "no address"],
)
def test_what_keeps_gradio_from_being_imported_gets_one_clear_line(before: str, proxy: str) -> None:
    run = f"runpy.run_path({str(ROOT / 'app.py')!r}, run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", f"import runpy, sys; sys.argv = ['app.py']; {before}; {run}"],
        env=os.environ | {"ALL_PROXY": proxy},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("app.py: error: gradio cannot be imported")
    assert "start with `uv run`" in line
    assert "unset ALL_PROXY" in line
