"""One result on the Detect page: what moves with the threshold, zoom, addresses, ways in."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect
from redis import Redis

from tests.browser.conftest import OpenPage, scripts_held
from tests.browser.test_detect import choose, trace_of
from tests.faults.test_clients import no_worker_takes
from tests.integration import pictures
from tests.servers import PATIENCE_S, eventually

#: Puts a file where `dataTransfer` and `clipboardData` have files.
TRANSFER = """([bytes, name, type]) => {
  const held = new DataTransfer();
  held.items.add(new File([new Uint8Array(bytes)], name, { type }));
  return held;
}"""


def counted(page: Page) -> list[str]:
    """What runs the page asks for from now on."""
    runs: list[str] = []
    page.on(
        "request",
        lambda request: runs.append(request.url) if "/run/predict" in request.url else None,
    )
    return runs


def score(page: Page, value: str) -> None:
    page.locator("#one-score input[type=number]").fill(value)


def test_the_threshold_moves_all_at_once(open_page: OpenPage, photo: Path) -> None:
    """Typing or a key moves title, boxes, table, files and address, by what came with the one run;
    what scores less than that run's threshold is there as well."""
    page = open_page()
    expect(page.locator("#one-score input[type=number]")).to_have_value("0.02")
    score(page, "0.6")
    choose(page, photo)
    trace = trace_of(page)
    runs = counted(page)
    title, boxes, rows = (page.locator(f"#result {name}") for name in ("h2", ".ds-box", "tbody tr"))
    strong = boxes.count()
    score(page, "0.05")
    expect(boxes).not_to_have_count(strong)
    every = boxes.count()
    assert every > strong
    scores = [float(cell) for cell in page.locator("#result td:nth-child(2)").all_inner_texts()]
    assert len(scores) == every
    assert min(scores) < 0.6
    for threshold in (0.3, 0.99):
        score(page, str(threshold))
        want = sum(each >= threshold for each in scores)
        expect(boxes).to_have_count(want)
        expect(rows).to_have_count(want)
        expect(title).to_have_text(
            {0: "Nothing found", 1: "1 object found"}.get(want, f"{want} objects found")
        )
    expect(page.locator(".ds-nothing")).to_contain_text("No box scores 0.99 or more.")
    score(page, "0.3")
    page.locator("#one-score input[type=range]").press("ArrowRight")
    expect(page.locator("#one-score input[type=number]")).to_have_value("0.31")
    expect(page).to_have_url(re.compile(r"score=0\.31"))
    with page.expect_download() as download:
        page.locator("#result").get_by_role("link", name="JSON").click()
    given = json.loads(download.value.path().read_text(encoding="utf-8"))
    assert [each["score"] for each in given["detections"]] == [
        each["score"] for each in given["detections"] if each["score"] >= 0.31
    ]
    assert len(given["detections"]) == rows.count()
    assert trace_of(page) == trace
    assert runs == []


def test_another_iou_threshold_runs_again(open_page: OpenPage, photo: Path) -> None:
    """By the keyboard, too. Until its result is there, what is seen is said to be older."""
    page = open_page()
    choose(page, photo)
    first = trace_of(page)
    shown, outdated = page.locator("#result .ds-result"), page.locator("#result .ds-outdated")
    runs: list[Route] = []
    page.route("**/run/predict", lambda route: runs.append(route))
    with page.expect_request(re.compile("/run/predict")):
        page.locator("#one-iou input[type=range]").press("ArrowLeft")
    expect(outdated).to_contain_text("Found with the IoU threshold")
    eventually(lambda: runs or page.wait_for_timeout(50), "the run")
    for run in runs:
        run.continue_()
    expect(shown).not_to_have_attribute("data-trace", first)
    expect(outdated).to_be_hidden()


def test_zoom_by_mouse_and_keys(open_page: OpenPage, photo: Path) -> None:
    """A double click, keys, buttons; lines keep their width, and a box's row brings it near."""
    page = open_page()
    choose(page, photo)
    trace_of(page)
    view, layer = page.locator(".ds-view"), page.locator(".ds-layer")
    box, row = page.locator("#result .ds-box").first, page.locator("#result tbody tr").first

    def zoom() -> float:
        sizes = [place.bounding_box() for place in (layer, view)]
        assert sizes[0]
        assert sizes[1]
        return sizes[0]["width"] / sizes[1]["width"]

    assert abs(zoom() - 1) < 0.01
    line = box.evaluate("box => getComputedStyle(box).borderTopWidth")
    view.dblclick()
    assert abs(zoom() - 2) < 0.01
    page.keyboard.press("+")
    assert abs(zoom() - 3) < 0.01
    left = layer.evaluate("layer => layer.style.left")
    page.keyboard.press("ArrowLeft")
    assert layer.evaluate("layer => layer.style.left") != left
    assert box.evaluate("box => getComputedStyle(box).borderTopWidth") == line
    page.keyboard.press("0")
    assert abs(zoom() - 1) < 0.01
    page.get_by_role("button", name="Zoom in").click()
    assert abs(zoom() - 1.5) < 0.01
    page.get_by_role("button", name="Whole image").click()
    row.focus()
    expect(box).to_have_class(re.compile(r"\blit\b"))
    row.press("Enter")
    assert zoom() > 1
    seen, frame = box.bounding_box(), view.bounding_box()
    assert seen
    assert frame
    assert frame["x"] < seen["x"] + seen["width"] / 2 < frame["x"] + frame["width"]
    box.hover()
    expect(row).to_have_class("lit")


