"""CIFAR: read in either form from folders and archives, refused where it is damaged; networks; the training step."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import struct
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from weightstring.errors import InvalidData, InvalidSetting
from weightstring.recipe import Recipe
from weightstring.tasks import load_task
from weightstring.tasks.augmentation import TrainingLoss, augmented
from weightstring.tasks.cifar_files import fetches, read_cifar
from weightstring.tasks.cifar_networks import cnn
from weightstring.tasks.cifar_published import CIFAR_SETS, PIXELS, CifarSet, Records
from weightstring.tasks.download import download
from weightstring.tasks.files import VARIABLE

COUNT = 6


def text(words: bytes) -> bytes:
    """A string as Python 2 pickled it."""
    return b"U" + bytes([len(words)]) + words if len(words) < 256 else b"T" + struct.pack("<i", len(words)) + words


def pickled(images: CifarSet, records: bytes) -> bytes:
    """The form of Python: a dictionary of lists and an array, pickled by Python 2."""
    rows = [records[i : i + images.record] for i in range(0, len(records), images.record)]
    count = len(images.labels)
    labels = [
        text(key.encode()) + b"](" + b"".join(b"K" + row[i : i + 1] for row in rows) + b"e"
        for i, key in enumerate(images.labels)
    ]
    array = b"cnumpy.core.multiarray\n_reconstruct\n)R(K\x01K\x06M\x00\x0c\x86\x89" + text(
        b"".join(r[count:] for r in rows)
    )
    return (
        b"\x80\x02}(" + b"".join(labels) + text(b"data") + array + b"tb" + text(b"names") + b"](" + text(b"a") + b"eu."
    )


@pytest.fixture(params=["cifar10", "cifar100"])
def small(request, monkeypatch) -> tuple[CifarSet, dict[str, bytes]]:
    """A set of few random images, which the library takes for the published one, and its files in the binary form."""
    images = CIFAR_SETS[request.param]
    generator = torch.Generator().manual_seed(0)
    contents = {}
    for name in images.files:
        labels = torch.randint(images.classes, (COUNT, len(images.labels)), generator=generator, dtype=torch.uint8)
        pixels = torch.randint(256, (COUNT, PIXELS), generator=generator, dtype=torch.uint8)
        contents[name] = torch.cat([labels, pixels], dim=1).numpy().tobytes()
    known = {name: Records(COUNT, hashlib.md5(content).hexdigest()) for name, content in contents.items()}
    images = replace(images, train={n: known[n] for n in images.train}, test={n: known[n] for n in images.test})
    monkeypatch.setitem(CIFAR_SETS, images.name, images)
    return images, contents


def put(small: tuple[CifarSet, dict[str, bytes]], form: str, root: Path, archive: bool) -> Path:
    """Write the files of a form into a folder or an archive."""
    images, contents = small
    folder, ending = (images.binary, ".bin") if form == "binary" else (images.python, "")
    files = {f"{n}{ending}": c if form == "binary" else pickled(images, c) for n, c in contents.items()}
    root.mkdir(parents=True, exist_ok=True)
    if archive:
        path = root / images.archive(form)
        with tarfile.open(path, "w:gz") as tar:
            for name, content in files.items():
                member = tarfile.TarInfo(f"{folder}/{name}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        return path
    (root / folder).mkdir()
    for name, content in files.items():
        (root / folder / name).write_bytes(content)
    return root / folder


@pytest.mark.parametrize("archive", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize("form", ["binary", "python"])
@pytest.mark.parametrize("place", ["", "own"])
def test_every_published_form_gives_the_same_images(small, tmp_path, form, archive, place):
    images, contents = small
    put(small, form, tmp_path / (images.name if place else ""), archive)
    train, test = read_cifar(images, tmp_path)
    rows = torch.frombuffer(bytearray(b"".join(contents[n] for n in images.train)), dtype=torch.uint8)
    rows = rows.view(-1, images.record)
    assert torch.equal(train.pixels.flatten(1), rows[:, len(images.labels) :])
    assert torch.equal(train.labels, rows[:, len(images.labels) - 1])  # of CIFAR-100 the fine ones
    assert test.pixels.shape == (COUNT, 3, 32, 32)


def test_a_pickle_is_never_executed(small, tmp_path):
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    folder = put(small, "python", tmp_path, False)
    name = next(iter(small[1]))
    (folder / name).write_bytes(pickle.dumps({"labels": Harm(), "data": Harm()}, protocol=2))
    with pytest.raises(InvalidData, match=f"{name}: holds no .* in the published form; fetch"):
        read_cifar(small[0], tmp_path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("form", ["binary", "python"])
def test_other_content_is_refused_with_what_would_help(small, tmp_path, form):
    folder = put(small, form, tmp_path, False)
    path = sorted(folder.iterdir())[0]
    content = bytearray(path.read_bytes())
    content[300] ^= 1
    path.write_bytes(content)
    with pytest.raises(InvalidData, match=r"as records its MD5 is .*; fetch the right one with: weightstring download"):
        read_cifar(small[0], tmp_path)
    path.write_bytes(content[:-3])
    with pytest.raises(InvalidData, match=r"truncated or damaged|not a whole pickle"):
        read_cifar(small[0], tmp_path)
    path.unlink()
    with pytest.raises(InvalidData, match="there is no such file"):
        read_cifar(small[0], tmp_path)


def test_a_damaged_archive_is_refused(small, tmp_path):
    path = put(small, "binary", tmp_path, True)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InvalidData, match=r"tar\.gz: a truncated or damaged archive"):
        read_cifar(small[0], tmp_path)


def test_a_download_is_checked_before_it_is_put_in_place(small, tmp_path):
    images, _ = small
    published = put(small, "binary", tmp_path / "mirror", True)
    bad = tmp_path / "bad" / published.name
    bad.parent.mkdir()
    bad.write_bytes(gzip.compress(b"<html>log in</html>"))
    told: list[tuple[Path, str | None]] = []
    offered = replace(images, mirrors=(bad.parent.as_uri(), published.parent.as_uri()))
    download(fetches(offered, tmp_path / "data"), on_file=lambda *news: told.append(news))
    target = tmp_path / "data" / images.name / published.name
    assert told == [(target, published.as_uri())]
    assert target.read_bytes() == published.read_bytes()
    assert len(read_cifar(images, tmp_path / "data")[1].labels) == COUNT
    download(fetches(offered, tmp_path / "data"), on_file=lambda *news: told.append(news))
    assert told[1:] == [(target, None)]
    with pytest.raises(InvalidData, match="no mirror gives it"):
        download(fetches(replace(images, mirrors=(bad.parent.as_uri(),)), tmp_path / "elsewhere"))


def test_nothing_there_names_what_was_looked_for(small, tmp_path):
    with pytest.raises(
        InvalidData, match=f"there is none of {small[0].binary}, .*weightstring download {small[0].name}"
    ):
        read_cifar(small[0], tmp_path)


@pytest.mark.parametrize(
    ("net", "size"),
    [("cnn", 1_756_426), ("resnet8", 78_042), ("resnet20", 272_474), ("vgg11", 9_225_610), ("vit", 809_098)],
)
@pytest.mark.slow
def test_the_networks(small, tmp_path, net, size):
    put(small, "binary", tmp_path, False)
    options = {"net": net, "data": str(tmp_path), "train_size": "6", "test_size": "6"}
    problem = load_task(small[0].name, options)
    last = {"cnn": 192, "vgg11": 512, "vit": 128}.get(net, 64)
    assert problem.size == size + (last + 1) * (small[0].classes - 10)
    assert problem.quantities == ("loss", "error", "train_loss", "train_error")


def test_options_out_of_range_are_refused(small, tmp_path):
    put(small, "binary", tmp_path, False)
    refused = [
        ({"width": "0"}, "width=0"),
        ({"label_smoothing": "1"}, "label_smoothing=1"),
        ({"net": "resnet8", "first_weights": "0.04"}, "first_weights=0.04"),
    ]
    for options, says in refused:
        with pytest.raises(InvalidSetting, match=says):
            load_task(small[0].name, {"data": str(tmp_path), **options})


def test_first_weights_are_drawn_as_large_as_asked(small, tmp_path):
    put(small, "binary", tmp_path, False)
    options = {"data": str(tmp_path), "train_size": "6", "test_size": "6", "width": "0.25", "first_weights": "0.04"}
    problem = load_task(small[0].name, options)
    layers = problem.unflatten(problem.initial(0))
    assert all(0.04 < float(each.abs().max()) <= 0.08 for name, each in layers.items() if name.endswith("weight"))


def test_one_cycle_trains_networks_while_beads_descend_as_before(small, tmp_path):
    put(small, "binary", tmp_path, False)
    options = {"data": str(tmp_path), "train_size": "6", "test_size": "6", "width": "0.05"}
    plain, cycled = (load_task(small[0].name, {**options, "one_cycle": steps}) for steps in ("0", "50"))
    assert cycled.recipe == plain.recipe == Recipe.tuned()
    assert plain.training_recipe == Recipe.tuned().untuned
    assert cycled.training_recipe == Recipe.one_cycle(50)
    assert cycled.fingerprint() != plain.fingerprint()


def test_augmentation_shifts_and_mirrors_each_image_by_itself():
    torch.manual_seed(0)
    image = torch.arange(1.0, 1 + 2 * 9 * 9).view(2, 9, 9)
    seen = augmented(image.expand(200, -1, -1, -1))
    padded = torch.nn.functional.pad(image, (4, 4, 4, 4))
    windows = {
        (down, along, mirrored): (window.flip(2) if mirrored else window)
        for down in range(9)
        for along in range(9)
        for mirrored in (False, True)
        for window in [padded[:, down : down + 9, along : along + 9]]
    }
    found = {next(key for key, window in windows.items() if torch.equal(window, each)) for each in seen}
    assert len({key[:2] for key in found}) > 60
    assert {key[2] for key in found} == {False, True}


def test_the_training_step_is_plain_cross_entropy_where_nothing_is_asked_for():
    net = cnn(10, width=0.05)
    images, labels = torch.randn(4, 3, 32, 32), torch.tensor([1, 2, 3, 4])
    plain = torch.nn.functional.cross_entropy(net(images), labels)
    assert torch.equal(TrainingLoss(augmented=False)(net, images, labels), plain)
    assert not torch.equal(TrainingLoss(augmented=False, smoothing=0.1)(net, images, labels), plain)


@pytest.mark.slow
def test_the_real_images():
    root = os.environ.get(VARIABLE)
    images = CIFAR_SETS["cifar10"]
    if not root:
        pytest.skip(f"needs the real images: set {VARIABLE} to a directory with cifar10")
    try:
        train, test = read_cifar(images, Path(root))
    except InvalidData as refusal:
        pytest.skip(f"needs the real images: {refusal}")
    scaled = train.pixels.float() / 255
    torch.testing.assert_close(scaled.mean((0, 2, 3)), torch.tensor(images.mean), rtol=0, atol=1e-4)
    torch.testing.assert_close(scaled.std((0, 2, 3)), torch.tensor(images.std), rtol=0, atol=1e-4)
    assert test.labels.bincount().tolist() == [1000] * 10
