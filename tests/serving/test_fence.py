"""What strangers try with the demo: against the real server, over loopback."""

import json
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from demo import ASKED, CALL, ENOUGH, VISITOR, Pace, Reader, call, jobs_of, nano, post, served, told
from generate import choose_token
from inference.together import Together
from serving import fence
from serving import jobs as queue
from serving.fence import LARGEST_REQUEST, address_of
from serving.jobs import OF_AN_ADDRESS

SECRET = "Rumpelstiltskin"
JOIN = "/gradio_api/queue/join"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served(nano()) as address:
        yield address


def events(address: str, job: str) -> str:
    return VISITOR.get(f"{address}{CALL}/{job}").text


def is_told(address: str) -> bool:
    return (
        told("a dog", "sad", 3).text
        in json.loads(events(address, call(address)).split("data: ")[-1])[0]["text"]
    )


def join(function: Any, session: Any, **more: Any) -> dict[str, Any]:
    return {"data": ASKED, "fn_index": function, "session_hash": session, **more}


@pytest.mark.parametrize(
    "name",
    ["", " ", "x" * 65, "x" * 6_000, "a<gradio-sep>b", "a\n", "a/b", "\u0430", "\ud800", 7, None, ["a"]],
)
def test_a_session_has_a_plain_name(address: str, name: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """The empty one, twice at once, ended Gradio's queue for good; others made Stop fail for everybody."""
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: post(address, JOIN, join(1, name)), range(4)))
    assert {answer.status_code for answer in answers} == {400}
    answers = [post(address, CALL, {"data": ASKED, "session_hash": name}) for _ in range(2)]
    for answer in answers:  # the API needs none, and takes none
        assert "event: complete" in events(address, answer.json()["event_id"])
    assert is_told(address)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "body",
    [
        b'{"data": [], "session_hash": "a", "fn_index": NaN}',
        b'{"data": [], "session_hash": "a", "fn_index": 1e999}',
        b'{"data": [], "session_hash": "a", "fn_index": "Rumpelstiltskin"}',
        b'{"data": [], "session_hash": "a", "fn_index": true}',
        b'{"data": [], "session_hash": "a", "fn_index": -1}',
        b'{"data": "Rumpelstiltskin", "session_hash": "a", "fn_index": 1}',
        b'{"data": {"a": "Rumpelstiltskin"}, "session_hash": "a", "fn_index": 1}',
        b'{"data": [], "session_hash": "a", "fn_index": 1, "trigger_id": "Rumpelstiltskin"}',
        b'["Rumpelstiltskin"]',
        b'"Rumpelstiltskin \\ud800"',
        b"Rumpelstiltskin",
        b"\xff\xfe Rumpelstiltskin",
        b"[" * 8_000,
        b'{"data": ' + b"1" * 5_000 + b"}",
        b"",
    ],
)
@pytest.mark.parametrize("path", [JOIN, "/gradio_api/cancel"])
def test_what_the_page_does_not_send_is_refused_and_not_printed(
    address: str, path: str, body: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = post(address, path, body)
    assert answer.status_code in ((400,) if path == JOIN else (200, 400))  # it need not know the function
    assert SECRET not in answer.text
    assert capfd.readouterr() == ("", "")


def test_what_gradio_raises_is_a_line_with_its_type(capfd: pytest.CaptureFixture[str]) -> None:
    with served(nano()) as address, pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue.Jobs, "join", lambda *_: os.environ[SECRET])  # a bug
        assert post(address, JOIN, join(1, "a")).status_code == 500
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "note: a request failed: KeyError\n")


@pytest.mark.parametrize("function", [0, 1, 10, 999])
@pytest.mark.parametrize("data", [[], [None], [1] * 7, ["a"] * 1000])
def test_only_functions_of_the_page_with_their_values_are_called(
    address: str, function: int, data: list[Any]
) -> None:
    assert post(address, JOIN, join(function, "a", data=data)).status_code in (200, 400)
    assert post(address, CALL, {"data": data}).status_code == 400
    assert is_told(address)


def test_an_unknown_session_and_a_second_reader_are_told_so(capfd: pytest.CaptureFixture[str]) -> None:
    pace = Pace(nano())
    with served(pace.model) as address:
        assert VISITOR.get(f"{address}{CALL}/{SECRET}").status_code == 404
        # A page may ask when its job is over, told by the stream before.
        for query in ("", f"?session_hash={SECRET}"):
            answer = VISITOR.get(f"{address}/gradio_api/queue/data{query}")
            assert answer.text == 'data: {"msg": "close_stream"}\n\n'
        job = call(address)
        with VISITOR.stream("GET", f"{address}{CALL}/{job}") as stream:
            lines = stream.iter_lines()
            pace.allow(20)
            assert next(lines)
            assert VISITOR.get(f"{address}{CALL}/{job}").status_code == 409
            pace.allow(ENOUGH)
            assert told("a dog", "sad", 3).text.split()[-1] in [*lines][-2]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("host", ["[::1", "a b", "a/b", "a" * 300, "x:y", '"><script>'])
