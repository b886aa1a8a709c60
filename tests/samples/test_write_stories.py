import json
from collections import Counter
from pathlib import Path

from samples import write_stories
from samples.story_grammar import ending_of


def test_a_file_of_stories_with_three_endings(tmp_path: Path) -> None:
    file = tmp_path / "new" / "stories.jsonl"
    write_stories.main(["--output", str(file), "--stories", "300"])
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == 300
    assert all(list(line) == ["topic", "ending", "story"] for line in lines)
    assert all(ending_of(line["story"]) == line["ending"] for line in lines)
    counts = Counter(line["ending"] for line in lines)
    assert counts.keys() == {"funny", "happy", "sad"}
    assert min(counts.values()) > 70
    before = file.read_bytes()
    write_stories.main(["--output", str(file), "--stories", "300"])
    assert file.read_bytes() == before
    write_stories.main(["--output", str(file), "--stories", "300", "--seed", "1"])
    assert file.read_bytes() != before
