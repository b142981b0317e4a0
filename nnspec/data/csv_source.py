"""The user's own table, from a CSV file: a row per sample, a column per feature or target."""

from __future__ import annotations

import itertools
import os
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, replace
from functools import cached_property
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal, cast

from nnspec.data.csv_cells import Form, in_words, listed
from nnspec.data.csv_columns import MOST_COLUMNS, MOST_TEXTS, ReadColumn, ReadTable
from nnspec.data.csv_file import MOST_BYTES, CsvFile
from nnspec.data.files import changed, digest_of, open_file, remembered
from nnspec.data.several import WHOLE
from nnspec.data.source import Access, Column, Dataset, DataSource, Facts, Field, FileFault, Remark, Split, fields_of
from nnspec.data.splitting import Seed, Share, divided, shares
from nnspec.data.vocabulary import USUAL_WORDS, VocabularySize
from nnspec.data.windows import Windows
from nnspec.engine._numpy import np
from nnspec.engine.part import Also, Count, FilePath, Range

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CSV"]

MOST_NUMBERS = 1 << 27
MOST_IDS = 1 << 24
"""The most ids that are all distinct in float32."""
MOST_LOOKED_AT = 16 * 1024**2
"""The largest table, in bytes, whose columns `check` compares."""
_TABLES = (".csv", ".tsv", ".tab", ".txt", ".data")
_SURE = 20
"""With at least this many rows, a column that numbers them or determines the target does not do so by chance."""


