"""Texts that are large, deep or many of one kind, each for a size in characters; and files that are no texts.

`tests/test_fuzz.py` holds them small; `tests/fuzz/sizes.py` measures what they cost at a mebibyte.
"""

from __future__ import annotations

from collections.abc import Callable

BASE = """\
seed = 1
data = Digits(train=50, test=20)
model { Linear(8); ReLU; Linear(10) }
loss = CrossEntropy
optimizer = SGD(lr=0.1)
train { epochs = 2; batch = 16 }
"""
"""A spec without findings."""

BARE = BASE.replace("model { Linear(8); ReLU; Linear(10) }\n", "")


def repeated(text: str, around: str = "{}", before: str = "") -> Callable[[int], str]:
    """Repeat a text up to a size, optionally inside another text and after a third."""
    return lambda size: before + around.replace("{}", text * max(1, size // len(text)))


def numbered(line: str, around: str = "{}", before: str = "", most: int = 10**9) -> Callable[[int], str]:
    """Repeat a line up to a size, with `N` replaced by its number and `M` by the previous one."""

    def text(size: int) -> str:
        lines: list[str] = []
        length = 0
        while length < size and len(lines) < most:
            number = len(lines) + 1
            lines.append(line.replace("N", str(number)).replace("M", str(number - 1)))
            length += len(lines[-1])
        return before + around.replace("{}", "".join(lines))

    return text


def nested(opens: str, closes: str, inside: str = "", before: str = "") -> Callable[[int], str]:
    """Nest brackets up to a size, or 3,000 deep."""

    def text(size: int) -> str:
        depth = min(3_000, size // (len(opens) + len(closes)))
        return f"{before}{opens * depth}{inside}{closes * depth}"

    return text


def rows(items: int, item: str, around: str, before: str = BASE) -> Callable[[int], str]:
    """Repeat an item a number of times, but not beyond a size."""
    return lambda size: before + around.replace("{}", item * max(1, min(items, size // len(item))))


def _swept(setting: str, size: int) -> str:
    """Sweep a setting over as many points as there may be, where the text is large."""
    return f"sweep {{ {setting} = range(1, {min(1001, 10 + size // 100)}) }}\n"


def _lanes_and_statements(size: int) -> str:
    """As many statements as there is room for, over 30 lanes at 33 points."""
    lanes = "; ".join(f"l{i}: SGD(lr=0.0{i + 1})" for i in range(30))
    sweep = ", ".join(str(i) for i in range(33))
    start = BASE + f"race {{ {lanes} }}\nsweep {{ seed = [{sweep}] }}\n"
    return start + "expect {" + "loss < 1\n" * max(1, (size - len(start)) // 9) + "}"


def _many_uses(size: int) -> str:
    """Blocks that double: b20 opens a million layers."""
    return BARE + "block b0 { ReLU }\n" + numbered("block bN { bM; bM }\n", most=25)(size) + "model { Linear(10); b25 }"


def _one_line_of_errors(size: int) -> str:
    """A thousand unknown names in one line with long blanks between."""
    return ("unknown = 1;" + " " * max(1, size // 1000 - 12)) * 1000


TEXTS: dict[str, Callable[[int], str]] = {
    # Many of one kind
    "letters": repeated("a\n"),
    "different words": numbered("aN\n"),
    "ReLU lines": repeated("ReLU\n"),
    "ReLU in a model": repeated("ReLU\n", "model {\nLinear(10)\n{}}\n", BARE),
    "ReLU in a race": repeated("ReLU\n", "race {\n{}}\n", BASE),
    "lanes with labels": numbered("lN: Adam\n", "race {\n{}}\n", BASE),
    "sections as lanes": numbered("lN { seed = N }\n", "race {\n{}}\n", BASE),
    "spaces": repeated(" "),
    "tabs": repeated("\t"),
    "newlines": repeated("\n"),
    "carriage returns": repeated("\r"),
    "both line ends": repeated("\r\n"),
    "semicolons": repeated(";"),
    "braces that open": repeated("{"),
    "braces that close": repeated("}"),
    "pairs of braces": repeated("{}"),
    "words with braces": repeated("a{"),
    "lines with braces": repeated("a {\n"),
    "lines of closing braces": repeated("}\n"),
    "words and closing braces": repeated("a\n}\n"),
    "heads without braces": repeated("a\nb\n}\n"),
    "round brackets": repeated("("),
    "round brackets that close": repeated(")"),
    "square brackets": repeated("["),
    "square brackets that close": repeated("]"),
    "double quotes": repeated('"'),
    "single quotes": repeated("'"),
    "quotes on lines": repeated('"\n'),
    "curly quotes": repeated("“"),
    "curly quotes and words": repeated("“a "),
    "pairs of curly quotes": repeated("“a” "),
    "hashes": repeated("#"),
    "comment lines": repeated("#\n"),
    "ignore comments": repeated("# nn: ignore[NN701]\n", before=BASE),
    "ignore comments of no code": repeated("# nn: ignore[NN7O1]\n", before=BASE),
    "one ignore comment": repeated("NN701,", "# nn: ignore[{}]\n", BASE),
    "one ignore comment of no code": repeated("NN7O1,", "# nn: ignore[{}]\n", BASE),
    "digits": repeated("7"),
    "digits on lines": repeated("7\n"),
    "long number as a value": repeated("7", "seed = {}"),
    "number with underscores": repeated("7_", "seed = {}7"),
    "thousands": repeated("000,", "seed = 1,{}000"),
    "thousands on lines": repeated("a = 60,000\n"),
    "dots": repeated("."),
    "commas": repeated(","),
    "items with commas": repeated("a=1,\n"),
    "colons": repeated("a:"),
    "equal signs": repeated("="),
    "strays": repeated("$"),
    "strays apart": repeated("$ "),
    "strays on lines": repeated("$\n"),
    "different strays": repeated("$?@^~"),
    "control characters": repeated("\x01\x02"),
    "letters of other scripts": repeated("é"),
    "emoji": repeated("🙂"),
    "combining marks": repeated("a\u0301"),
    "wide letters in one line": repeated("漢 = ;"),
    "backslashes": repeated("\\"),
    "backslashes in a string": repeated("\\", 'import "{}a"'),
    "unknown escapes": repeated("\\q", 'a = "{}"'),
    "one long name": repeated("a"),
    "one long name as a setting": repeated("a", "{} = 1"),
    "one long name as a value": repeated("a", "seed = {}"),
    "one long name as a layer": repeated("a", "model { Linear(10); {} }", BARE),
    "one long name as a lane": repeated("a", "race { {}: Adam }", BASE),
    "one long name of a section": repeated("a", "{} { b = 1 }", BASE),
    "one long name as a let": repeated("a", "let {} = 1\n", BASE),
    "one long string": repeated("a", 'a = "{}"'),
    "one long string as an import": repeated("a", 'import "{}.nn"'),
    "one long string of folders": repeated("a/", 'import "{}.nn"'),
    "one long string of folders above": repeated("../", 'import "{}a.nn"'),
    "one long string as a dtype": repeated("a", 'dtype = "{}"', BASE),
    "one long string as a title": repeated("a", 'race "{}" { Adam }', BASE),
    "one open string": repeated("a", '"{}'),
    "strings on lines": repeated('a = "b"\n'),
    # Paths and expressions
    "path": repeated("a.", "{}a = 1"),
    "path of a model": repeated("a.", "model.{}a = 1", BASE),
    "path of a lane's figure": repeated("a.", "expect { {}loss < 1 }", BASE),
    "sum": repeated("1+", "seed = {}1"),
    "sum without spaces as a layer": repeated("1+", "model { Linear({}1) }", BARE),
    "product": repeated("2*", "seed = {}1"),
    "power": repeated("2**", "seed = {}2"),
    "power of nines": repeated("9**", "seed = {}9"),
    "product of layers": repeated("2*", "model { {}ReLU; Linear(10) }", BARE),
    "product of layers and zero": repeated("0*", "model { Linear(10); {}ReLU }", BARE),
    "not": repeated("not ", "seed = {}true"),
    "minus": repeated("- ", "seed = {}1"),
    "or": repeated("Digits or ", "data = {}Digits"),
    "and in expect": repeated("loss < 1 and ", "expect { {}loss < 1 }", BASE),
    "comparisons in a chain": repeated("1 < ", "expect { {}loss }", BASE),
    "shifts of two long numbers": numbered("let aN = 9 ** 400\n", before=BASE),
    "long products": numbered("let aN = aM * aM\n", before=BASE + "let a0 = 10 ** 300\n"),
    "large powers": repeated("seed = 10 ** 10 ** 10\n"),
    "numbers of 400 digits": repeated("a = " + "9" * 400 + "\n"),
    "exponents": repeated("seed = 1e999\n"),
    "list": repeated("1,", "let a = [{}1]\n", BASE),
    "list of lists": repeated("[1],", "let a = [{}1]\n", BASE),
    "nested lists": nested("[", "]", before="seed = "),
    "nested lists with items": nested("[1, ", "]", before="let a = "),
    "nested lists within the limit": repeated("[" * 90 + "1" + "]" * 90 + ",", "let a = [{}]\n", BASE),
    "nested groups": nested("(", ")", "1", "seed = "),
    "nested calls": nested("max(1, ", ")", "1", "seed = "),
    "nested sections": nested("a {", "}"),
    "nested residuals": nested("residual {", "}", "ReLU", BARE + "model { Linear(10)\n"),
    "nested blocks": nested("block a {", "}"),
    "arguments": repeated("1,", "model { Linear({}1) }", BARE),
    "named arguments": numbered("aN=1,", "model { Linear({}1) }", BARE),
    "one named argument": repeated("bias=true,", "model { Linear({}bias=true) }", BARE),
    "parameters": numbered("aN,", "block B({}a) { ReLU }\n", BASE),
    "parameters of one name": repeated("a,", "block B({}a) { ReLU }\n", BASE),
    "calls": repeated("a()\n"),
    "unclosed calls": repeated("a(\n"),
    "ranges": repeated("range(10000),", "let a = [{}1]\n", BASE),
    "lets of ranges": numbered("let aN = range(10000)\n", before=BASE),
    "lets of lists of lists": numbered("let aN = [aM, aM]\n", before=BASE + "let a0 = range(10000)\n"),
    "sums of ranges": numbered("let aN = sum(range(10000))\n", before=BASE),
    "linspaces": numbered("let aN = len(logspace(0, 1, 10000))\n", before=BASE),
    # Names
    "settings": repeated("x=1;"),
    "one setting again and again": repeated("seed = 1\n", before=BASE),
    "different settings": numbered("xN=1\n", before=BASE),
    "settings of a model": numbered("model.aN.p = 1\n", before=BASE),
    "settings of one layer": numbered("model.Linear1.aN = 1\n", before=BASE),
    "settings of the optimizer": numbered("optimizer.aN = 1\n", before=BASE),
    "settings of train": numbered("aN = 1\n", "train { {} }\n"),
    "misspelt settings": repeated("sed = 1;optimzer = 2;lsos = 3\n"),
    "misspelt layers": numbered("LinearN(8)\n", "model { {}Linear(10) }\n", BARE),
    "unknown names": numbered("let aN = bN\n", before=BASE),
    "unknown names of one length": numbered("let aaaaaaaaaaaN = bbbbbbbbbbbN\n", before=BASE),
    "unknown names beside lets": numbered("let widthN = widhtN\n", before=BASE),
    "unknown figures": numbered("expect { aN < 1 }\n", before=BASE),
    "unknown figures of one section": numbered("aN < 1\n", "expect { {} }\n", BASE),
    "lanes' figures": numbered("lN.loss < 1\n", "expect { {} }\n", BASE + "race { a: SGD; b: Adam }\n"),
    "chain of lets": numbered("let aN = aM\n", before=BASE + "let a0 = 1\n"),
    "chain of lets from its end": numbered("let aM = aN\n", before=BASE),
    "circle of lets": numbered("let aM = aN\n", "{}let z = a0\n", BASE),
    "doubling lets": numbered("let aN = aM + aM\n", before=BASE + "let a0 = 1\n", most=5000),
    "lets of one name": repeated("let a = 1\n", before=BASE),
    "lets of parts": numbered("let aN = ReLU\n", before=BASE),
    "lets that are wrong": numbered("let aN = Linear(-1)\n", before=BASE),
    "chain of blocks": numbered("block bN { bM }\n", "{}model { b9; Linear(10) }\n", BARE + "block b0 { ReLU }\n"),
    "chain of blocks from its end": numbered("block bM { bN }\n", "{}model { b0; Linear(10) }\n", BARE),
    "doubling blocks": _many_uses,
    "blocks": numbered("block bN(a, b=1) { Linear(a); ReLU }\n", before=BASE),
    "blocks that are wrong": numbered("block bN(a) { Linera(a); x = 1 }\n", before=BASE),
    "models": numbered("model mN { Linear(10) }\n", before=BARE),
    "models without names": repeated("model { Linear(10) }\n", before=BARE),
    "models as statements": numbered(
        "mN.params < 1\n",
        "expect { {} }\n",
        BARE + numbered("model mN { Linear(10) }\n", most=2000)(40_000) + "model = m1\n",
    ),
    "sections of no name": repeated("a { b = 1 }\n", before=BASE),
    "misspelt sections": repeated("modle { b = 1 }\n", before=BASE),
    "sections in sections": repeated("a { b { c = 1 } }\n", "train { {} }\n", BASE),
    "races": repeated("race { SGD; Adam }\n", before=BASE),
    "imports": repeated('import "a.nn"\n', before=BASE),
    "different imports": numbered('import "aN.nn"\n', before=BASE),
    "imports of the spec itself": repeated('import "x.nn"\n', before=BASE),
    "imports without a name": repeated("import\n"),
    # Larger than allowed
    "ten thousand layers": rows(10_000, "Linear(64)\nReLU\n", "model {\n{}Linear(10)\n}\n", BARE),
    "twenty thousand layers": rows(20_000, "ReLU\n", "model {\nLinear(10)\n{}}\n", BARE),
    "repeated layers": lambda size: BARE + f"model {{ Linear(10); ReLU * {min(size, 20_000)} }}",
    "repeated blocks": lambda size: (
        BARE + f"block B {{ ReLU * 100 }}\nmodel {{ Linear(10); B * {min(size // 20, 199)} }}"
    ),
    "repeated blocks of nothing": lambda size: (
        BARE + f"block B {{ }}\nmodel {{ Linear(10); {'B * 20000;' * (size // 10)} }}"
    ),
    "repeated compositions": lambda size: (
        BARE + f"block B {{ residual {{ ReLU }} }}\nmodel {{ Linear(10); B * {min(size, 9_999)} }}"
    ),
    "repeats of nothing": repeated("ReLU * 0\n", "model { Linear(10)\n{}}\n", BARE),
    "a repeat of 10 to the 12": lambda size: BARE + "model { ReLU * 10 ** 12; Linear(10) }",
    "repeats of repeats": repeated("20000 * ", "model { {}ReLU; Linear(10) }", BARE),
    "a layer of 10 to the 9": lambda size: BARE + "model { Linear(10 ** 9); Linear(10) }",
    "a layer of 10 to the 300": lambda size: BARE + "model { Linear(10 ** 300); Linear(10) }",
    "layers of many parameters": repeated("Linear(5000)\n", "model { {}Linear(10) }\n", BARE),
    "samples of 10 to the 18": lambda size: BASE.replace("train=50", f"train={10**18}"),
    "a batch of 10 to the 18": lambda size: BASE.replace("batch = 16", f"batch = {10**18}"),
    "repeats of 10 to the 12": lambda size: BASE + "train.repeats = 10 ** 12\n",
    "epochs of 10 to the 300": lambda size: BASE + "train.epochs = 10 ** 300\n",
    "a sweep of many": rows(100_000, "1,", "sweep { seed = [{}] }\n"),
    "a sweep of many different": numbered("N,", "sweep { seed = [{}] }\n", BASE, 100_000),
    "a sweep of a range": lambda size: BASE + "sweep { seed = range(10000) }\n",
    "a zip of ranges": lambda size: BASE + "sweep zip { seed = range(10000); train.batch = range(1, 10001) }\n",
    "a thousand points": lambda size: BASE + _swept("seed", size),
    "a thousand points of models": lambda size: (
        BARE + "let w = 1\nmodel { Linear(w) * 20; Linear(10) }\n" + _swept("w", size)
    ),
    "sweeps of many settings": numbered("xN = [1, 2]\n", "sweep { {} }\n", BASE),
    "sweeps of lets": lambda size: (
        BASE + numbered("let xN = 1\n")(size // 2) + "sweep { " + numbered("xN = [1, 2]\n")(size // 2) + "}"
    ),
    "statements": repeated("loss < 1\n", "expect {\n{}}\n", BASE),
    "statements of lanes at points": _lanes_and_statements,
    "long statements of lanes": lambda size: (
        BASE + _swept("seed", size) + "expect { " + "+".join(["loss"] * (size // 5)) + " < 1 }"
    ),
    "lanes with long settings": lambda size: (
        BASE
        + _swept("seed", size)
        + "let a = "
        + "+".join(["1"] * 100)
        + "\n"
        + numbered("let aN = a\n", most=990)(size)
    ),
    "lets at points": lambda size: BASE + _swept("seed", size) + numbered("let aN = M\n")(size),
    "layers at points": lambda size: (
        BARE + "let w = 1\n" + _swept("w", size) + "model {\n" + "Linear(w)\n" * (size // 10) + "Linear(10) }\n"
    ),
    "wrong layers at points": lambda size: (
        BARE + "let w = 1\n" + _swept("w", size) + "model {\n" + "Linear(w, 5)\n" * (size // 13) + "Linear(10) }\n"
    ),
    # What is said of them
    "errors with long lines": lambda size: ("x = 1 " + "# " + "a" * 1000 + "\n") * max(1, size // 1010),
    "a line with a thousand errors": _one_line_of_errors,
    "a line of errors": repeated("x=1;", before="# a\n"),
    "a line of wrong values": repeated("Linear(-1);", "model { {}Linear(10) }", BARE),
    "a line of syntax errors": repeated("a b;"),
    "lines of syntax errors": repeated("a b\n"),
    "lines of missing values": repeated("a =\n"),
    "a line of calls that lack a comma": repeated("1 2 ", "x = f({})"),
    "calls that lack a comma": repeated("f(1 2)\n"),
    "shape errors": repeated("Linear(3, 4)\n", "model { {}Linear(10) }\n", BARE),
    "shape errors of one block": repeated("B\n", "block B { Linear(3, 4) }\nmodel { {}Linear(10) }\n", BARE),
    "layers of one name": repeated("a: ReLU\n", "model { Linear(10)\n{}}\n", BARE),
    "branches of one name": repeated("a { ReLU }\n", "model { Linear(10); add { {}} }\n", BARE),
    "branches": numbered("aN { }\n", "model { Linear(10); add { {}} }\n", BARE),
    "branches of a concat": numbered("aN { }\n", "model { Linear(10); concat { {}}; Linear(10) }\n", BARE),
    "shortcuts": repeated("shortcut { ReLU }\n", "model { Linear(10); residual { ReLU; {}} }\n", BARE),
    "statements that do not hold": repeated("params < 1\n", "expect {\n{}}\n", BASE),
    "circles of blocks": numbered("block bN { bN }\n", before=BASE),
    "advice": repeated("Linear(10)\n", "model {\n{}}\n", BARE),
    "advice to be silenced": repeated("Linear(10)  # nn: ignore[NN703]\n", "model {\n{}}\n", BARE),
    "metrics": repeated("accuracy,", "metrics = [{}accuracy]\n", BASE),
    "early stops": repeated("patience(1)\n", "train { early_stop = {} }\n", BASE),
    "settings given in many lanes": lambda size: (
        BASE + "race {" + "".join(f"l{i} {{ {'seed = 1;' * 50} }}\n" for i in range(max(1, size // 500))) + "}"
    ),
    "unknown arguments of a long block": lambda size: (
        BARE
        + numbered("aN=1, ", "block B({}z=1) { ReLU }\n")(size // 2)
        + repeated("B(q=1);", "model { {}Linear(10) }")(size // 2)
    ),
    "missing arguments of a long block": lambda size: (
        BARE
        + numbered("aN, ", "block B({}z) { ReLU }\n")(size // 2)
        + repeated("B(q=1);", "model { {}Linear(10) }")(size // 2)
    ),
    "unnamed arguments of a long block": lambda size: (
        BARE
        + numbered("aN, ", "block B({}z=1) { ReLU }\n")(size // 2)
        + repeated("B(1);", "model { {}Linear(10) }")(size // 2)
    ),
    "lanes of long names and their figures": lambda size: (
        BASE
        + "race {"
        + "".join(f"{'l' * 55}{i}: SGD\n" for i in range(900))
        + "}\n"
        + numbered("qN.loss < 1\n", "expect { {} }")(max(1, size - 60_000))
    ),
    "settings that some lanes lack": lambda size: (
        BASE.replace("loss = CrossEntropy\n", "")
        + numbered("lN { seed = N }\n", "race { m { loss = MSE }\n{}}\n")(size)
    ),
    "near names of 60 letters": lambda size: (
        BASE
        + "".join(f"let {'ab' * 30}{i} = 1\n" for i in range(max(1, size // 150)))
        + "".join(f"let c{i} = {'ba' * 30}{i}\n" for i in range(max(1, size // 150)))
    ),
    "sums of lists": lambda size: (
        BASE + "let a = range(10000)\nlet b = [" + "a," * min(size // 2, 9000) + "]\nlet c = sum(b, [])\n"
    ),
    "lists of lists compared": lambda size: (
        BASE
        + numbered("let aN = [aM, aM]\nlet bN = [bM, bM]\n", before="let a0 = [1]\nlet b0 = [1]\n", most=40)(size)
        + "let z = max(a40, b40)\n"
    ),
    "numbers that double": lambda size: (
        BASE
        + numbered("let aN = aM + aM\n", before="let a0 = 2 ** 2000\n", most=13_000)(size)
        + "train.epochs = a13000\n"
    ),
    "sums of large numbers": repeated("2**4096,", "let a = [{}1]\nseed = sum(a) * 2\n", BARE),
    "a round of 10 to the 10": lambda size: BASE.replace("seed = 1", "seed = round(7, -10 ** 10)"),
    "learning_rate again and again": numbered("optimizer.learning_rate = 0.N\n", before=BASE),
    "wrong layers with fixes": repeated("Dense(8)\nRelu\n", "model { {}Linear(10) }\n", BARE),
    "colons for equal signs": repeated("seed: 1\n", before=BASE),
    "commas between settings": repeated("x = 1,\n", "train { {} }\n", BASE),
    "thousands in lanes": repeated("a { train.batch = 1,000 }\n", "race { {} }\n", BASE),
    "binary": repeated("".join(map(chr, range(1, 256)))),
    "every character": lambda size: "".join(map(chr, range(1, min(size, 0xD800)))),
}

BYTES: dict[str, bytes] = {
    "nothing": b"",
    "binary": bytes(range(256)) * 4096,
    "zeros": b"\0" * 2**20,
    "a zero at the end": BASE.encode() + b"\0",
    "UTF-16": BASE.encode("utf-16"),
    "UTF-16 without a mark": BASE.encode("utf-16-le"),
    "UTF-32": BASE.encode("utf-32"),
    "a mark": b"\xef\xbb\xbf" + BASE.encode(),
    "only a mark": b"\xef\xbb\xbf",
    "two marks": b"\xef\xbb\xbf" * 2 + BASE.encode(),
    "half a mark": b"\xef\xbb",
    "many marks": b"\xef\xbb\xbf" * 300_000,
    "CRLF": BASE.replace("\n", "\r\n").encode(),
    "CR": BASE.replace("\n", "\r").encode(),
    "all line ends": (BASE + BASE.replace("\n", "\r") + BASE.replace("\n", "\r\n")).encode(),
    "a letter cut off": "é".encode()[:1],
    "a letter cut off at the end": BASE.encode() + "🙂".encode()[:3],
    "an overlong letter": b"seed = 1\xc0\xaf",
    "a surrogate": b"seed = \xed\xa0\x80",
    "Latin-1": "größe = 1".encode("latin-1"),
    "a letter beyond the last": b"\xf4\x90\x80\x80",
    "too large": b"#" * (4 * 2**20 + 1),
}
"""What a file may hold."""
