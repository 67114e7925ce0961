"""Models in several files: loaded by exactly the descriptors that were verified."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from secai_site.kernel.errors import InvalidRequest
from secai_site.kernel.files import set_digest
from secai_site.kernel.inference.client import EngineClient
from secai_site.kernel.inference.errors import ModelIntegrityError, ModelLoadError, ModelPathRefused
from secai_site.kernel.inference.modelfile import ModelStore
from secai_site.kernel.inference.protocol import MAX_PARTS, ModelFile
from tests.support.shards import split

from .conftest import collect, complete, text_of

COUNTING = "One, two, three, four, five, six, seven, eight, nine,"


def digest_of(folder: Path, parts: tuple[str, ...]) -> str:
    return set_digest((part, hashlib.sha256((folder / part).read_bytes()).hexdigest()) for part in parts)


@pytest.fixture(scope="module")
def shards(models_root: Path, demo_path: Path) -> Iterator[Path]:
    """The demo model in three files, in a folder of the models root."""
    folder = models_root / "shards"
    folder.mkdir()
    split(demo_path, folder, tensors_each=100)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def sharded(shards: Path) -> ModelFile:
    parts = tuple(sorted(os.listdir(shards)))
    assert len(parts) == 3
    return ModelFile("sharded", "shards", digest_of(shards, parts), parts)


async def test_a_model_in_several_files_writes_what_the_whole_one_writes(
    engine: EngineClient, demo: ModelFile, sharded: ModelFile
) -> None:
    whole = await engine.load(demo)
    expected = text_of(await collect(engine.generate(complete(demo, COUNTING))))
    loaded = await engine.load(sharded)
    assert (loaded.name, loaded.sha256) == ("sharded", sharded.sha256)
    assert (loaded.parameters, loaded.has_chat_template) == (whole.parameters, True)
    assert text_of(await collect(engine.generate(complete(sharded, COUNTING)))) == expected


async def test_the_names_of_the_files_lead_the_engine_to_no_other_file(
    engine: EngineClient, shards: Path, sharded: ModelFile
) -> None:
    plain = shards.parent / "plain" / "inner"
    plain.mkdir(parents=True)
    names = ("inner/a", "inner/b", "inner/c")
    for part, name in zip(sharded.parts, names, strict=True):
        os.link(shards / part, plain.parent / name)
    model = ModelFile("plain", str(plain.parent), digest_of(plain.parent, names), names)
    try:
        assert text_of(await collect(engine.generate(complete(model, COUNTING)))).startswith(" ten")
    finally:
        shutil.rmtree(plain.parent)


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 2, 1), (0, 1), (0,)])
async def test_a_set_that_is_not_in_order_or_not_whole_is_refused_and_the_engine_lives_on(
    engine: EngineClient, shards: Path, sharded: ModelFile, demo: ModelFile, order: tuple[int, ...]
) -> None:
    parts = tuple(sharded.parts[n] for n in order)
    with pytest.raises(ModelLoadError):
        await engine.load(ModelFile("wrong", "shards", digest_of(shards, parts), parts))
    assert (await engine.status()).model is None
    assert (await engine.load(demo)).name == "demo"


async def test_a_part_that_changes_takes_the_model_out_of_memory(
    engine: EngineClient, shards: Path, sharded: ModelFile
) -> None:
    folder = shards.parent / "changing"
    shutil.copytree(shards, folder)
    model = ModelFile("changing", "changing", sharded.sha256, sharded.parts)
    await engine.load(model)
    flip_last_byte(folder / model.parts[2])
    try:
        with pytest.raises(ModelIntegrityError):
            await collect(engine.generate(complete(model, COUNTING)))
        assert (await engine.status()).model is None
    finally:
        shutil.rmtree(folder)


def flip_last_byte(path: Path) -> None:
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture
def small(tmp_path: Path) -> ModelFile:
    """A set of three small files, which is all the same to a store."""
    folder = tmp_path / "set"
    folder.mkdir()
    parts = ("one", "two", "three")
    for part in parts:
        (folder / part).write_bytes(part.encode())
    return ModelFile("small", "set", digest_of(folder, parts), parts)


def test_a_set_is_opened_in_the_order_of_its_parts(tmp_path: Path, small: ModelFile) -> None:
    opened = ModelStore(tmp_path).open_verified(small)
    assert [Path(path).read_bytes() for path in opened.paths] == [b"one", b"two", b"three"]
    assert opened.unchanged()
    copy = opened.duplicate()
    opened.close()
    opened.close()
    flip_last_byte(tmp_path / "set" / "three")
    assert not copy.unchanged()
    copy.close()


def swap(folder: Path) -> None:
    (folder / "one").rename(folder / "x")
    (folder / "two").rename(folder / "one")
    (folder / "x").rename(folder / "two")


@pytest.mark.parametrize(
    "change",
    [
        swap,
        lambda folder: flip_last_byte(folder / "two"),
        lambda folder: (folder / "three").unlink(),
        lambda folder: (folder / "three").write_bytes(b""),
    ],
    ids=["swapped", "changed", "missing", "empty"],
)
def test_a_set_with_other_bytes_is_refused(
    tmp_path: Path, small: ModelFile, change: Callable[[Path], None]
) -> None:
    store = ModelStore(tmp_path)
    store.open_verified(small).close()
    before = len(os.listdir("/proc/self/fd"))
    change(tmp_path / "set")
    with pytest.raises(ModelIntegrityError):
        store.open_verified(small)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_set_with_a_part_more_or_less_is_refused(tmp_path: Path, small: ModelFile) -> None:
    (tmp_path / "set" / "four").write_bytes(b"four")
    for parts in ((*small.parts, "four"), small.parts[:2], small.parts[:1]):
        with pytest.raises(ModelIntegrityError):
            ModelStore(tmp_path).open_verified(ModelFile("small", "set", small.sha256, parts))


def test_a_part_behind_a_link_or_that_is_no_file_is_refused(tmp_path: Path, small: ModelFile) -> None:
    (tmp_path / "set" / "link").symlink_to(tmp_path / "set" / "one")
    (tmp_path / "set" / "elsewhere").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "folder").mkdir()
    for part in ("link", "elsewhere/one", "folder"):
        with pytest.raises(ModelPathRefused):
            ModelStore(tmp_path).open_verified(ModelFile("small", "set", small.sha256, (part,)))


@pytest.mark.parametrize(
    "parts",
    [
        ("../one",),
        ("a/../one",),
        ("./one",),
        ("/one",),
        ("a//one",),
        ("",),
        ("one\0",),
        ("one\nabc  two",),
        ("one", "one"),
        tuple(f"p{n}" for n in range(MAX_PARTS + 1)),
    ],
    ids=repr,
)
def test_a_part_with_an_odd_name_is_no_part(parts: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRequest):
        ModelFile("small", "set", "0" * 64, parts)