class CSV(DataSource):
    """A CSV table: the first line names the columns, and each further line is a sample. `target` is what to predict.

    The first cell of a column that is not missing decides whether the column holds numbers or text; columns listed in
    `categories` always hold text. Numbers are kept as they are (`train.standardise` scales them). A text feature is
    one-hot encoded, its texts sorted. A text target means classes, sorted as text, or by value if all of them are
    numbers. A target of numbers means a regression, unless the loss takes classes and all numbers are whole. Several
    targets are predicted at once. All other columns are features, or only those in `features`, or all but those in
    `drop`. A column without a name is never a feature.

    `decimal`, `thousands` and `strip` say how numbers are written, as in `1.234,5 %`. A cell is missing if it is empty,
    or in a column of numbers if it is one of `missing_words` (by default ?, -, NA, N/A, NaN, null, none, missing).
    Words that are given explicitly apply to text columns too, except to those in `categories` and to quoted cells.
    A missing cell is an error that says where it is; with `missing = drop` its row is dropped, and with
    `missing = mean` it becomes the column's mean over the training rows, or zeros in a one-hot encoded column.

    The columns in `embed` become ids, for `Embedding`: their texts in the training rows, sorted, from 1 on, and 0 for
    any other. Each is an input of its own, called as its column, and `numbers` is that of all other features:
    `from(user); Embedding(16)`. A column in `words` is text that is read as ids of words: the first `length` words of a
    cell, filled with the id 0 of padding. At most `vocabulary` ids are for padding, unknown words (1), and the most
    frequent words of the training rows. A single column of ids and no other features are the only input, without a
    name.

    `test` is the fraction of rows held out for testing, or the path of another table with the same columns. Rows are
    shuffled by `seed`, and the last ones are the test set; without `shuffle` they keep the order of the file. With
    `stratify`, every class has the same share in both sets. `validation` is the path of a table with the same columns,
    used for validation (`train.validation = given`, the default).

    With `window`, the table is a time series, and a sample is `window` consecutive rows, `(window, features)`: sample i
    begins at row i · `stride`, and takes every `sampling`-th row. Its target is `horizon` rows after its last row. All
    columns are features, including the target with its past, except those in `drop`. The last fraction `test` of the
    rows is the test set, and rows are not shuffled: no window, with its target, has rows of both sets. Likewise,
    `validation = last(…)` skips the training samples that share rows with held-out ones. Rows with missing cells cannot
    be dropped, since a window would have a gap. All windows have at most 2²⁷ numbers.

    The file is UTF-8, at most 64 MiB. y is int64 for classes and float64 otherwise.
    """

    spec_name = "CSV"
    also = ("Csv", "read_csv", "TSV", "Table", "CsvFile", "DataFrame")

    path: Annotated[FilePath, Also("file", "filename")]
    target: Annotated[str | tuple[str, ...], Also("label", "y", "targets", "label_column")]
    _: KW_ONLY
    test: Annotated[
        Share | FilePath, Also("test_size", "test_split", "split", "test_path", "path_test", "test_file")
    ] = 0.2
    validation: Annotated[
        FilePath | None, Also("val", "valid", "val_path", "validation_path", "validation_file", "dev")
    ] = None
    features: Annotated[tuple[str, ...] | None, Also("columns", "x", "usecols")] = None
    drop: Annotated[tuple[str, ...], Also("exclude", "ignore", "drop_columns", "index_col")] = ()
    embed: Annotated[tuple[str, ...], Also("embeddings", "ids", "embedding_columns", "lookup")] = ()
    words: Annotated[str | tuple[str, ...], Also("sentences", "texts", "tokenize", "text_column")] = ()
    vocabulary: VocabularySize = USUAL_WORDS
    length: Annotated[int, Range(low=1, high=65_536), Also("max_len", "maxlen", "context")] = 200
    categories: Annotated[tuple[str, ...], Also("categorical", "onehot", "one_hot", "classes")] = ()
    missing: Annotated[Literal["error", "drop", "mean"], Also("na", "nan", "fillna", "impute")] = "error"
    missing_words: Annotated[tuple[str, ...] | None, Also("na_values", "missing_values", "null_values")] = None
    delimiter: Annotated[str, Also("sep", "separator")] = ","
    decimal: Annotated[str, Also("decimal_point", "dec")] = "."
    thousands: Annotated[str | None, Also("thousands_separator", "grouping")] = None
    strip: Annotated[str, Also("units", "symbols")] = ""
    comment: Annotated[str | None, Also("comments", "skiprows", "comment_prefix")] = None
    window: Annotated[
        Annotated[int, Range(low=1, high=65_536)] | None,
        Also("sequence_length", "window_size", "lookback", "past", "history", "input_width", "timesteps"),
    ] = None
    horizon: Annotated[Count, Also("delay", "future", "ahead", "steps_ahead", "forecast_horizon", "offset")] = 1
    stride: Annotated[Count, Also("sequence_stride", "hop", "shift")] = 1
    sampling: Annotated[Count, Also("sampling_rate", "every", "downsample", "step")] = 1
    shuffle: bool = True
    stratify: Annotated[bool, Also("stratified")] = False
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Raise ValueError for arguments that exclude each other."""
        if self.window is None:
            for word in ("horizon", "stride", "sampling"):
                if getattr(self, word) != 1:
                    raise ValueError(f"`{word}` is for windows of a time series; add `window`, their number of rows")
            return
        if self.missing == "drop":
            raise ValueError("`missing = drop` would leave gaps in windows; use `missing = mean`, or fill in the table")
        if self.embed or self.words:
            raise ValueError("`embed` and `words` are for tables with a sample per row: windows are of numbers")
        if self.seed or self.stratify:
            raise ValueError(
                "`seed` and `stratify` are for samples in random order, but a time series is split in time"
            )

    @cached_property
    def windows(self) -> Windows | None:
        """How samples are cut from the rows of a time series."""
        return None if self.window is None else Windows(self.window, self.horizon, self.stride, self.sampling)

    @cached_property
    def form(self) -> Form:
        """How the table is written."""
        return Form(self.delimiter, self.decimal, self.thousands, self.strip, self.comment, self.missing_words)

    @property
    def texts(self) -> tuple[str, ...]:
        """The names of the columns that are read as words."""
        return (self.words,) if isinstance(self.words, str) else self.words

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the columns to predict."""
        return (self.target,) if isinstance(self.target, str) else self.target

    def looks_at(self) -> tuple[str, ...]:
        """The tables."""
        return (self.path, *self._others().values())

    def _others(self) -> dict[str, FilePath]:
        """Return the validation and test tables, by argument."""
        paths = {"validation": self.validation, "test": self.test}
        return {argument: path for argument, path in paths.items() if isinstance(path, FilePath)}

    def facts(self) -> Facts:
        """Count features (one per column of numbers, one per text of the others) and the rows of both sets.

        Raises FileFault for a file that is not a table, an unknown column, or a cell that does not fit its column.
        """
        return self._facts(self._survey())

    def load(self, access: Access) -> Dataset:
        """Read the table. `access` is not used: the path says where it is.

        Raises DataError for what `facts` does, and where the file changes in the meantime.
        """
        known = self.facts()
        table = self._read(self.path, "path", None, keep=True)
        tables = {"path": table}
        for argument, path in self._others().items():
            tables[argument] = self._read(path, argument, table, keep=True)
        facts = self._facts(tables)
        if replace(facts, remarks=()) != replace(known, remarks=()):
            raise changed(self.path)
        trained, rest = self._divided(tables)
        means = table.means(trained)

        def split(each: ReadTable, rows: NDArray[Any]) -> Split:
            x, y = np.ascontiguousarray(each.samples(means)[rows]), np.ascontiguousarray(each.targets()[rows])
            return Split(x, y) if self.windows is None else Split(self.windows.samples(x), self.windows.targets(y))

        train = split(table, trained)
        test = split(other, np.arange(other.rows)) if (other := tables.get("test")) else split(table, rest)
        if held_out := tables.get("validation"):
            more = split(held_out, np.arange(held_out.rows))
            train = Split(np.concatenate([train.x, more.x]), np.concatenate([train.y, more.y]))
        return Dataset(
            source=self.spec_name,
            facts=facts,
            train=train,
            test=test,
            divisor=1.0,
            sha256=digest_of((train.x, train.y, test.x, test.y)),
            origin=os.path.abspath(self.path),
            class_names=tuple(table.aims[0].sorted()) if facts.classes else (),
            columns=tuple(
                Column(
                    column.name,
                    column.known if column.learns else None if column.texts is None else tuple(column.sorted()),
                    mean if self.missing == "mean" and column.texts is None else None,
                    column.ids,
                    column.words,
                )
                for column, mean in zip(table.features, means, strict=True)
            ),
            target_names=() if facts.classes else self.targets,
            notes=(
                *(note for each in tables.values() for note in each.notes()),
                *_unknown(facts, train.x, test.x),
            ),
        )

    def _divided(self, tables: Mapping[str, ReadTable]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the rows of the first table for training and for testing, and learn the ids of the former."""
        table = tables["path"]
        tested = 0 if "test" in tables or not self.test else shares(table.rows, float(self.test))[1]
        labels = table.targets() if self.stratify else None
        trained, rest = divided(table.rows, tested, self.seed if self._shuffles else None, labels)
        for number, column in enumerate(table.features):
            if column.learns:
                column.learn(trained, (self.vocabulary or USUAL_WORDS) - 2)
                for other in tables.values():
                    other.features[number].known = column.known
        return trained, rest

    # What is known before training

    def _survey(self) -> dict[str, ReadTable]:
        """Read the tables without keeping their numbers."""
        arguments = (self.targets, self.features, self.drop, self.categories, self.missing, self.form)
        arguments = (*arguments, self.embed, self.texts, self.length, self.stratify, self.windows)  # type: ignore[assignment]

        def of_training(file: IO[bytes]) -> ReadTable:
            return self._read_file(file, self.path, "path", None, keep=False)

        table = remembered(of_training, self.path, MOST_BYTES, *arguments)
        tables = {"path": table}
        key = (self.path, *(tuple(column.texts or ()) for column in table.used))
        for argument, path in self._others().items():

            def of_other(file: IO[bytes], path: FilePath = path, argument: str = argument) -> ReadTable:
                return self._read_file(file, path, argument, table, keep=False)

            try:
                tables[argument] = remembered(of_other, path, MOST_BYTES, argument, *arguments, *key)
            except FileFault as fault:
                raise fault.of(argument) from None
        return tables

    def _facts(self, tables: Mapping[str, ReadTable]) -> Facts:
        table, other = tables["path"], tables.get("test")
        for each in tables.values():
            least = 2 if other is None and each is table else 1
            if each.rows < least:
                left = f", and {each.dropped:,} with missing values" if each.dropped else ""
                message = f"{each.name} has {each.rows} row{'s' * (each.rows != 1)} of data{left}"
                raise FileFault(f"{message}: at least {least} needed", argument=each.argument)
        features = sum(column.width for column in table.features)
        rows = sum(each.rows for each in tables.values())
        train, test = (table.rows, other.rows) if other else shares(table.rows, float(self.test))
        held_out = tables["validation"].rows if "validation" in tables else 0
        if self.windows is not None:
            counts = {"path": train, "test": test, "validation": held_out}
            train, test, held_out = self._counted(tables, counts, features)
        elif features * rows > MOST_NUMBERS:
            message = f"{table.name} has {rows:,} rows of {features:,} numbers: the limit is {MOST_NUMBERS:,} numbers"
            raise FileFault(message, argument="features" if self.features else "path")
        aim = table.aims[0]
        classes, shape = None, (len(self.targets),) if len(self.targets) > 1 else ()
        if aim.texts is not None:
            classes = len(aim.texts)
            if classes < 2:
                what = f"the target `{aim.word}` is the same in all rows"
                raise FileFault(f"{what}, so there is nothing to learn", argument="target")
        levels = aim.whole if not shape and aim.texts is None else ()
        if self.stratify and classes is None and not levels:
            what = f"`stratify` needs classes, but `{aim.word}` contains numbers that are not whole"
            what = "`stratify` needs a single target" if shape else what
            raise FileFault(what, argument="stratify", help="remove it")
        if self.stratify and other is not None:
            what = "`stratify` applies to a split, and `test` names another table"
            raise FileFault(what, argument="stratify", help="remove it")
        if shape and all(aim.whole and {*aim.whole} <= {0, 1} for each in tables.values() for aim in each.aims):
            levels = (0, 1)  # several labels of a sample
        inputs = self._inputs(tables)
        only = inputs[0] if len(inputs) == 1 else None
        return Facts(
            (features,) if self.window is None else (self.window, features),
            classes,
            train + held_out,
            test,
            "float64",
            shape,
            levels=levels,
            remarks=(*table.remarks,),
            validation=held_out,
            shuffled=self._shuffles,
            ordered=not (self._shuffles or self.stratify) if self.windows is None else self.windows.continues,
            tokens=0 if only is None else only.tokens,
            padding=None if only is None else only.padding,
            inputs=inputs if only is None else (),
            columns=(
                *fields_of((column.name, column.width) for column in table.features if not column.learns),
                *(field for field in inputs if field.tokens),
            )
            if self.windows is None
            else (),
            target_names=() if classes else self.targets,
            windows=self.windows,
        )

    @property
    def _shuffles(self) -> bool:
        """Whether rows are shuffled before they are split."""
        return self.shuffle and self.window is None

    def _counted(self, tables: Mapping[str, ReadTable], rows: dict[str, int], features: int) -> tuple[int, int, int]:
        """Return the number of windows for training, testing and validation, from the rows of each. Raises FileFault if
        there is none, or if they are too large.
        """
        windows = cast(Windows, self.windows)
        counts = {argument: windows.count(count) for argument, count in rows.items()}
        for argument, count in counts.items():
            if not count and rows[argument]:
                split = isinstance(self.test, float) and self.test > 0 and argument != "validation"
                part = f"the {'training' if argument == 'path' else 'test'} part of " if split else ""
                raise FileFault(
                    f"{part}{tables.get(argument, tables['path']).name} has {rows[argument]:,} "
                    f"row{'s' * (rows[argument] != 1)}, and a window with its target takes {windows.span:,}",
                    argument="window" if windows.reach >= rows[argument] or self.horizon == 1 else "horizon",
                    help="use a smaller `window`"
                    + " or `horizon`" * (self.horizon > 1)
                    + ", or a larger `test`" * (split and argument == "test"),
                )
        numbers = sum(counts.values()) * windows.length * features
        if numbers > MOST_NUMBERS:
            message = f"these windows would have {numbers:,} numbers: the limit is {MOST_NUMBERS:,}"
            raise FileFault(message, argument="window", help="use a larger `stride` or a smaller `window`")
        return counts["path"], counts["test"], counts["validation"]

    def _inputs(self, tables: Mapping[str, ReadTable]) -> tuple[Field, ...]:
        """Return the inputs of a sample, if some columns have ids: `numbers` of all others, and each of those."""
        columns = tables["path"].features
        if not any(column.learns for column in columns):
            return ()
        self._divided(tables)
        numbers = sum(column.width for column in columns if not column.learns)
        fields = [Field("numbers", 0, numbers, (numbers,), axes=("features",))] if numbers else []
        start = numbers
        for column in columns:
            if not column.learns:
                continue
            argument = "words" if column.words else "embed"
            taken = {"numbers": "all other features"} if numbers else {}
            taken |= {WHOLE: "the sample itself"} if len(columns) > 1 else {}
            if not column.name.isidentifier() or column.name in taken:
                what = f"is the name of {taken[column.name]}" if column.name in taken else "is not a name"
                message = f"`{column.word}` would be an input of the model, and it {what}"
                raise FileFault(message, argument=argument, help="rename the column, for example `user_id`")
            shape = (column.words,) if column.words else ()
            tokens, padding = len(column.known or ()) + (2 if column.words else 1), 0 if column.words else None
            axes = ("places",) if column.words else ()
            fields.append(Field(column.name, start, start + column.width, shape, tokens, axes=axes, padding=padding))
            start += column.width
        return tuple(fields)

    # Reading

    def _read(self, path: FilePath, argument: str, like: ReadTable | None, *, keep: bool) -> ReadTable:
        with open_file(path, MOST_BYTES, argument) as file:
            return self._read_file(file, path, argument, like, keep=keep)

    def _read_file(self, file: IO[bytes], path: Any, argument: str, like: ReadTable | None, *, keep: bool) -> ReadTable:
        """Read a table. A validation or test table has the columns and texts of the training table `like`."""
        self._check_form()
        csv = CsvFile(file, path, self.form)
        table = self._columns(self._header(csv), csv.name, argument, like)
        if like is None:
            self._decide(table, itertools.islice(csv.all_rows(), 1, None))
        looks = like is None and os.fstat(file.fileno()).st_size <= MOST_LOOKED_AT
        for line, cells in csv.rows():
            self._take(table, line, cells, keep or looks)
        if like is None:
            self._refuse_disguised(table)
            table.remarks = tuple(self._remarks(table)) if looks else ()
        if not keep:
            learns = any(column.learns for column in table.features)
            for column in table.used:
                if not (column.learns or (learns and self.stratify and column in table.aims)):
                    column.values = array("d")
        return table

    def _check_form(self) -> None:
        form = self.form
        if len(form.delimiter) != 1 or form.delimiter in '"\r\n':
            raise FileFault(
                "a delimiter must be one character", argument="delimiter", help='for example, `","` or `"\\t"`'
            )
        if form.decimal not in (".", ","):
            raise FileFault(
                "the decimal separator must be a point or a comma", argument="decimal", help='`decimal = ","`'
            )
        if form.thousands is not None and form.thousands not in (",", ".", " ", "'", "_"):
            what = "the thousands separator must be a comma, a point, a space, `'` or `_`"
            raise FileFault(what, argument="thousands", help='for example, `thousands = ","`')
        if form.thousands == form.decimal:
            what = f"`{form.decimal}` cannot be both the decimal and the thousands separator"
            raise FileFault(what, argument="thousands", help='for example, `decimal = ",", thousands = "."`')
        if any(sign.isalnum() or sign in '+-.,"' for sign in form.strip):
            raise FileFault(
                "`strip` can only contain symbols next to numbers", argument="strip", help='for example, `strip = "%"`'
            )
        if form.comment is not None and (not form.comment or form.comment.isspace() or '"' in form.comment):
            raise FileFault(
                "comments must start with a symbol", argument="comment", help='for example, `comment = "#"`'
            )

    def _header(self, csv: CsvFile) -> list[str]:
        name, (line, header) = csv.name, csv.first
        if not header:
            raise FileFault(f"{name} is empty: its first line must name the columns")
        if len(header) > MOST_COLUMNS:
            raise FileFault(f"{name} has {len(header):,} columns, but at most {MOST_COLUMNS:,} are allowed")
        if header[0].startswith(("#", "//")) and not self.form.comment:
            sign = "#" if header[0].startswith("#") else "//"
            raise FileFault(
                f"{name}, line {line:,}: the line with the column names starts with `{sign}`, like a comment",
                help=f'`comment = "{sign}"` skips such lines',
            )
        if all(self.form.number(cell) is not None for cell in header if cell):
            message = f"the first line of {name} contains numbers, but must name the columns"
            raise FileFault(message, help="add a line with column names before it, such as `width,height,kind`")
        return header

    def _decide(self, table: ReadTable, rows: Iterator[tuple[int, list[str]]]) -> None:
        """Decide which columns hold numbers, from the first cell of each that does not mark a missing value."""
        open_ones = [column for column in table.used if column.texts is None]
        words = {column.index: "" for column in open_ones}
        for _, cells in rows:
            left = []
            for column in open_ones:
                cell = cells[column.index] if column.index < len(cells) else ""
                if not cell or self.form.is_word(cell):
                    words[column.index] = words[column.index] or cell
                    left.append(column)
                elif self.form.number(cell) is None:
                    column.texts = {}
            open_ones = left
            if not open_ones:
                return
        for column in open_ones:  # all cells mark missing values
            if words[column.index] and self.form.missing_words is None:
                column.texts = {}

    def _take(self, table: ReadTable, line: int, cells: list[str], keep: bool) -> None:
        """Add a row, unless a cell is missing and such rows are dropped."""
        table.left_out.update(place for place in table.unnamed if cells[place])
        gaps = [
            column
            for column in table.used
            if self.form.is_missing(cells[column.index], numbers=column.texts is None, listed=column.listed)
        ]
        if gaps and self.missing == "drop":
            table.drop(cells, gaps)
            return
        for column in gaps:
            if self.missing == "error" or column in table.aims:
                aimed = column.name in self.targets
                ways = ["`missing = drop` drops such rows"] if self.window is None else []
                ways += ["`missing = mean` fills them in"] if not aimed else [] if ways else ["fill it in"]
                cell = cells[column.index]
                what = f"`{in_words(cell)}` marks a missing value" if cell else "the cell is empty"
                if cell:
                    ways[-1] += f'; `categories = ["{column.word}"]` makes it a text'
                help = ", ".join(ways)
                raise FileFault(f"{self._place(table, line, column)}: {what}", argument=table.argument, help=help)
        table.rows += 1
        table.filled += len(gaps)
        for column in table.used:
            problem = column.take(None if column in gaps else cells[column.index], self.form, keep)
            if column.unseen and column in table.aims:
                problem = f"no training row has the class `{in_words(cells[column.index])}`", ""
            if problem:
                where = self._place(table, line, column)
                raise FileFault(f"{where}: {problem[0]}", argument=table.argument, help=problem[1])

    def _place(self, table: ReadTable, line: int, column: ReadColumn) -> str:
        return f"{table.name}, line {line:,}, column `{column.word}`"

    # Columns

    def _columns(self, header: list[str], name: str, argument: str, like: ReadTable | None) -> ReadTable:
        """Find the columns to use, those of `like` if it is given."""
        places: dict[str, list[int]] = {}
        for place, word in enumerate(header):
            places.setdefault(word, []).append(place)

        def column(word: str, argument: str) -> ReadColumn:
            if not word or word not in places:
                self._unknown(argument, word, header, name)
            if len(places[word]) > 1:
                raise FileFault(f"{name} has two columns `{in_words(word)}`", argument=argument, help="rename one")
            words = self.length if word in self.texts else 0
            as_text = word in self.categories or word in self.embed or words
            return ReadColumn(word, places[word][0], {} if as_text else None, ids=word in self.embed, words=words)

        if like is not None:
            columns = [column(each.name, argument) for each in like.used]
            for made, known in zip(columns, like.used, strict=True):
                made.texts, made.closed = known.texts, True
            table = ReadTable(name, argument, len(header), columns[: len(like.features)], columns[len(like.features) :])
        else:
            table = self._table(header, name, argument, places, column)
        for each in table.used:
            each.most = MOST_COLUMNS if each in table.aims else MOST_IDS if each.ids else MOST_TEXTS
            each.alone = each in table.aims and len(table.aims) > 1
            each.listed = each.name in self.categories or each.learns
        if self.features is None:
            table.unnamed = places.get("", [])
        return table

    def _table(self, header: list[str], name: str, argument: str, places: Any, column: Any) -> ReadTable:
        lists = {"target": self.targets, "features": self.features, "categories": self.categories, "drop": self.drop}
        lists |= {"embed": self.embed, "words": self.texts}
        for which in ("categories", "drop", "embed", "words"):
            for word in lists[which] or ():
                if word not in places:
                    self._unknown(which, word, header, name)
        for which, words in lists.items():
            if len(set(words or ())) < len(words or ()):
                raise FileFault(f"`{which}` names a column twice", argument=which)
        if not self.targets:
            raise FileFault("there is no target", argument="target", help="name the column to predict")
        if self.features is not None and self.drop:
            what = "`features` and `drop` cannot be used together"
            raise FileFault(what, argument="drop", help="remove one of them")
        aims = [column(word, "target") for word in self.targets]
        if self.window is None and (gone := [word for word in self.targets if word in self.drop]):
            raise FileFault(f"`{in_words(gone[0])}` is the target, but is listed in `drop`", argument="drop")
        if self.features is None:
            past = self.window is not None  # the target's past is a feature
            names = [word for word in header if word and (past or word not in self.targets) and word not in self.drop]
            twice = next((word for word in names if len(places[word]) > 1), None)
            if twice is not None:
                raise FileFault(
                    f"the first line of {name} has two columns `{in_words(twice)}`",
                    argument=argument,
                    help=f'rename one, or drop both: `drop = ["{in_words(twice)}"]`',
                )
        else:
            names = list(self.features)
        twice = next((word for word in names if word in self.targets and self.window is None), None)
        if twice or not names:
            what = f"`{in_words(twice)}` is both a target and a feature" if twice else "no column is left as a feature"
            raise FileFault(what, argument="features" if self.features is not None else "target")
        for which in ("embed", "words"):
            for word in lists[which] or ():
                if word not in names or (which == "words" and word in self.embed):
                    reasons = ((names, "is read as words"), (self.targets, "is a target"), (self.drop, "is dropped"))
                    why = next((why for words, why in reasons if word in words), "is not among the `features`")
                    raise FileFault(f"`{which}` names `{in_words(word)}`, which {why}", argument=which)
        learned = (*self.embed, *self.texts)
        names = [*(word for word in names if word not in learned), *learned]
        return ReadTable(name, argument, len(header), [column(word, "features") for word in names], aims)

    def _unknown(self, argument: str, word: str, header: list[str], name: str) -> None:
        help = self.form.delimiter_hint(header[0]) if len(header) == 1 else ""
        known = [column for column in header if column]
        if (
            not help and len(header) > 1 and self.path.lower().endswith(_TABLES)
        ):  # the contents of other files are never shown
            help = f"its columns are {listed(known, 12)}"
        raise FileFault(
            f"{name} has no column `{in_words(word)}`",
            argument=argument,
            help=help,
            word=word if argument not in ("validation", "test") else "",
            known=known,
        )

    # What looks odd

    def _refuse_disguised(self, table: ReadTable) -> None:
        """Reject numbers that would be read as text: in another notation, or among words that may mean missing.

        Raises FileFault.
        """
        for column in table.used:
            if column.texts is None or column.listed or not column.texts:
                continue
            as_text = f'`categories = ["{column.word}"]` keeps them as text'
            ways = self.form.otherwise(column.texts)
            if ways:
                example = next(text for text in column.texts if self.form.number(text) is None)
                what = f"column `{column.word}` of {table.name} seems to contain numbers, such as `{in_words(example)}`"
                ways = [f"`{way}`" for way in ways]
                raise FileFault(what, help=f"{' or '.join(ways)} reads them as numbers; {as_text}")
            words = [text for text in column.texts if self.form.number(text) is None]
            if len(column.texts) - len(words) >= max(2, len(words) + 1):
                listed = ", ".join(f"`{in_words(word)}`" for word in words[:3])
                given = ", ".join(f'"{in_words(word)}"' for word in words[:3])
                what = f"column `{column.word}` of {table.name} contains numbers, but also {listed}"
                means = f"`missing_words = [{given}], missing = {self._remedy}` if that marks a missing value"
                raise FileFault(what, help=f"{means}; {as_text}")

    def _remarks(self, table: ReadTable) -> Iterator[Remark]:
        where = "path" if self.features is None else "features"
        for column in table.used:
            for word in column.doubtful[:1]:
                message = f"`{in_words(word)}` in column `{column.word}` is read as ordinary text"
                does = "drops its rows" if self.window is None else "fills them in"
                ways = f'`missing_words = ["{in_words(word)}"], missing = {self._remedy}` {does}'
                help = f'{ways}; `categories = ["{column.word}"]` keeps it as text'
                yield Remark("NN727", message, "path", help)
        if table.rows < _SURE:
            return
        for column in (each for each in table.features if not each.learns):
            if len(table.features) > 1 and column.counts_rows():
                message = f"`{column.word}` only numbers the rows, which says nothing about new rows"
                yield Remark("NN725", message, where, self._without(column))
            elif (
                self.window is None
                and len(table.aims) == 1
                and column.settles(table.aims[0], sole=len(table.features) == 1)
            ):
                aim = table.aims[0].word
                message = f"`{column.word}` alone determines `{aim}` exactly in all {table.rows:,} rows"
                help = f"is it known before `{aim}`? If not: {self._without(column)}"
                yield Remark("NN726", message, where, help)

    @property
    def _remedy(self) -> str:
        """What messages suggest for missing cells."""
        return "drop" if self.window is None else "mean"

    def _without(self, column: ReadColumn) -> str:
        if self.features is not None:
            return "remove it from `features`"
        drop = ", ".join(f'"{word}"' for word in (*self.drop, column.word))
        return f"`drop = [{drop}]`"


def _unknown(facts: Facts, train: NDArray[Any], test: NDArray[Any]) -> Iterator[str]:
    """Yield notes on texts and words without an id of their own."""
    for field in facts.inputs or facts.columns:
        if not field.tokens:
            continue
        unit, unknown = ("words", 1) if field.padding is not None else ("texts", 0)
        shares = []
        for name, x in (("training", train), ("test", test)):
            ids = x[:, field.start : field.stop]
            real = ids[ids != field.padding] if field.padding is not None else ids
            count = int((real == unknown).sum())
            if count:
                shares.append(f"{count:,} of {real.size:,} {name} {unit} ({count / real.size:.1%})")
        if shares:
            yield f"{' and '.join(shares)} of column `{in_words(field.name)}` have the id of unknown ones"