def test_a_host_is_the_name_of_one(address: str, host: str, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("Host", "X-Forwarded-Host"):
        assert VISITOR.get(address, headers={name: host}).status_code == 400
    assert capfd.readouterr() == ("", "")


def test_nobody_is_shown_anothers_host(address: str) -> None:
    for name in ("Host", "X-Forwarded-Host", "X-Gradio-Server"):
        VISITOR.get(f"{address}/gradio_api/info", headers={name: "stranger.example"})
        assert "stranger.example" not in VISITOR.get(f"{address}/gradio_api/info").text
        assert "stranger.example" not in VISITOR.get(address).text


@pytest.mark.parametrize("query", ["deep_link=x", "%64eep_link=x", "a=1&deep%5flink", "page=x", "view=api"])
def test_no_query_reaches_gradio(address: str, query: str, capfd: pytest.CaptureFixture[str]) -> None:
    for path in ("/", "/config", "/gradio_api/info"):
        answers = [VISITOR.get(f"{address}{path}?{each}") for each in ("", query)]
        assert answers[0].status_code == answers[1].status_code == 200
        assert answers[0].text == answers[1].text
    assert capfd.readouterr() == ("", "")


def test_health_answers_whoever_asks_and_tells_the_truth() -> None:
    with served(nano()) as address:
        for method in ("GET", "HEAD"):
            assert VISITOR.request(method, f"{address}/health").status_code == 200
    together = Together(nano(), choose_token)
    with served(together) as address:
        together.close()
        for method in ("GET", "HEAD"):
            assert VISITOR.request(method, f"{address}/health").status_code == 503


def test_a_body_in_chunks_is_as_good_as_another_until_it_is_too_large(address: str) -> None:
    body = json.dumps({"data": ASKED}).encode()
    kind = {"Content-Type": "application/json"}
    chunks = (body[i : i + 9] for i in range(0, len(body), 9))
    answer = VISITOR.post(address + CALL, content=chunks, headers=kind)
    assert "event: complete" in events(address, answer.json()["event_id"])
    large = (b" " * 1000 for _ in range(9))
    assert VISITOR.post(address + CALL, content=large, headers=kind).status_code == 413
    assert post(address, CALL, b" " * (LARGEST_REQUEST + 1)).status_code == 413


def test_a_body_that_does_not_come_is_not_waited_for(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence, "SECONDS_TO_SEND", 0.05)
    port = int(address.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=60) as slow:
        kind = "Content-Type: application/json\r\nContent-Length: 99"
        slow.sendall(f"POST {CALL} HTTP/1.1\r\nHost: a\r\n{kind}\r\n\r\n{{".encode())
        assert slow.recv(1000).startswith(b"HTTP/1.1 408")


def test_the_line_that_the_page_shows_for_curl_works(address: str) -> None:
    answer = post(address, "/gradio_api/call/v2/story", {"topic": "a dog", "ending": "sad", "seed": 3})
    job = answer.raise_for_status().json()["event_id"]
    assert (
        json.dumps(told("a dog", "sad", 3).text)
        in VISITOR.get(f"{address}/gradio_api/call/v2/story/{job}").text
    )


def test_a_parameter_that_the_api_does_not_know_is_named_by_what_it_knows(address: str) -> None:
    answer = post(address, "/gradio_api/call/v2/story", {SECRET: SECRET})
    assert answer.status_code == 400
    assert "known are: topic, ending, temperature" in answer.text
    assert SECRET not in answer.text


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_another_website_cannot_make_its_visitors_ask(address: str, kind: str) -> None:
    answer = VISITOR.post(address + CALL, content=json.dumps({"data": ASKED}), headers={"Content-Type": kind})
    assert answer.status_code == 415


def test_an_address_has_its_share_and_a_strength_counts_double() -> None:
    pace = Pace(nano())
    strong = [*ASKED[:4], 2, 3]
    with served(pace.model, share=4) as address:
        pace.allow(40)
        first = [Reader(address, asked, "192.0.2.1") for asked in (ASKED, strong, ASKED)]
        for reader in first:
            assert reader.began.wait(60)
        for asked, of in (
            (ASKED, "192.0.2.1"),
            (strong, "6.6.6.6, 192.0.2.1:4711"),
            (ASKED, "::ffff:192.0.2.1"),
        ):
            assert "for your address" in Reader(address, asked, of).text()
        other = Reader(address, ASKED, "192.0.2.2")
        pace.allow(ENOUGH)
        assert all("event: complete" in reader.text() for reader in [*first, other])
        assert "event: complete" in Reader(address, ASKED, "192.0.2.1").text()


@pytest.mark.parametrize(
    ("proxies", "one", "other"),
    [
        pytest.param("10.0.0.0/8", "192.0.2.1", "192.0.2.2", id="only a proxy may say who somebody is"),
        pytest.param("127.0.0.1", "2001:db8::1", "2001:db8::2:2", id="a network of IPv6 is one visitor"),
    ],
)
def test_two_names_may_be_of_one_visitor(proxies: str, one: str, other: str) -> None:
    pace = Pace(nano())
    with served(pace.model, share=1, proxies=proxies) as address:
        pace.allow(40)
        first = Reader(address, ASKED, one)
        assert first.began.wait(60)
        assert "for your address" in Reader(address, ASKED, other).text()
        pace.allow(ENOUGH)
        first.text()


def test_a_proxy_that_says_it_by_another_header_is_believed_by_that_one_alone() -> None:
    pace = Pace(nano())
    with served(pace.model, share=1, visitor_header="X-Real-IP") as address:
        pace.allow(40)
        first = Reader(address, ASKED, "192.0.2.1")  # by X-Forwarded-For
        assert first.began.wait(60)
        assert "for your address" in Reader(address, ASKED, "192.0.2.2").text()
        joined = post(address, CALL, {"data": ASKED}, **{"X-Real-IP": "192.0.2.2"}).json()
        pace.allow(ENOUGH)
        assert "event: complete" in VISITOR.get(f"{address}{CALL}/{joined['event_id']}").text
        first.text()


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1:4711", "192.0.2.1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("unknown", "None"),
        ("", "None"),
    ],
)
def test_an_address_is_one_however_it_is_written(written: str, address: str) -> None:
    assert str(address_of(written)) == address


