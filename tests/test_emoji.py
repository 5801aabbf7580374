"The emoji font as a data set: groups against Unicode's own file, variants in one split, bad fonts in one sentence."

import hashlib
import io
import re
import tracemalloc
from collections import defaultdict
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from fontTools.ttLib import TTFont
from PIL import Image

import genlab.lab.images as im
import genlab.workshop.datasets as ds
from genlab import UserError

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
UNICODE = Path("/usr/share/unicode/emoji/emoji-test.txt")
PLAIN = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
GROUPS = dict(
    smileys="Smileys & Emotion",
    people="People & Body",
    animals="Animals & Nature",
    food="Food & Drink",
    travel="Travel & Places",
    activities="Activities",
    objects="Objects",
    symbols="Symbols",
    flags="Flags",
)
has_font = pytest.mark.skipif(not FONT.is_file(), reason="Debian's package fonts-noto-color-emoji is missing")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setattr(ds, "EMOJI_URL", "file:///nowhere/NotoColorEmoji.ttf")
    monkeypatch.setattr(ds, "_failed", {})
    monkeypatch.delenv("GENLAB_DATA", raising=False)


@pytest.fixture(scope="module")
def decoded(tmp_path_factory) -> Path:
    "A data folder in which the font is decoded already."
    root = tmp_path_factory.mktemp("data")
    im.load_images("emoji", root=root)
    return root


@pytest.fixture(scope="module")
def listed() -> dict:
    "Each sequence of Unicode's list, without variation selectors, with its group and name."
    if not UNICODE.is_file():
        pytest.skip("Debian's package unicode-data is missing")
    out, group = {}, None
    for line in UNICODE.read_text(encoding="utf-8").splitlines():
        if line.startswith("# group:"):
            group = line.split(":")[1].strip()
        elif found := re.match(r"([0-9A-F ]+?)\s*; \S+\s*# \S+ E[\d.]+ (.+)", line):
            out.setdefault(tuple(int(c, 16) for c in found[1].split() if c != "FE0F"), (group, found[2]))
    assert len(out) > 3_000
    return out


def complaint(root) -> str:
    with pytest.raises(UserError) as e:
        im.load_images("emoji", root=root)
    message = str(e.value)
    assert len(message) < 900 and "\n" not in message
    return message


def forms(sequence):
    "Forwards and backwards, as the font has joined sequences."
    elements = " ".join(map(str, sequence)).split(f" {0x200D} ")
    backwards = [int(code) for element in elements[::-1] for code in (element.split() + [0x200D])][:-1]
    return [sequence] if len(elements) == 1 else [tuple(backwards), sequence]


def test_every_emoji_has_the_group_of_unicodes_list(listed):
    names = list(ds.EMOJI_GROUPS)
    wrong = []
    for sequence, (group, name) in listed.items():
        k = ds.emoji_group(forms(sequence))
        if (None if k is None else GROUPS[names[k]]) != (None if group == "Component" else group):
            wrong.append((name, group, k))
    assert not wrong


def test_variants_by_skin_tone_and_gender_are_one_family(listed):
    "By their names: what is equal but for tones, and for man, woman and person, belongs together."
    families = defaultdict(set)
    for sequence, (_, name) in listed.items():
        name = re.sub(r"(: |, )[\w-]+ skin tone(, [\w-]+ skin tone)*", "", name)
        name = re.sub(r"\b(men|women|man|woman|people)\b(?!\u2019)", "person", name)
        name = (
            name.replace("person and person holding", "person holding")
            .replace(": person, person", "")
            .replace("person dancing", "dancing")
        )
        families[name].add(ds.emoji_family(sequence))
    split = {name: found for name, found in families.items() if len(found) > 1}
    assert not split and len(families) > 1_500


def test_different_things_are_different_families(listed):
    "Taking away too much would put everything into one family, and that into one split."
    by_family = defaultdict(set)
    for sequence, (group, name) in listed.items():
        if group not in ("Component", "People & Body"):
            by_family[ds.emoji_family(sequence)].add(name)
    assert not [names for names in by_family.values() if len(names) > 1]
    people = {ds.emoji_family(sequence) for sequence, (group, _) in listed.items() if group == "People & Body"}
    assert len(people) > 150


