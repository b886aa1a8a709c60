"""Parquet files of text: the columns that are wanted, with a text in every row."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import InputError, one_line
from common.files import refuse_lfs_pointer

if TYPE_CHECKING:
    import pyarrow as pa


def read_parquet(
    files: Sequence[Path], columns: Sequence[str], longest: int, may_be_blank: str = ""
) -> "pa.Table":
    """The columns of files, as strings. Raises InputError if one is missing, or a row holds no text, or more
    than `longest` characters. The column `may_be_blank` may be so in all rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = []
    for file in files:
        refuse_lfs_pointer(file)
        try:
            with open(file, "rb") as content:  # pyarrow itself would take the path for UTF-8 in any locale
                tables.append(_as_text(pq.ParquetFile(content).read(), file, columns, longest, may_be_blank))
        except (OSError, pa.ArrowException, KeyError) as error:
            raise InputError(
                f"{file}: damaged, or not a Parquet file of text ({one_line(error)}); make it anew"
            ) from error
    table = pa.concat_tables(tables)
    if not len(table):
        raise InputError(f"{files[0]}: holds no rows; remove the file, or make it anew")
    return table


def _as_text(
    table: "pa.Table", file: Path, columns: Sequence[str], longest: int, may_be_blank: str
) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.compute as pc

    if missing := [column for column in columns if column not in table.column_names]:
        raise InputError(f"{file}: lacks the columns {', '.join(missing)}; add them")
    table = table.select(columns)
    for column, field in zip(columns, table.schema, strict=True):
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if kind not in (pa.string(), pa.large_string(), pa.string_view()):
            raise InputError(f"{file}: {column} holds {kind}, not text; write it as strings")
    table = table.cast(pa.schema([(column, pa.string()) for column in columns]))
    for column in columns:
        if column == may_be_blank and pc.unique(table[column]).to_pylist() == [""]:
            continue
        texts = table[column].fill_null("")
        empty = pc.equal(pc.utf8_trim_whitespace(texts), "")
        long = pc.greater(pc.utf8_length(texts), longest)
        for unfit, what in ((empty, "empty"), (long, f"longer than {longest:,} characters")):
            if (row := pc.index(unfit, True).as_py()) >= 0:
                raise InputError(f"{file}: {column} of row {row} (from 0) is {what}; remove that row")
    return table
