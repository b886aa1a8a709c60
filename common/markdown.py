"""Markdown tables, for cards, reports and the terminal."""


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def aligned_table(head: list[str], rows: list[list[str]]) -> str:
    """The same with columns of one width, to be read as it is."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    padded = [[text.ljust(width) for text, width in zip(row, widths, strict=True)] for row in [head, *rows]]
    return table(padded[0], padded[1:])
