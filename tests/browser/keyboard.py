"""A walk through a page by Tab: where it stops, in which order, and whether that is seen."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image
from playwright.sync_api import FloatRect, Page

#: More stops than any page has: what leads around without end is a trap.
MOST = 250
#: Of one kind of element on a page, such as the rows of a list, how many are looked at.
OF_A_KIND = 2
#: Pixels around an element in which its focus may show itself.
AROUND = 7
#: Pixels that must change, each by more than so much of 255: the ring around a small box for a
#: check mark is 144.
LEAST, BY = 100, 40

#: Puts the keyboard before all: what was clicked would be where it goes on.
TOP = """() => {
  const before = document.createElement("i");
  before.tabIndex = -1;
  document.body.prepend(before);
  before.focus();
  before.remove();
  scrollTo(0, 0);
  window.stops = [];
}"""
#: Names the element that has the focus, and keeps it for what is asked later. Null at the end of
#: the page; `again` where it was met before. A frame, or a field of a date, has several stops.
STOP = """() => {
  const at = document.activeElement, stops = (window.stops ??= []);
  if (!at || at === document.body) return null;
  if (stops.at(-1) === at) return { within: true };
  if (stops.includes(at)) return { again: true };
  stops.push(at);
  const { x, y, width, height } = at.getBoundingClientRect();
  const words = (part) => String(part.className).replace(/svelte\\S+|lit/g, "");
  const kind = (part) => `${part.tagName} ${words(part)}`;
  const said = (at.getAttribute("aria-label") || at.innerText || at.name || "").slice(0, 30);
  return {
    name: `${kind(at)} ${said}`, kind: `${kind(at.parentElement)} > ${kind(at)}`,
    header: Boolean(at.closest(".ds-header")), place: { x, y, width, height },
  };
}"""
#: Where all of them are on the page, at one moment; in what scrolls, the part of it that is seen.
#: The way past the header is nowhere unless it has the focus.
PLACES = """() => (window.stops ?? []).map((at) => {
  let { left, right, top, bottom } = at.getBoundingClientRect();
  for (let box = at.parentElement; box; box = box.parentElement) {
    if (!/auto|scroll/.test(getComputedStyle(box).overflow)) continue;
    const seen = box.getBoundingClientRect(), [low, high] = [seen.top, seen.bottom];
    [top, bottom] = [top, bottom].map((y) => Math.min(Math.max(y, low), high));
  }
  return bottom > top && !at.matches(".ds-skip") ? { left, right, top, bottom } : null;
})"""


@dataclass
class Walk:
    """What Tab has found."""

    #: Names of the stops, in their order.
    stops: list[str]
    #: Those of which nothing says that the keyboard is there.
    unseen: list[str]
    #: Pairs of which the second is read before the first.
    backwards: list[str]
    #: The way ends.
    ends: bool


def walk(page: Page, *, header: bool = False) -> Walk:
    """From the top of a page to its end; those of the header need to be looked at once only."""
    done = Walk([], [], [], ends=False)
    kinds: dict[str, int] = {}
    page.evaluate(TOP)
    for _ in range(MOST):
        page.keyboard.press("Tab")
        stop = page.evaluate(STOP)
        if stop is None:
            done.ends = True
            break
        if "again" in stop:
            break
        if "within" in stop:
            continue
        done.stops.append(stop["name"])
        kinds[stop["kind"]] = kinds.get(stop["kind"], 0) + 1
        known = kinds[stop["kind"]] > OF_A_KIND or (stop["header"] and not header)
        if not known and _changed(page, stop["place"]) < LEAST:
            done.unseen.append(stop["name"])
    places = page.evaluate(PLACES)
    done.backwards = [
        f"{first} before {second}"
        for first, second, one, other in zip(
            done.stops, done.stops[1:], places, places[1:], strict=False
        )
        if one and other and _before(other, one)
    ]
    return done


def _before(one: dict[str, float], other: dict[str, float]) -> bool:
    """Whether the first is read earlier: it lies above, and not in a column further on."""
    return one["bottom"] <= other["top"] and one["left"] < other["right"]


def _changed(page: Page, place: FloatRect) -> int:
    """Pixels that change as the element that has the focus loses it."""
    clip = _around(page, place)
    if clip["width"] <= 0 or clip["height"] <= 0:
        return 0  # it is out of sight
    focused = _pixels(page, clip)
    page.evaluate("() => { window.focused = document.activeElement; window.focused.blur(); }")
    plain = _pixels(page, clip)
    page.evaluate("() => window.focused.focus({ preventScroll: true })")
    return int((np.abs(focused - plain).max(axis=2) > BY).sum())


def _around(page: Page, place: FloatRect) -> FloatRect:
    size = page.viewport_size
    assert size
    left, top = max(0, place["x"] - AROUND), max(0, place["y"] - AROUND)
    right = min(size["width"], place["x"] + place["width"] + AROUND)
    bottom = min(size["height"], place["y"] + place["height"] + AROUND)
    return {"x": left, "y": top, "width": right - left, "height": bottom - top}


def _pixels(page: Page, clip: FloatRect) -> np.ndarray:
    taken = page.screenshot(clip=clip, animations="disabled")
    with Image.open(io.BytesIO(taken)) as image:
        return np.asarray(image.convert("RGB"), dtype=np.int16)