def test_a_result_has_an_address(open_page: OpenPage, photo: Path) -> None:
    """Back, forward and a reload show what was seen; so do My images, until they are forgotten.
    Another browser gets what the API tells of it, with the small picture of its trace."""
    page = open_page()
    choose(page, photo)
    trace = trace_of(page)
    score(page, "0.3")
    expect(page).to_have_url(re.compile(r"\?result=[0-9a-f]{32}&score=0\.3$"))
    address = page.url
    count = page.locator("#result .ds-box").count()
    page.go_back()
    expect(page.locator("#result .ds-empty")).to_be_visible()
    page.go_forward()
    assert trace_of(page) == trace
    page.reload()
    assert trace_of(page) == trace
    expect(page.locator("#one-score input[type=number]")).to_have_value("0.3")
    expect(page.locator("#result .ds-box")).to_have_count(count)
    assert page.locator("#result img").evaluate("image => image.decode().then(() => true)")
    path = address.split("/", 3)[3]
    other = open_page(f"/{path}")
    assert trace_of(other) == trace
    small = other.locator("#result img")
    expect(small).to_have_attribute("src", re.compile(r"^api/v1/traces/[0-9a-f]{32}/images/"))
    expect(small).to_have_js_property("naturalWidth", 320)
    page.goto(address.split("?")[0])
    page.locator(".ds-mine summary").click()
    of_trace = page.locator(".ds-mine").get_by_role("link", name="Trace")
    expect(of_trace).to_have_attribute("href", f"traces?trace={trace}")
    page.get_by_role("link", name=photo.name).click()
    assert trace_of(page) == trace
    page.get_by_role("button", name="Forget all").click()
    expect(page.locator(".ds-mine")).to_be_hidden()
    page.goto(address.split("?")[0] + "?result=" + "0" * 32)
    expect(page.locator("#result .ds-error")).to_contain_text("This result is kept no longer.")


def test_copies(open_page: OpenPage, photo: Path) -> None:
    """The link leads here again; the command asks the API for the same."""
    page = open_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    choose(page, photo)
    trace_of(page)
    score(page, "0.3")
    assert re.search(r"^http.*/\?result=[0-9a-f]{32}&score=0.3$", copied(page, "Copy link"))
    said = copied(page)
    assert said.startswith(f"curl -F 'image=@\"{photo.name}\"' 'http://127.0.0.1:")
    assert "/api/v1/detect?score_threshold=0.3&iou_threshold=0." in said


def test_tiles(open_page: OpenPage, tmp_path: Path) -> None:
    """A large picture's result says what may be missed, and looks again in tiles by its button;
    other tiles are another run, until which the result is marked. Its address, the copied command
    and the trace say which tiles there were; a reload shows the same."""
    path = tmp_path / "wide.jpg"
    path.write_bytes(pictures.jpeg(2600, 700, seed=4))
    page = open_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    form = page.locator('[data-choices="one"]:not([inert])')
    choose(page, path)
    first = trace_of(page)
    hint = page.locator("#result .ds-hint")
    assert form.locator("[name=tiles] option").all_inner_texts() == ["off", "auto", "own"]
    expect(hint).to_contain_text("small objects in it may have been missed")
    hint.get_by_role("button", name="Look again in tiles").click()
    shown = page.locator("#result .ds-result")
    expect(shown).not_to_have_attribute("data-trace", first)
    expect(hint).to_be_hidden()
    expect(form.locator("[name=tiles]")).to_have_value("auto")
    expect(page).to_have_url(re.compile(r"\?result=[0-9a-f]{32}&tiles=auto$"))
    second = trace_of(page)
    form.locator("[name=tiles]").select_option("own")
    form.get_by_label("Columns of tiles").fill("3")
    form.get_by_label("Columns of tiles").press("Tab")
    expect(page).to_have_url(re.compile(r"&tiles=3x2$"))
    expect(page.locator("#result .ds-outdated")).to_be_hidden()
    trace = trace_of(page)
    assert trace not in (first, second)
    assert "&max_detections=500&tiles=3x2&timeout=300" in copied(page)
    page.reload()
    assert trace_of(page) == trace
    expect(form.locator("[name=tiles]")).to_have_value("own")
    expect(form.get_by_label("Columns of tiles")).to_have_value("3")
    expect(page.locator("#result .ds-outdated")).to_be_hidden()
    form.locator("[name=tiles]").select_option("")
    expect(page.locator("#result .ds-outdated")).to_contain_text("Choose the image again")
    page.locator("#result .ds-trace").click()
    page.get_by_text("inference", exact=True).first.click()
    spans = page.locator(".ds-span", has_text="damoscope.tiles")
    expect(spans.first).to_contain_text("6")