def test_the_split_does_not_depend_on_the_process_or_the_font():
    "The same on every machine and in every year; whoever changes this mixes old training data with new test data."
    families = {
        (0x1F600,): "train",
        (0x1F602,): "validation",
        (0x1F40B,): "test",
        (0x2708, 0x1F9D1): "test",
        (0x1F1FA, 0x1F1F8): "train",
    }
    assert {family: ds.emoji_split(family) for family in families} == families
    shares = [sum(ds.emoji_split((k,)) == split for k in range(20_000)) / 20_000 for split in ds.SPLITS]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.01)


@has_font
@pytest.mark.parametrize("size", [32, 64])
def test_the_data_set(decoded, size):
    sets = {split: im.load_images("emoji", split, size=size, root=decoded) for split in im.SPLITS}
    for split, s in sets.items():
        assert (s.name, s.split, s.shape, s.names) == ("emoji", split, (3, size, size), tuple(GROUPS))
        assert s.y.bincount(minlength=9).min() >= 8 and s.x.float().flatten(1).std(dim=1).min() > 1
        corners = s.x[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
        assert (corners == 255).all(dim=1).all(dim=1).float().mean() > 0.95, "on white"
    assert len(sets["train"]) > 2_800 and min(len(s) for s in sets.values()) > 300
    pictures = [{x.numpy().tobytes() for x in s.x} for s in sets.values()]
    assert not pictures[0] & pictures[1] and not pictures[0] & pictures[2] and not pictures[1] & pictures[2]


@has_font
def test_every_emoji_of_the_list_that_the_font_shows_is_in_one_split(listed, decoded):
    found = defaultdict(set)
    for _, shown in ds.read_font(FONT):
        for sequence in shown:
            if sequence in listed and listed[sequence][0] != "Component":
                found[ds.emoji_family(sequence)].add(ds.emoji_split(ds.emoji_family(min(shown))))
    assert len(found) > 1_500
    assert sum(len(im.load_images("emoji", split, root=decoded)) for split in im.SPLITS) >= 3_640
    # two flags may share one picture (Norway's and Svalbard's): it is one picture, in the split of one of them
    assert all(len(splits) == 1 for splits in found.values())


@has_font
def test_it_is_decoded_once(decoded, monkeypatch):
    monkeypatch.setattr(ds, "decode_emoji", lambda *a, **k: pytest.fail("decoded again"))
    first, again = (im.load_images("emoji", "test", root=decoded) for _ in range(2))
    assert torch.equal(first.x, again.x) and len(list((decoded / "emoji" / "decoded").glob("32_*.npy"))) == 1


def picture(colour, size=(136, 128)) -> bytes:
    out = io.BytesIO()
    Image.new("RGBA", size, colour).save(out, format="png")
    return out.getvalue()


def test_pictures_are_composited_on_white_and_made_square():
    x = ds.decode_emoji(picture((255, 0, 0, 128)), 17)
    assert x.shape == (3, 17, 17) and x.dtype == np.uint8
    assert x[:, 8, 8].tolist() == [255, 127, 127] and (x[:, 0] > x[:, 8]).any(), (
        "half a red on white, with white bars above and below"
    )
    assert (ds.decode_emoji(picture((9, 9, 9, 0)), 8) == 255).all(), "what is transparent is white, whatever its colour"


def small_font(monkeypatch, tmp_path, pictures):
    "A font of these pictures, by way of the function that reads fonts."
    (tmp_path / "emoji").mkdir(exist_ok=True)
    (tmp_path / "emoji" / "NotoColorEmoji.ttf").write_bytes(b"a font")
    shown = [(png, [(0x1F600 + k,)]) for k, png in enumerate(pictures)]
    monkeypatch.setattr(ds, "read_font", lambda path: shown)


def test_the_cache_is_named_after_the_pictures(tmp_path, monkeypatch):
    for colour in (40, 200):
        small_font(monkeypatch, tmp_path, [picture((colour, 0, 0, 255))] * 30)
        inner = im.load_images("emoji", root=tmp_path).x[:, 0, 2:-2]  # the square has white bars above and below
        assert inner.unique().tolist() == [colour]
    assert len(list((tmp_path / "emoji" / "decoded").glob("*.npy"))) == 2


def test_a_picture_is_long_and_its_square_is_never_made():
    "20,000 x 1 pixels are 138 bytes; on a square of the longer side they would be 1.6 GB, and copies of it."
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="20000x1 pixels; expected 136x128"):
            ds.decode_emoji(picture((0, 0, 0, 255), (20_000, 1)), 32)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


