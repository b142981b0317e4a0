"""MNIST: where it is searched, what is returned, and the errors if it is not available."""

from __future__ import annotations

import gzip
import hashlib
import socket
import subprocess
import sys

import numpy as np
import pytest
from tiny_idx import CONTENTS, FILES, NAMES, SHAPES, fill, numbers_of
from tiny_mirror import FIRST, GOOD, serving

from nnspec.data import MNIST, Access, DataError, DataUnavailable, Digits, Facts, load_digits, load_mnist
from nnspec.data import mnist as module
from nnspec.data.mnist import MNIST_FILES, MNIST_MIRRORS, fetch_idx, load_idx
from nnspec.engine.part import PARTS

FACTS = Facts(shape=(4, 3), classes=256, train=5, test=2)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """No test sees the user's cache or asks a real mirror."""
    folder = tmp_path / "the cache"
    monkeypatch.setattr(module, "_cache", lambda: folder)
    monkeypatch.delenv("NNSPEC_DATA_DIR", raising=False)
    monkeypatch.setenv("NNSPEC_MNIST_MIRRORS", "http://127.0.0.1:1/")
    monkeypatch.setenv("no_proxy", "*")
    return folder


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def server(cache, monkeypatch):
    """Run a good mirror, the only one that is known."""
    with serving() as server:
        monkeypatch.setenv("NNSPEC_MNIST_MIRRORS", server.url)
        yield server


def assert_is_tiny(data):
    assert data.train.x.tobytes() == numbers_of(SHAPES[0])[: 5 * 12]
    assert data.train.y.tobytes() == numbers_of(SHAPES[1])[:5]
    assert data.test.x.tobytes() == numbers_of(SHAPES[2])[: 2 * 12]
    assert data.test.y.tobytes() == numbers_of(SHAPES[3])[:2]
    assert data.train.x.shape == (5, 12)
    assert data.test.x.shape == (2, 12)


def test_registered():
    assert PARTS["data source"]["MNIST"] is MNIST
    assert PARTS["data source"]["Digits"] is Digits


def test_facts_need_no_file():
    assert MNIST(train=2000, test=500).facts() == Facts(shape=(28, 28), classes=10, train=2000, test=500)
    assert MNIST().facts() == Facts(shape=(28, 28), classes=10, train=60_000, test=10_000)
    assert MNIST(np.int64(7), np.int64(3)).facts() == Facts(shape=(28, 28), classes=10, train=7, test=3)


@pytest.mark.parametrize("sizes", [(0, 1), (60_001, 1), (1, -1), (1, 10_001)])
def test_sizes_that_mnist_does_not_have(sizes):
    with pytest.raises(ValueError, match=r"MNIST: `(train|test)` must be in \[[01], [61]0000\]"):
        MNIST(*sizes)


def test_given_in_file_order(tmp_path):
    data = load_idx(FILES, FACTS, Access(data_dir=fill(tmp_path / "d")))
    assert_is_tiny(data)
    assert data.source == "MNIST"
    assert data.facts is FACTS
    assert data.divisor == 255
    assert data.origin == str(tmp_path / "d")
    arrays = (data.train.x, data.train.y, data.test.x, data.test.y)
    assert all(array.dtype == np.uint8 and array.flags.c_contiguous for array in arrays)
    assert data.sha256 == hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