def test_who_never_reads_keeps_nobody_out_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(nano(), share=4) as address:
        answers = [post(address, CALL, {"data": ASKED}).status_code for _ in range(OF_AN_ADDRESS + 5)]
        assert answers == [200] * OF_AN_ADDRESS + [429] * 5
        assert "event: complete" in Reader(address, ASKED, "192.0.2.5").text()
        assert len(jobs_of(address)) == OF_AN_ADDRESS
        monkeypatch.setattr(queue, "UNREAD_FOR", 0.0)
        assert "event: complete" in events(address, call(address))
        assert len(jobs_of(address)) == 0


def test_a_class_of_children_behind_one_address_needs_a_share() -> None:
    with served(nano(), share=40) as address:
        children = [Reader(address, [*ASKED[:5], seed], "192.0.2.1") for seed in range(40)]
        assert all("event: complete" in child.text() for child in children)


def test_who_leaves_in_the_middle_leaves_nothing() -> None:
    pace = Pace(nano())
    with served(pace.model, most_rows=1, share=1) as address:
        for _ in range(5):
            pace.allow(3)
            job = call(address)
            with VISITOR.stream("GET", f"{address}{CALL}/{job}") as stream:
                assert next(stream.iter_lines())
        pace.allow(ENOUGH)
        while "event: complete" not in events(address, call(address)):
            pass  # until the last one's end has been noticed
        assert len(jobs_of(address)) == 0


def test_others_who_come_and_cancel_change_nothing() -> None:
    """By that, Gradio's queue could be ended, or its places used up."""
    pace = Pace(nano())
    with served(pace.model, most_rows=1) as address:
        waiting = [Reader(address, ASKED, f"192.0.2.{i}") for i in range(3)]
        api = jobs_of(address).of_api("story")

        def come_and_go(number: int) -> None:
            session, of = f"s{number % 7}", {"X-Forwarded-For": f"198.51.{number % 50}.1"}
            joined = post(address, JOIN, join(api, session), **of)
            for job in (joined.json().get("event_id"), "x", None):
                cancelled = {"event_id": job, "session_hash": session, "fn_index": api}
                assert post(address, "/gradio_api/cancel", cancelled).status_code == 200

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(come_and_go, range(300)))
        pace.allow(ENOUGH)
        assert all("event: complete" in reader.text() for reader in waiting)
        assert len(jobs_of(address)) == 0


def test_to_look_at_the_page_costs_no_step_of_the_model() -> None:
    pace = Pace(nano())
    with served(pace.model) as address:
        for path in ("/", "/config", "/gradio_api/info", "/gradio_api/app_id", "/health", "/theme.css"):
            assert VISITOR.get(address + path).status_code == 200
    assert pace.steps == 0