@has_font
def test_all_pictures_of_the_font_have_the_size_that_is_expected():
    assert {Image.open(io.BytesIO(png)).size for png, _ in ds.read_font(FONT)} == {ds.EMOJI_SIZE}


def woff(content: bytes) -> bytes:
    "A font packed as WOFF: each of its tables is compressed."
    out = io.BytesIO()
    with TTFont(io.BytesIO(content)) as font:
        font.flavor = "woff"
        font.save(out)
    return out.getvalue()


def test_a_compressed_font_is_not_unpacked(tmp_path, monkeypatch):
    "WOFF is a font whose tables are compressed: some kilobytes of it can be a gigabyte."
    path = tmp_path / "NotoColorEmoji.ttf"
    path.write_bytes(woff(PLAIN.read_bytes()))
    message = complaint(tmp_path)
    assert "can't be read as a font with pictures" in message and "77 4f 46 46" in message
    (tmp_path / "fonts").mkdir()
    path.rename(tmp_path / "fonts" / "NotoColorEmoji.ttf")
    monkeypatch.setattr(ds, "SYSTEM_FONTS", tmp_path / "fonts")
    monkeypatch.setattr(TTFont, "__init__", lambda *a, **k: pytest.fail("it was opened"))
    assert "was not found" in complaint(tmp_path)


def test_a_font_of_a_terabyte_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "NotoColorEmoji.ttf"
    with open(path, "wb") as f:
        f.write(b"\0\1\0\0")
        f.truncate(2**40)
    assert "1,099,511,627,776 bytes; expected at most" in complaint(tmp_path)
    monkeypatch.setattr(ds, "SYSTEM_FONTS", tmp_path)
    assert not ds._has_bitmaps(path)


@has_font
def test_a_part_of_it_has_all_classes(decoded):
    "By code point, all food would stand behind the first three hundred."
    for split in im.SPLITS:
        few = im.load_images("emoji", split, root=decoded, n=300)
        whole = im.load_images("emoji", split, root=decoded)
        share = few.y.bincount(minlength=9) / 300
        assert (share - whole.y.bincount(minlength=9) / len(whole)).abs().max() < 0.1 and (share > 0).all()
        assert torch.equal(few.x, whole.x[:300])


@pytest.mark.parametrize(
    "png",
    [picture((0, 0, 0, 255), (4_100, 4_100)), picture((0, 0, 0, 255), (20_000, 1)), picture((0, 0, 0, 255), (64, 64)),
     b"<svg/>", b"", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"],
    ids=["large", "long", "small", "svg", "empty", "eps"],
)
def test_pictures_of_a_font_that_cannot_be(tmp_path, monkeypatch, png):
    small_font(monkeypatch, tmp_path, [png] * 30)
    assert "A picture of the emoji font" in complaint(tmp_path)


def test_a_font_without_emoji(tmp_path, monkeypatch):
    small_font(monkeypatch, tmp_path, [])
    assert "NotoColorEmoji.ttf" in complaint(tmp_path) and "has no emoji" in complaint(tmp_path)


@has_font
@pytest.mark.parametrize("place", ["emoji/NotoColorEmoji.ttf", "NotoColorEmoji.ttf"])
def test_a_font_that_the_user_names_comes_first(tmp_path, monkeypatch, place):
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path))
    path.write_bytes(b"mine")
    with pytest.raises(UserError, match="can't be read as a font"):
        im.load_images("emoji")
    path.write_bytes(FONT.read_bytes())
    monkeypatch.setattr(ds, "SYSTEM_FONTS", tmp_path / "none")
    assert len(im.load_images("emoji", "test")) > 300


def test_other_fonts_of_that_name_are_passed_over(tmp_path, monkeypatch):
    "A system's font may describe its pictures as curves."
    monkeypatch.setattr(ds, "SYSTEM_FONTS", tmp_path / "fonts")
    (tmp_path / "fonts" / "truetype").mkdir(parents=True)
    (tmp_path / "fonts" / "truetype" / "NotoColorEmoji.ttf").write_bytes(PLAIN.read_bytes())
    (tmp_path / "fonts" / "NotoColorEmoji-broken.ttf").write_bytes(b"no font")
    assert "fonts-noto-color-emoji" in complaint(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 10_000,
        b"<html>404</html>",
        b"OTTO" + b"\xff" * 400,
        b"ttcf" + bytes(400),
        b"wOF2" + bytes(400),
        "plain",
    ],
    ids=["empty", "zeros", "html", "ones", "collection", "woff2", "without pictures"],
)
def test_files_that_are_no_colour_font(tmp_path, content):
    (tmp_path / "NotoColorEmoji.ttf").write_bytes(PLAIN.read_bytes() if content == "plain" else content)
    message = complaint(tmp_path)
    assert str(tmp_path / "NotoColorEmoji.ttf") in message and "can't be read as a font with pictures" in message