def test_tiles_that_cannot_be(open_page: OpenPage, tmp_path: Path) -> None:
    """Too many, or too small: the page says what is allowed."""
    path = tmp_path / "small.jpg"
    path.write_bytes(pictures.jpeg(200, 150, seed=5))
    page = open_page()
    form = page.locator('[data-choices="one"]:not([inert])')
    form.locator("[name=tiles]").select_option("own")
    for name, number in (("Columns", "60"), ("Rows", "60")):
        form.get_by_label(f"{name} of tiles").fill(number)
    choose(page, path)
    expect(page.locator("#result .ds-error")).to_contain_text("60x60 is not from 2 to 64 tiles")
    for name in ("Columns", "Rows"):
        form.get_by_label(f"{name} of tiles").fill("8")
    page.get_by_role("button", name="Detect", exact=True).click()
    expect(page.locator("#result .ds-error")).to_contain_text("may have at most 3x2 tiles")


def test_so_many_boxes(open_page: OpenPage, photo: Path) -> None:
    """The best are shown, listed, downloaded and asked for by the address, without another run."""
    page = open_page()
    choose(page, photo)
    boxes = page.locator("#result .ds-box")
    score(page, "0.05")
    expect(boxes.nth(1)).to_be_visible()
    trace, best = trace_of(page), boxes.first.inner_text()
    most = page.locator('[data-choices="one"]:not([inert]) [name=most]')
    most.fill("1")
    expect(boxes).to_have_count(1)
    assert boxes.first.inner_text() == best
    expect(page.locator("#result h2")).to_have_text("1 object found")
    expect(page.locator("#result .ds-cut")).to_have_text(re.compile("The best 1 of [0-9]+ boxes"))
    expect(page).to_have_url(re.compile("&most=1$"))
    href = page.get_by_role("link", name="JSON").get_attribute("href")
    assert str(href).endswith("&most=1")
    page.reload()
    assert trace_of(page) == trace
    expect(boxes).to_have_count(1)
    most.fill("500")
    expect(boxes).not_to_have_count(1)


def copied(page: Page, button: str = "Copy as curl") -> str:
    """What a button copies. The clipboard is the whole browser's: what an earlier test has left in
    it is taken away before."""
    page.evaluate("() => navigator.clipboard.writeText('')")
    page.get_by_role("button", name=button).click()
    return str(page.wait_for_function("() => navigator.clipboard.readText()").json_value())


def paste(page: Page, photo: Path) -> None:
    given = page.evaluate_handle(TRANSFER, [list(photo.read_bytes()), "pasted.jpg", "image/jpeg"])
    page.evaluate(
        "held => document.body.dispatchEvent(new ClipboardEvent('paste', "
        "{ clipboardData: held, bubbles: true, cancelable: true }))",
        given,
    )


def drop(page: Page, image: bytes, onto: str) -> None:
    given = page.evaluate_handle(TRANSFER, [list(image), "dropped.jpg", "image/jpeg"])
    for kind in ("dragenter", "dragover", "drop"):
        page.locator(onto).dispatch_event(kind, {"dataTransfer": given})


@pytest.mark.parametrize("name", ["pasted.jpg", "dropped.jpg"])
def test_before_anybody_listens(open_page: OpenPage, photo: Path, name: str) -> None:
    """What is pasted or dropped while the page's scripts are still on their way is not lost."""
    page = open_page()
    with scripts_held(page, "files"):
        expect(page.locator(".ds-state")).to_contain_text("1 worker ready")
        if name == "pasted.jpg":
            paste(page, photo)
        else:
            drop(page, photo.read_bytes(), "body")
    trace_of(page)
    expect(page.locator(".ds-mine ol a[data-result]")).to_have_text(name)


