"""CSV records: where each ends, whatever quotes and line ends it has; what cannot be told is malformed, never guessed."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipelines.errors import LandingError
from pipelines.landing.formats.base import BLOCK_BYTES
from pipelines.landing.formats.csv_records import Records
from tests.pipelines.landing.bronze_rows import Read, malformed, places, values

HEADER = b"part,holes,weight\n"


@dataclass
class Drip:
    """A stream that gives a few bytes at a time."""

    content: bytes
    size: int

    def read(self, size: int) -> bytes:
        taken, self.content = self.content[: self.size], self.content[self.size :]
        return taken


def one_by_one(text: str) -> list[tuple[str, bool]]:
    """The records and malformed lines of a text, each with whether it is a record: by one character after another."""
    found: list[tuple[str, bool]] = []
    start = 0
    while start < len(text):
        position, state = start, "begin"
        while position < len(text):
            character = text[position]
            if state == "quoted":
                state = "closed" if character == '"' else "quoted"
            elif state == "closed" and character == '"':
                state = "quoted"
            elif (state == "closed" and character not in ",\r\n") or character in "\r\n":
                break
            else:
                state = "begin" if character == "," else "quoted" if (state, character) == ("begin", '"') else "plain"
            position += 1
        is_record = state != "quoted" and (position == len(text) or text[position] in "\r\n")
        while position < len(text) and text[position] not in "\r\n":
            position += 1
        read = text[start:position]
        found += [(read, True)] if is_record else [(line, False) for line in io.StringIO(read.replace("\r", "\n"))]
        start = position + 1
    return [(line.strip("\n"), is_record) for line, is_record in found if line.strip("\r\n")]


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.sampled_from('",\n\ra"b'), max_size=30), size=st.integers(1, 40))
@example(text='3,"c\n4,d\n5,"e"\n6,f\n', size=100)
@example(text='a,""x\r\n"b\r\nc"\r\n', size=3)
def test_the_records_are_those_of_one_character_after_another_however_the_text_comes(text: str, size: int) -> None:
    records = Records(Drip(b"header\n" + text.encode(), size), ",")
    assert records.first() == b"header"
    found: list[tuple[str, bool]] = []
    for block in records.blocks():
        texts = records.texts(block.data)
        numbers = range(len(texts)) if block.numbers is None else block.numbers
        lines = dict(zip(numbers, ((text, True) for text in texts), strict=True))
        lines |= {number: (line, False) for number, line in block.malformed.items()}
        found += [(lines[number][0].decode(), lines[number][1]) for number in sorted(lines)]
    assert found == one_by_one(text)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.text(st.sampled_from('",\r a\0é'), max_size=12), max_size=8))
def test_each_record_is_a_row_with_its_values_or_a_malformed_one_with_its_text(read: Read, lines: list[str]) -> None:
    text = "\n".join(lines)
    rows = read(HEADER + text.encode())
    expected: list[tuple[str | None, ...] | str] = []
    for record, is_record in one_by_one(text):
        fields = next(csv.reader(io.StringIO(record, newline=""))) if is_record else []
        is_row = len(fields) == 3 and "\0" not in record
        expected.append(tuple(fields) if is_row else record.replace("\0", "\\x00"))
    kept = malformed(rows)
    assert {
        row["_source_row"]: kept.get(row["_source_row"], value) for row, value in zip(rows, values(rows), strict=True)
    } == dict(enumerate(expected, 2))


@pytest.mark.parametrize(
    ("body", "clean", "kept"),
    [
        ('1,a,x\n3,"c,\n4,d,y\n5,"e",z\n6,f,x\n', [2, 6], [3, 4, 5]),
        ('1,a,x\n2,b,"never closed\n3,c,x\n', [2], [3, 4]),
        ('1,a,"x"y\n2,b,x\n', [3], [2]),
        ('1,a 5" pipe,x\n2,b,"y"\n', [2, 3], []),
        ('1,"a\nb",x\n2,"c"d,x\n3,"e\nf",x\n', [2, 4], [3]),
        ('1,"a\r\n""b""\rc",x\r2,b,y\r\n3,c,z', [2, 3, 4], []),
    ],
    ids=["stray quote", "not closed", "text behind", "quote within", "several lines", "line ends"],
)  # fmt: skip
def test_rows_whose_quotes_do_not_close_are_malformed_with_their_lines(
    read: Read, body: str, clean: list[int], kept: list[int]
) -> None:
    rows = read(HEADER + body.encode())
    lines = body.replace("\r\n", "\n").splitlines()
    assert sorted(places(rows)) == sorted([*clean, *kept])
    assert sorted(malformed(rows)) == kept
    assert set(malformed(rows).values()) <= set(lines)


@pytest.mark.parametrize("delimiter", [",", ";", "|", "\t"])
def test_a_malformed_line_is_kept_as_it_arrived(read: Read, delimiter: str) -> None:
    lines = ['1|"a, ""b"""|caf\xe9', "2|x", '3|"x\ny"|a\0b', '4|"c"d|z', "5|x|y"]
    arrived = "\n".join(["part|holes|weight", *lines]).replace("|", delimiter).encode("latin-1")
    kept = malformed(read(arrived, delimiter=delimiter))
    shown = {2: lines[0].replace("\xe9", "\\xe9"), 3: lines[1], 4: lines[2].replace("\0", "\\x00"), 5: lines[3]}
    assert kept == {place: line.replace("|", delimiter) for place, line in shown.items()}


def test_quotes_are_read_the_same_in_a_file_of_several_blocks(read: Read) -> None:
    row, count = '{n},"a ""b""\n, c","' + "x" * 90 + '"', 90_000
    lines = [row.format(n=n) for n in range(count)]
    assert sum(map(len, lines)) > BLOCK_BYTES
    for broken in ([], [7, count - 3]):
        for n in broken:
            lines[n] = f'{n},5" wide,"x"y'
        rows = read(HEADER + "\n".join(lines).encode())
        assert sorted(malformed(rows)) == [n + 2 for n in broken]
        clean = {row["_source_row"]: (row["part"], row["holes"]) for row in rows if row["part"]}
        assert clean == {n + 2: (str(n), 'a "b"\n, c') for n in range(count) if n not in broken}


def test_a_quote_that_is_not_closed_for_many_mebibytes_refuses_the_file(read: Read) -> None:
    with pytest.raises(LandingError, match=r"a row of more than 8388608 bytes: .* a quote that is not closed"):
        read(HEADER + b'1,2,"x\n' + b"1,2,3\n" * (BLOCK_BYTES // 2))


@pytest.mark.parametrize("header", [b'part,"holes,weight\n1,2,3\n', b'part,"ho"les,weight\n1,2,3\n'])
def test_a_header_with_a_quote_that_does_not_close_is_refused(read: Read, header: bytes) -> None:
    with pytest.raises(LandingError, match="a first line that is no header: a quote that is not closed"):
        read(header)


def test_what_is_rescued_keeps_its_characters(read: Read) -> None:
    rows = read('part,holes,weight,größe\n1,2,3,"é ""x"""\n'.encode())
    assert rows[0]["_rescued"] == '{"größe": "é \\"x\\""}'
    assert json.loads(rows[0]["_rescued"]) == {"größe": 'é "x"'}