@has_font
@pytest.mark.parametrize("share", [0.0001, 0.01, 0.3, 0.9, 0.99])
def test_a_truncated_font(tmp_path, share):
    content = FONT.read_bytes()
    (tmp_path / "NotoColorEmoji.ttf").write_bytes(content[:int(share * len(content))])
    assert "can't be read" in complaint(tmp_path)


@has_font
@pytest.mark.parametrize("table", ["cmap", "CBLC", "GSUB", "maxp", "post", "CBDT"])
def test_a_damaged_font_is_read_or_refused_in_a_sentence(tmp_path, table):
    content = bytearray(FONT.read_bytes())
    with TTFont(FONT, lazy=True) as font:
        where = font.reader.tables[table]
    rng = np.random.default_rng(0)
    for _ in range(3):
        spoiled = content.copy()
        for place in rng.integers(where.offset, where.offset + min(where.length, 4_000), 40):
            spoiled[place] = rng.integers(256)
        (tmp_path / "NotoColorEmoji.ttf").write_bytes(spoiled)
        try:
            shown = ds.read_font(tmp_path / "NotoColorEmoji.ttf")
        except UserError as e:
            assert "can't be read as a font" in str(e)
        else:
            assert all(isinstance(png, bytes) for png, _ in shown)


def test_without_the_font_one_sentence_says_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(ds, "SYSTEM_FONTS", tmp_path / "none")
    message = complaint(tmp_path)
    assert (
        "fonts-noto-color-emoji" in message
        and str(tmp_path / "emoji") in message
        and "googlefonts/noto-emoji" in message
    )
    assert "can't be downloaded" in message and not list(tmp_path.rglob("*.ttf"))
    assert im.load_images("emoji", root=tmp_path, fallback="shapes", n=5).name == "shapes"


@has_font
def test_a_download_is_checked_and_moved_into_place(tmp_path, monkeypatch):
    monkeypatch.setattr(ds, "SYSTEM_FONTS", tmp_path / "none")
    (tmp_path / "release.ttf").write_bytes(FONT.read_bytes())
    monkeypatch.setattr(ds, "EMOJI_URL", (tmp_path / "release.ttf").as_uri())
    assert "invalid hash value" in complaint(tmp_path)  # what lies there isn't what was released
    assert not (tmp_path / "emoji" / "NotoColorEmoji.ttf").exists()
    monkeypatch.setattr(ds, "_failed", {})
    monkeypatch.setattr(ds, "EMOJI_SHA256", hashlib.sha256(FONT.read_bytes()).hexdigest())
    assert len(im.load_images("emoji", "test", root=tmp_path)) > 300
    assert (tmp_path / "emoji" / "NotoColorEmoji.ttf").read_bytes() == FONT.read_bytes()


def test_the_address_and_the_checksum_are_those_of_a_release():
    source = Path(ds.__file__).read_text()
    assert re.search(r"googlefonts/noto-emoji/raw/v\d+\.\d+/fonts/NotoColorEmoji\.ttf", source), (
        "a tag, which doesn't move"
    )
    assert re.fullmatch("[0-9a-f]{64}", ds.EMOJI_SHA256)


@has_font
def test_the_shipped_extractor_reads_emoji_better_than_the_majority(decoded):
    "As its record says (another version of the font shifts a few pictures), and far above the answer 'people'."
    from genlab.lab.metrics import accuracy, load_extractor

    extractor = load_extractor("emoji")
    assert extractor.record["labels"] == list(GROUPS) and extractor.record["size"] == [3, 32, 32]
    weights = Path(im.__file__).parent / "classifiers" / "emoji.safetensors"
    assert weights.stat().st_size < 2 * 2**20
    for split in ("validation", "test"):
        s = im.load_images("emoji", split, root=decoded)
        right = accuracy(extractor.net, s)
        assert right == pytest.approx(extractor.record["accuracy"][split], abs=0.02)
        assert right > s.y.bincount().max() / len(s) + 0.1