def test_paste_and_drop(open_page: OpenPage, photo: Path) -> None:
    """Pasted anywhere, an image runs at once; one that is dropped takes its place."""
    page = open_page()
    expect(page.locator(".ds-state")).to_contain_text("1 worker ready")
    paste(page, photo)
    first = trace_of(page)
    expect(page.locator("#result .ds-box").first).to_be_visible()
    expect(page.locator(".ds-mine ol a[data-result]")).to_have_text("pasted.jpg")
    expect(page.locator("#photo img")).to_be_visible()
    drop(page, pictures.jpeg(seed=3), "#photo")
    expect(page.locator("#result .ds-result")).not_to_have_attribute("data-trace", first)
    expect(page.locator(".ds-mine ol a[data-result]").first).to_have_text("dropped.jpg")
    expect(page.locator("body")).not_to_have_class(re.compile("ds-dropping"))


@pytest.mark.parametrize(
    "name",
    ['it\'s; a "$(touch pwned)" `x`, &type=y.jpg', "two\nlines\tand a tab.jpg", "照片 📷 é.jpg",
     r"back\slash \\ \" \n\\.jpg", " blanks  .jpg", "--help.jpg",
     "@x;filename=y.jpg", "100 % \x1b[0m.jpg"],
)  # fmt: skip
def test_the_copied_command_runs(
    open_page: OpenPage, photo: Path, tmp_path: Path, name: str
) -> None:
    """In a shell, whatever the photograph is called: the API's answer has the boxes that are
    shown."""
    named = tmp_path / name
    named.write_bytes(photo.read_bytes())
    page = open_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    choose(page, named)
    trace_of(page)
    ran = subprocess.run(
        ["sh", "-c", copied(page).replace("curl", "curl --noproxy '*' -sS", 1)],
        cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=True,
    )  # fmt: skip
    found = json.loads(ran.stdout)["detections"]
    assert len(found) == page.locator("#result .ds-box").count()
    assert not (tmp_path / "pwned").exists()


def test_a_picture_of_another_page(open_page: OpenPage) -> None:
    """Dragged here it comes as its address: where the service fetches pictures the field has it,
    for somebody to see first; elsewhere the page says what to do."""
    page = open_page()
    expect(page.locator(".ds-state")).to_contain_text("1 worker ready")
    expect(page.locator('[data-choices="one"]:not([inert])')).to_be_visible()
    drag = """address => {
      const held = new DataTransfer();
      held.setData("text/uri-list", "# a comment\\r\\n" + address);
      return held;
    }"""

    def drop(address: str, onto: str = "#photo") -> None:
        held = page.evaluate_handle(drag, address)
        for kind in ("dragenter", "dragover", "drop"):
            page.locator(onto).dispatch_event(kind, {"dataTransfer": held})

    drop("https://pictures.example/a.jpg")
    said = page.locator(".ds-said")
    expect(said).to_have_text(re.compile("fetches no pictures from other pages. Save the picture"))
    page.evaluate(  # as it is where the operator names hosts
        "() => document.querySelector('#photo').insertAdjacentHTML('afterend', "
        "`<form class='ds-address'><input name='url' maxlength='30'></form>`)"
    )
    page.get_by_role("tab", name="Several images").click()
    drop("https://pictures.example/a.jpg", "body")
    field = page.locator(".ds-address input")
    expect(field).to_have_value("https://pictures.example/a.jpg")
    expect(field).to_be_focused()
    expect(said).to_have_count(0)
    drop("javascript:document.title=1")
    expect(said).to_be_visible()
    expect(field).to_have_value("https://pictures.example/a.jpg")


def test_waiting_is_seen(open_page: OpenPage, photo: Path, redis: Redis) -> None:
    """From the moment on at which an image was chosen, until its result is there."""
    page = open_page()
    expect(page.locator(".ds-state")).to_contain_text("1 worker ready")
    with no_worker_takes(redis):
        choose(page, photo)
        expect(page.locator(".ds-wait")).to_have_text(re.compile(r"Detecting…[1-9]\d*\.\d\ss"))
        expect(page.locator("#result [aria-busy=true]")).to_be_visible()
    trace_of(page)
    expect(page.locator(".ds-wait")).to_be_hidden()


def test_a_service_that_is_away(open_page: OpenPage, photo: Path) -> None:
    """The page says so by itself, and what to do; it says no more once the service answers."""
    page = open_page()
    choose(page, photo)
    trace_of(page)
    page.context.set_offline(True)
    page.get_by_role("button", name="Detect", exact=True).click()
    expect(page.locator("#result .ds-error")).to_contain_text("There was no answer")
    expect(page.locator(".ds-down")).to_contain_text("The service does not answer.")
    page.context.set_offline(False)
    expect(page.locator(".ds-down")).to_be_hidden()
    page.get_by_role("button", name="Detect", exact=True).click()
    trace_of(page)
