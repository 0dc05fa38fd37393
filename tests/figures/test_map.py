"""The map has a place for every method and no text on another; pictures repeat."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from companion.pictures import methods as methods_pictures
from fimlib import registry
from fimlib.figures.plots import map as lens
from fimlib.figures.plots.style import STYLE
from fimlib.fisher import FisherRoots
from fimlib.posterior import GaussianPosterior

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cards():
    return lens.layout(registry.methods())[0]


@pytest.fixture(scope="module")
def drawn():
    """Texts and their boxes in points, y downwards, of the map as it is drawn."""
    from matplotlib import rc_context, rcParamsDefault
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height = lens.layout(registry.methods())[1][lens.NONE][1] + 62
    with rc_context({**rcParamsDefault, **STYLE}):
        canvas = Figure(figsize=(lens.WIDTH / 72, height / 72), dpi=144)
        axes = lens.draw_map(canvas)
        renderer = FigureCanvasAgg(canvas).get_renderer()
        found = []
        for text in axes.texts:
            if text.get_text():
                box = text.get_window_extent(renderer)
                top, bottom = height - box.y1 / 2, height - box.y0 / 2
                found.append((text.get_text(), box.x0 / 2, top, box.x1 / 2, bottom))
    return found, height


def test_every_method_has_one_card_and_keeps_to_its_column(cards):
    assert sorted(c.method.name for c in cards) == sorted(
        m.name for m in registry.methods()
    )
    for card in cards:
        first, last = lens.span_of(card.method)
        assert card.x >= lens.edge(first)
        assert card.x + card.width <= lens.edge(last + 1)


def test_no_two_cards_touch(cards):
    for a, b in itertools.combinations(cards, 2):
        apart = (
            a.x + a.width <= b.x
            or b.x + b.width <= a.x
            or a.y + a.height <= b.y
            or b.y + b.height <= a.y
        )
        assert apart, (a.method.name, b.method.name)


def test_bands_follow_each_other_and_hold_their_cards(cards):
    bands = lens.layout(registry.methods())[1]
    ends = [end for band in bands.values() for end in band]
    assert ends == sorted(ends)
    for card in cards:
        top, bottom = bands[lens.band_of(card.method)]
        assert top < card.y and card.y + card.height < bottom


def test_no_text_lies_on_another_or_leaves_the_map(drawn):
    texts, height = drawn
    assert len(texts) > 3 * len(registry.methods())
    for name, left, top, right, bottom in texts:
        assert left >= 0 and right <= lens.WIDTH, name
        assert top >= 0 and bottom <= height, name
    for a, b in itertools.combinations(texts, 2):
        wide = min(a[3], b[3]) - max(a[1], b[1])
        high = min(a[4], b[4]) - max(a[2], b[2])
        # Lines of one paragraph may meet by descenders and accents.
        assert wide <= 0.5 or high <= 2.2, (a[0], b[0])


def test_texts_stay_inside_their_cards(cards, drawn):
    texts, _ = drawn
    boxes = {}
    for text, left, top, right, bottom in texts:
        boxes.setdefault(text, []).append((left, top, right, bottom))
    for card in cards:
        for line, _, _ in card.lines:
            inside = [
                b for b in boxes[line]
                if card.x < b[0] and b[2] < card.x + card.width
                and card.y < b[1] + 1 and b[3] - 1 < card.y + card.height
            ]  # fmt: skip
            assert inside, (card.method.name, line)


def test_a_method_of_the_future_finds_its_place():
    new = registry.Method(
        "Something new", ("JEPIG",), "weight", "exact Fisher", "log det", "λI",
        "none", "greedy", "It is new.", ("T27",), "ash2021bait", registry.DERIVED,
    )  # fmt: skip
    (card,) = [c for c in lens.layout((new,))[0] if c.method is new]
    assert lens.span_of(new) == (1, 1)
    assert lens.band_of(new) == lens.LOG_DET
    assert card.colors == (lens.ORANGE,)


def test_a_card_says_what_a_method_is_about_where_that_is_fixed(cards):
    said = {c.method.name: c.lines[-1][0] for c in cards}
    assert said["BAIT"] == "→ pool and labelled"
    assert said["ACS-FW"] == "→ pool"
    assert not any(said[name].startswith("→") for name in ("VTL", "EIG trace"))


def test_every_matrix_has_a_letter():
    assert {m.matrix for m in registry.methods()} == set(lens.CHIPS)
    letters = dict(lens.CHIPS.values())
    assert len(set(letters.values())) == len(letters)


def test_alternative_text_names_every_method():
    text = (ROOT / "chapters" / "src" / "09-one-lens.md").read_text()
    (alt,) = re.findall(r"alt: 'A table of (35 method cards.*?)'\n", text, re.S)
    alt = " ".join(alt.split())
    assert alt.startswith(f"{len(registry.methods())} method cards")
    for name in ("BALD", "BatchBALD", "BAIT", "EL2N", "k-DPP", "LogDetCMI", "ACS-FW"):
        assert name in alt


def test_the_saved_map_is_that_of_the_registry():
    one, two = lens.map_of_methods(), lens.map_of_methods()
    assert one.svg == two.svg
    assert (ROOT / "figures" / "map-of-methods.svg").read_text() == one.svg, (
        "run `fimlib figure map`"
    )


# --- methods at work ----------------------------------------------------------------


def test_attained_is_the_joint_information_of_the_batch():
    rng = np.random.default_rng(0)
    rows, targets = rng.standard_normal((7, 3)), rng.standard_normal((5, 3))
    roots, evals = FisherRoots.from_dense(rows), FisherRoots.from_dense(targets)
    post = GaussianPosterior.isotropic(3, 0.7)
    batches = {"one": torch.tensor([2, 5]), "two": [torch.tensor([0, 1])] * 3}
    found = methods_pictures.attained(batches, roots, evals, post)
    for name, chosen in (("one", [2, 5]), ("two", [0, 1])):
        before, known = 0.7 * np.eye(3), 0.7 * np.eye(3) + targets.T @ targets
        added = rows[chosen].T @ rows[chosen]
        eig, left = (
            (np.linalg.slogdet(p + added)[1] - np.linalg.slogdet(p)[1]) / 2
            for p in (before, known)
        )
        assert found[name] == pytest.approx((eig, eig - left), rel=1e-10)


def test_ensemble_shares_tend_to_one_and_end_at_the_rank():
    shares = methods_pictures.ensemble_shares((2, 2000), (1, 8), repeats=4)
    assert shares.shape == (4, 2, 2)
    assert shares[:, 1] == pytest.approx(1, abs=0.1)
    assert (shares[:, 0, 1] < 0.5).all()  # two members show one of eight directions


def test_numbers_that_caption_and_alternative_text_state():
    middle = np.median(methods_pictures.ensemble_shares(), axis=0)
    at = {size: middle[i] for i, size in enumerate(methods_pictures.SIZES)}
    assert np.round(at[2], 2).tolist() == [0.67, 0.19, 0.08]
    assert np.round([at[10][1], at[50][1]], 2).tolist() == [0.78, 0.97]
    assert np.round([at[n][2] for n in (10, 50, 300)], 2).tolist() == [0.46, 0.88, 0.98]
    assert all(abs(at[n][0] - 1) < 0.03 for n in (10, 20, 50, 100, 300, 1000))


@pytest.mark.parametrize(
    ("name", "mark"),
    [
        ("BAIT", ("black", True)),
        ("BADGE", (lens.BLUE, False)),
        ("LogDetMI", (lens.ORANGE, False)),
        ("EIG log det, top-k", (lens.BLUE, True)),
        ("Core-Set", (lens.GREY, True)),
        ("k-means++", (lens.GREY, False)),
        ("random", (lens.GREY, False)),
    ],
)
def test_marks_are_those_of_the_map(name, mark):
    assert methods_pictures._mark(name) == mark


def test_scatter_is_the_same_each_time_and_fits_a_phone():
    rng = np.random.default_rng(0)
    found = {name: rng.random((3, 2)) for name in ("BALD", "BAIT", "random")}
    one, two = (methods_pictures.side_by_side(found) for _ in range(2))
    assert one.svg == two.svg
    width = re.search(r'<svg[^>]* width="([\d.]+)pt"', one.svg)[1]
    assert float(width) <= 360