@pytest.mark.parametrize("inside", ["", "mnist", "MNIST", "MNIST/raw"])
@pytest.mark.parametrize("gz", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("dotted", [False, True], ids=["dashed", "dotted"])
def test_layouts_of_a_folder(tmp_path, inside, gz, dotted):
    folder = fill(tmp_path / inside, gz=gz)
    if dotted:
        for path in list(folder.glob("*ubyte*")):
            path.rename(path.with_name(path.name.replace("-idx", ".idx")))
        assert len(list(folder.glob("*.idx*"))) == 4
    assert_is_tiny(load_idx(FILES, FACTS, Access(data_dir=tmp_path)))


def test_unpacked_file_that_kept_its_name(tmp_path):
    fill(tmp_path)
    for name in NAMES:
        (tmp_path / name).rename(tmp_path / f"{name}.gz")
    assert_is_tiny(load_idx(FILES, FACTS, Access(data_dir=tmp_path)))


def test_folder_under_a_files_name_is_passed_over(tmp_path):
    fill(tmp_path, gz=True)
    (tmp_path / NAMES[0]).mkdir()
    assert_is_tiny(load_idx(FILES, FACTS, Access(data_dir=tmp_path)))
    (tmp_path / f"{NAMES[0]}.gz").unlink()
    with pytest.raises(DataError, match=f"{NAMES[0]} is a folder"):
        load_idx(FILES, FACTS, Access(data_dir=tmp_path))


def slip(raised):
    """`or` must not try the next source: the user named a folder that is wrong."""
    assert not isinstance(raised.value, DataUnavailable)
    return str(raised.value)


@pytest.fixture(params=["--data-dir", "NNSPEC_DATA_DIR"])
def named(request, monkeypatch):
    """Name a folder in either way: gives the access to load with."""

    def name(folder):
        if request.param == "--data-dir":
            return Access(data_dir=folder)
        monkeypatch.setenv("NNSPEC_DATA_DIR", str(folder))
        return Access()

    name.by = request.param
    return name


def test_named_folder_that_does_not_exist(named, tmp_path, cache):
    fill(cache)
    with pytest.raises(DataError, match="does not exist") as raised:
        load_idx(FILES, FACTS, named(tmp_path / "mistyped"))
    text = slip(raised)
    assert f"{tmp_path / 'mistyped'} ({named.by})" in text
    assert "`nnspec data fetch MNIST`" in text


def test_named_folder_that_is_a_file(named, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is not a folder") as raised:
        load_idx(FILES, FACTS, named(tmp_path / "file"))
    slip(raised)


def test_named_folder_that_lacks_files(named, tmp_path, cache, no_network):
    """No other place is looked into, though the cache has them."""
    fill(cache)
    fill(tmp_path / "d", without=(NAMES[1], NAMES[3]))
    with pytest.raises(DataError, match=f"lacks {NAMES[1]}, {NAMES[3]} ") as raised:
        load_idx(FILES, FACTS, named(tmp_path / "d"))
    assert str(tmp_path / "d") in slip(raised)


def test_named_folder_with_a_broken_file(named, tmp_path, cache, no_network):
    fill(cache)
    fill(tmp_path / "d")
    (tmp_path / "d" / NAMES[2]).write_bytes(CONTENTS[2][:-1])
    with pytest.raises(DataError, match=f"{NAMES[2]} is truncated.*put an intact one in its place") as raised:
        load_idx(FILES, FACTS, named(tmp_path / "d"))
    slip(raised)


def test_wrong_pixel_past_the_samples_asked(named, tmp_path):
    fill(tmp_path / "d", gz=True)
    content = CONTENTS[0][:-1] + bytes([CONTENTS[0][-1] ^ 1])
    (tmp_path / "d" / f"{NAMES[0]}.gz").write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match=f"SHA-256 is .* and must be {FILES[0].sha256}"):
        load_idx(FILES, FACTS, named(tmp_path / "d"))


def test_data_dir_goes_before_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("NNSPEC_DATA_DIR", str(tmp_path / "not there"))
    data = load_idx(FILES, FACTS, Access(data_dir=fill(tmp_path / "d")))
    assert data.origin == str(tmp_path / "d")


def test_environment_goes_before_the_cache(tmp_path, monkeypatch, cache):
    fill(cache)
    monkeypatch.setenv("NNSPEC_DATA_DIR", str(fill(tmp_path / "d")))
    assert load_idx(FILES, FACTS, Access()).origin == str(tmp_path / "d")
    monkeypatch.setenv("NNSPEC_DATA_DIR", "")
    assert load_idx(FILES, FACTS, Access()).origin == str(cache)


def test_tilde_is_the_home_folder(tmp_path, monkeypatch, named):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    fill(tmp_path / "d")
    assert load_idx(FILES, FACTS, named("~/d")).origin == str(tmp_path / "d")


def test_cache_needs_no_network(cache, no_network):
    fill(cache)
    assert_is_tiny(load_idx(FILES, FACTS, Access()))


def test_broken_file_in_the_cache(cache, no_network):
    fill(cache)
    (cache / NAMES[0]).write_bytes(b"")
    with pytest.raises(DataError, match=f"{NAMES[0]} is empty; `nnspec data fetch MNIST` replaces it") as raised:
        load_idx(FILES, FACTS, Access())
    slip(raised)


def test_fetched_once_then_from_the_cache(cache, server, monkeypatch):
    monkeypatch.setenv("NNSPEC_MNIST_MIRRORS", f"http://127.0.0.1:1/ {server.url}")
    first = load_idx(FILES, FACTS, Access())
    assert first.origin == f"{server.url}/"
    again = load_idx(FILES, FACTS, Access())
    assert again.origin == str(cache)
    assert_is_tiny(first)
    assert_is_tiny(again)
    assert first.sha256 == again.sha256
    assert server.asked == list(GOOD)


def test_only_what_is_missing_is_fetched(cache, server, monkeypatch):
    fill(cache, without=(NAMES[0],))
    data = load_idx(FILES, FACTS, Access())
    assert_is_tiny(data)
    assert data.origin == f"{server.url}/ and {cache}"
    assert server.asked == [FIRST]


def test_offline_sends_no_request(cache, server, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "create_connection", refuse)
    for get in (lambda access: load_idx(FILES, FACTS, access), lambda access: fetch_idx(FILES, access)):
        with pytest.raises(DataUnavailable, match="downloads are disabled") as raised:
            get(Access(offline=True))
        assert str(cache) in str(raised.value)
        assert "or Digits(" in str(raised.value)
    assert server.asked == []
    assert not cache.exists()


def test_offline_with_the_cache_filled(cache, no_network):
    fill(cache)
    assert_is_tiny(load_idx(FILES, FACTS, Access(offline=True)))


def test_no_server_is_listening():
    with pytest.raises(DataUnavailable, match="MNIST cannot be downloaded") as raised:
        MNIST(train=1, test=1).load(Access())
    assert "http://127.0.0.1:1/: it cannot be reached" in str(raised.value)


def test_mirrors_must_be_urls(monkeypatch):
    monkeypatch.setenv("NNSPEC_MNIST_MIRRORS", "file:///srv/mnist/")
    with pytest.raises(DataError, match="NNSPEC_MNIST_MIRRORS: 'file:///srv/mnist/'") as raised:
        MNIST(train=1, test=1).load(Access())
    slip(raised)


def test_fetch(cache, server, monkeypatch):
    seen = []
    access = Access(report=lambda *now: seen.append(now))
    paths = [cache / name for name in NAMES]
    assert fetch_idx(FILES, access) == [(path, "fetched") for path in paths]
    assert {now[0] for now in seen} == {path[1:] for path in GOOD}
    assert fetch_idx(FILES, Access(offline=True)) == [(path, "already there") for path in paths]
    assert server.asked == list(GOOD)


def test_fetch_replaces_what_is_broken(cache, server, monkeypatch):
    fill(cache)
    (cache / NAMES[0]).write_bytes(CONTENTS[0][:-1] + b"?")
    assert [how for _, how in fetch_idx(FILES, Access())] == ["fetched", *["already there"] * 3]
    assert server.asked == [FIRST]
    assert_is_tiny(load_idx(FILES, FACTS, Access()))


def test_fetch_knows_files_that_were_put_there(cache, no_network):
    fill(cache / "MNIST" / "raw", gz=True)
    assert fetch_idx(FILES, Access()) == [(cache / "MNIST" / "raw" / f"{name}.gz", "already there") for name in NAMES]


def test_table_of_the_real_files():
    assert [(file.name, file.shape) for file in MNIST_FILES] == [
        ("train-images-idx3-ubyte", (60_000, 28, 28)),
        ("train-labels-idx1-ubyte", (60_000,)),
        ("t10k-images-idx3-ubyte", (10_000, 28, 28)),
        ("t10k-labels-idx1-ubyte", (10_000,)),
    ]
    assert [len(file.blocks) * file.block for file in MNIST_FILES] == [60_000, 0, 10_000, 0]
    assert [file.nbytes for file in MNIST_FILES] == [47_040_016, 60_008, 7_840_016, 10_008]
    assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in MNIST_MIRRORS)


def test_real_mnist(mnist_dir, no_network):
    data = MNIST(train=2000, test=500).load(Access(data_dir=mnist_dir, offline=True))
    assert data.train.y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert data.test.y[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert data.train.x.shape == (2000, 784)
    assert data.test.x.shape == (500, 784)
    assert data.train.y.shape == (2000,)
    assert data.train.x.nbytes == 2000 * 784
    assert data.origin == str(mnist_dir)
    # The first image's middle row, pixel by pixel: rows are not columns.
    assert data.train.x[0].reshape(28, 28)[14, 10:18].tolist() == [0, 0, 0, 81, 240, 253, 253, 119]
    small = MNIST(train=2000, test=500).beginning(16).load(Access(data_dir=mnist_dir, offline=True))
    assert (small.train.x.tolist(), small.train.y.tolist()) == (data.train.x[:16].tolist(), data.train.y[:16].tolist())
    assert len(small.test.y) == 1


def test_whole_of_the_real_mnist(mnist_dir, no_network):
    data = MNIST().load(Access(data_dir=mnist_dir, offline=True))
    assert np.bincount(data.train.y).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(data.test.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    blocks = MNIST(train=59_999, test=9_999).load(Access(data_dir=mnist_dir, offline=True))  # verified block by block
    assert np.array_equal(blocks.train.x, data.train.x[:-1])
    assert np.array_equal(blocks.test.x, data.test.x[:-1])
    # The mean and the deviation that others normalise with, 0.1307 and 0.3081.
    assert round(float(data.train.x.mean()) / 255, 4) == 0.1307
    assert round(float(data.train.x.std()) / 255, 4) == 0.3081


def test_load_mnist(mnist_dir):
    x_train, y_train, x_test, y_test = load_mnist(data_dir=str(mnist_dir), offline=True)
    assert x_train.shape == (2000, 784)
    assert x_test.shape == (500, 784)
    assert y_train.shape == (2000,)
    assert y_test.shape == (500,)
    assert x_train.dtype == x_test.dtype == np.float64
    assert y_train.dtype == y_test.dtype == np.int64
    assert x_train.min() == 0
    assert x_train.max() == 1
    assert y_train[:5].tolist() == [5, 0, 4, 1, 9]


def test_load_mnist_never_returns_other_data():
    with pytest.raises(DataUnavailable, match=r"(?s)downloads are disabled.*load_digits"):
        load_mnist(offline=True)
    with pytest.raises(DataUnavailable, match="load_digits"):
        load_mnist()


def test_load_mnist_refuses(tmp_path):
    with pytest.raises(ValueError, match="must be in"):
        load_mnist(train_size=60_001)
    with pytest.raises(DataError, match="does not exist") as raised:
        load_mnist(data_dir=tmp_path / "mistyped")
    slip(raised)


def test_load_digits(no_network):
    x_train, y_train, x_test, y_test = load_digits(30, 20, seed=3)
    assert x_train.shape == (30, 784)
    assert x_test.shape == (20, 784)
    assert x_train.dtype == x_test.dtype == np.float64
    assert y_train.dtype == y_test.dtype == np.int64
    assert y_train.shape == (30,)
    assert y_test.shape == (20,)
    assert 0 <= x_train.min() < 0.5 < x_train.max() <= 1
    assert not np.array_equal(x_train, load_digits(30, 20, seed=4)[0])
    np.testing.assert_array_equal(x_train, load_digits(30, 20, seed=3)[0])


def test_import_is_cheap():
    """`check` imports this; it pays for neither the network nor the cache."""
    script = (
        "import sys, nnspec.data.mnist as m; m.MNIST(train=2000).facts(); "
        "print([n for n in ('gzip', 'http.client', 'numpy.linalg', 'platformdirs', 'socket', 'ssl', 'tempfile', "
        "'urllib.request') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
