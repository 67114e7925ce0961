"""The models page in a real browser on a real box: what is dropped, what is seen of the checks, what is said."""

import json
import os
import pickle
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support import browser as browsers
from tests.support import pipelines
from tests.support.box import PASSWORD, Box, running
from tests.support.browser import Watched
from tests.support.hostile_models import entry, safetensors, small_gguf, small_safetensors
from tests.support.signing import Minisign

pytestmark = pytest.mark.browser

BUNDLED = "SmolLM2-135M-Instruct-Q4_1"
SCAN_MS = 240_000  # the trial alone takes 20 s on a machine with nothing else to do
# Controls without a name for those who do not see them.
NAMELESS = """() => [...document.querySelectorAll("button, a[href], input, select, textarea, summary, progress")]
  .filter(node => node.checkVisibility() || node.type === "file")
  .filter(node => !(node.getAttribute("aria-label") || node.textContent.trim()
    || [...(node.labels ?? [])].some(label => label.textContent.trim())))
  .map(node => node.outerHTML)"""
WIDER_THAN_SHOWN = (
    "() => document.querySelector('.content').scrollWidth - document.documentElement.clientWidth"
)
BACKGROUND = "() => getComputedStyle(document.body).backgroundColor"


class WouldRun:
    """A pickle that asks for a command when it is loaded; nothing here loads it."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


@pytest.fixture(scope="module")
def open_box() -> Iterator[Box]:
    """A box that has just started; its bundled model is still being checked."""
    with running(offset=21_000) as box:
        box.operator("olga")
        yield box


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser."""
    with browsers.opened() as browser:
        yield browser


@pytest.fixture(scope="module")
def watched(open_box: Box, chromium: Browser) -> Iterator[Watched]:
    """Olga's models page."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    seen = Watched(context, open_box.url())
    seen.page.goto(f"{open_box.url()}/sign-in?next=/models")
    seen.page.get_by_label("Name").fill("olga")
    seen.page.locator("input[type=password]").fill(PASSWORD)
    seen.page.get_by_role("button", name="Sign in").click()
    expect(seen.page.get_by_role("heading", name="Models")).to_be_visible()
    yield seen
    context.close()


@pytest.fixture
def page(watched: Watched) -> Page:
    """The page, with nothing of an earlier test on it."""
    watched.page.goto(watched.page.url.split("/models")[0] + "/models")
    expect(watched.page.locator("[data-model-list]")).not_to_have_attribute("aria-busy", "true")
    return watched.page


def card(page: Page, name: str) -> Locator:
    """The card of a model."""
    return page.locator(f'article.model[aria-label="{name}"]')


def drop(page: Page, *paths: Path) -> None:
    """Drag files and folders of this machine over the page and let them go, as the system's file manager does."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 600, "y": 400, "data": data})
    expect(page.locator("[data-dropzone]")).to_be_visible()
    session.send("Input.dispatchDragEvent", {"type": "drop", "x": 600, "y": 400, "data": data})
    expect(page.locator("[data-dropzone]")).to_be_hidden()


def written(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """The files, written below the folder."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return [folder / name for name in files]


def states(box: Box) -> dict[str, str]:
    """Name → status, as the box itself says."""
    with box.http(box.key("olga")) as http:
        return {model["name"]: model["status"] for model in http.get("/api/models").json()}


def test_the_checks_are_seen_while_they_run_and_end_with_the_evidence(page: Page) -> None:
    model = card(page, BUNDLED)
    expect(model.locator("[data-live]")).to_contain_text(
        re.compile(r"Check \d of 7: \w+.* s"), timeout=60_000
    )
    expect(model.locator("li.running")).to_have_count(1)
    expect(model).to_have_attribute("data-status", "promoted", timeout=SCAN_MS)
    expect(model).to_contain_text("Chat")
    expect(model.locator(".fit")).to_contain_text(re.compile(r"(Fits|Tight|Too big): needs .+, .+ free"))
    checks = model.locator("details.checks")
    if checks.get_attribute("open") is None:
        checks.locator("> summary").click()
    trial = checks.locator("details.evidence[data-keep=behavior]")
    trial.locator("> summary").click()
    expect(trial).to_contain_text(re.compile(r"Nothing unasked in \d+ trials"))
    expect(trial).to_contain_text(re.compile(r"\d+ of 100"))
    model.locator("details[data-keep=identity] > summary").click()
    for title in (
        "Fingerprint of its structure",
        "SHA-256 of its chat template",
        "Root of its tensor digests",
    ):
        expect(
            model.locator("details[data-keep=identity] div", has_text=title).locator("code").first
        ).to_have_text(re.compile(r"^[0-9a-f]{64}$"))


def test_a_dropped_pickle_is_refused_in_words_and_never_runs(
    page: Page, open_box: Box, tmp_path: Path
) -> None:
    drop(page, *written(tmp_path, {"holiday.bin": pickle.dumps(WouldRun(f"touch {tmp_path}/it-ran"))}))
    model = card(page, "holiday.bin")
    expect(model).to_have_attribute("data-status", "refused", timeout=SCAN_MS)
    notice = model.locator(".notice.bad")
    expect(notice).to_contain_text("pickle")
    expect(notice).to_contain_text("What it would have done")
    expect(notice).to_contain_text("it-ran")
    expect(notice).to_contain_text("What to do: Look for the same model as .safetensors or .gguf")
    expect(page.locator("[data-toasts]")).to_contain_text("holiday")
    assert states(open_box)["holiday.bin"] == "refused"
    assert not (tmp_path / "it-ran").exists()


def test_dropped_weights_pass_and_hostile_metadata_stays_text(
    page: Page, open_box: Box, tmp_path: Path
) -> None:
    hostile = {"<img src=x onerror=alert(1)>": "\u202e<script>alert(1)</script>"}
    drop(
        page,
        *written(
            tmp_path,
            {
                "weights.safetensors": safetensors(
                    {"__metadata__": hostile, "a": entry()}, bytes(range(1, 17))
                )
            },
        ),
    )
    model = card(page, "weights")
    expect(model).to_have_attribute("data-status", "promoted", timeout=SCAN_MS)
    expect(model).to_contain_text("Weights (nothing here runs them)")
    expect(model.get_by_role("button", name="Load")).to_have_count(0)
    model.locator("details.checks > summary").click()
    model.locator("details.evidence[data-keep=format_gate] > summary").click()
    model.locator("details[data-keep=metadata] > summary").click()
    expect(model.locator("details[data-keep=metadata]")).to_contain_text("<script>alert(1)</script>")
    expect(model.locator("details[data-keep=metadata]")).to_contain_text("⟨U+202E⟩")
    expect(page.locator("img, script:not([src])")).to_have_count(0)
    assert states(open_box)["weights"] == "promoted"


def test_a_part_without_the_others_is_not_even_sent(page: Page, open_box: Box, tmp_path: Path) -> None:
    before = states(open_box)
    drop(page, *written(tmp_path, {"big-00001-of-00003.gguf": small_gguf()}))
    row = page.locator(".upload.failed")
    expect(row).to_contain_text("2 of 3 parts are missing: big-00002-of-00003.gguf, big-00003-of-00003.gguf")
    row.get_by_role("button", name="Cancel").click()
    expect(row).to_have_count(0)
    assert states(open_box) == before


def test_parts_dropped_together_arrive_as_one_model(page: Page, open_box: Box, tmp_path: Path) -> None:
    placed = {f"t{n}": f"set-0000{n}-of-00002.safetensors" for n in (1, 2)}
    index = json.dumps({"metadata": {"total_size": 32}, "weight_map": placed}).encode()
    parts = {path: safetensors({name: entry()}, bytes(range(1, 17))) for name, path in placed.items()}
    drop(page, *written(tmp_path, parts | {"set.safetensors.index.json": index}))
    expect(card(page, "set")).to_have_attribute("data-status", "promoted", timeout=SCAN_MS)
    assert [name for name in states(open_box) if name.startswith("set")] == ["set"]


def test_a_dropped_folder_arrives_as_one_picture_model_without_hidden_files(
    page: Page, open_box: Box, tmp_path: Path
) -> None:
    written(tmp_path / "painter", pipelines.ddpm() | {".cache/left-behind": b"x", "unet/.DS_Store": b"x"})
    drop(page, tmp_path / "painter")
    model = card(page, "painter")
    expect(model).to_have_attribute("data-status", "promoted", timeout=SCAN_MS)
    expect(model).to_contain_text("Pictures")
    model.locator("details.checks > summary").click()
    model.locator("details.evidence[data-keep=diffusion] > summary").click()
    expect(model.locator("details.evidence[data-keep=diffusion] table")).to_contain_text("DDPMScheduler")
    assert states(open_box)["painter"] == "promoted"


def test_a_signature_goes_along_with_the_model_whose_name_it_carries(page: Page, tmp_path: Path) -> None:
    data = safetensors({"signed": entry()}, bytes(range(3, 19)))
    signature = Minisign().sign(data)
    drop(page, *written(tmp_path, {"mine.safetensors": data, "mine.safetensors.minisig": signature}))
    model = card(page, "mine")
    expect(model).to_have_attribute("data-status", "promoted", timeout=SCAN_MS)
    model.locator("details.checks > summary").click()
    expect(model.locator("li.pass", has_text="Provenance")).to_contain_text(
        "a key that this box does not trust"
    )


def test_a_picture_is_named_as_no_model(page: Page, open_box: Box, tmp_path: Path) -> None:
    drop(page, *written(tmp_path, {"holiday.png": b"\x89PNG\r\n\x1a\n"}))
    expect(page.locator(".upload.failed")).to_contain_text("This is no model file")
    assert "holiday.png" not in states(open_box)


def test_a_wrong_digest_is_refused_and_nothing_is_kept(page: Page, tmp_path: Path, open_box: Box) -> None:
    file = tmp_path / "pinned.safetensors"
    file.write_bytes(small_safetensors())
    page.get_by_role("button", name="Add a model").click()
    page.locator("#import-sha256").fill("0" * 64)
    page.locator("[data-file]").set_input_files(file)
    expect(page.locator(".upload.failed")).to_contain_text("does not have the SHA-256 that you named")
    assert "pinned" not in states(open_box)


def test_a_closed_door_is_said_beside_the_form(page: Page) -> None:
    page.get_by_role("button", name="Add a model").click()
    page.locator("#download-url").fill("https://huggingface.co/maker/m/resolve/main/tiny-Q8_0.gguf")
    expect(page.locator("#download-name")).to_have_value("tiny-Q8_0")
    page.get_by_role("button", name="Download", exact=True).click()
    expect(page.locator("[data-said]")).to_contain_text("The network door is closed")
    expect(page.locator("#download-name")).to_have_value("tiny-Q8_0")  # nothing that was typed is lost


def test_a_changed_byte_is_found_and_said_at_the_top(page: Page, open_box: Box, tmp_path: Path) -> None:
    file = tmp_path / "spoiled.safetensors"
    file.write_bytes(safetensors({"spoiled": entry()}, bytes(range(2, 18))))
    page.locator("[data-file]").set_input_files(file)
    expect(card(page, "spoiled")).to_have_attribute("data-status", "promoted", timeout=SCAN_MS)
    page.get_by_role("button", name="Verify files").click()
    expect(page.locator("[data-verified]")).to_contain_text("to their last bytes", timeout=60_000)
    flip_a_byte(open_box, file.read_bytes())
    page.get_by_role("button", name="Verify files").click()
    expect(page.locator("[data-verified] .notice.bad")).to_contain_text("spoiled", timeout=60_000)
    expect(page.locator("[data-broken]")).to_contain_text("changed after it was promoted")
    expect(page.locator('article.model[data-status="failed"]')).to_contain_text("What to do: Remove it")


def flip_a_byte(box: Box, data: bytes) -> None:
    """Change the last byte of the stored file, and leave its times as they were."""
    stored = next(
        path for path in (box.home / "models").rglob("*") if path.is_file() and path.read_bytes() == data
    )
    times = stored.stat()
    stored.chmod(0o600)
    stored.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(stored, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_every_control_has_a_name_and_the_shortcuts_are_listed(page: Page) -> None:
    page.get_by_role("button", name="Add a model").click()
    for fold in page.locator("details.checks > summary").all():
        fold.click()
    assert page.evaluate(NAMELESS) == []
    page.locator("h1").click()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Import a model")
    expect(page.get_by_role("dialog")).to_contain_text("Search the models")


def test_a_phone_shows_everything_without_scrolling_sideways(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("button", name="Add a model").click()
    for fold in page.locator("details > summary").all():
        if fold.is_visible():
            fold.click()
    assert page.evaluate(WIDER_THAN_SHOWN) <= 0
    page.set_viewport_size({"width": 1280, "height": 900})


def test_dark_is_dark(page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(BACKGROUND)
    page.emulate_media(color_scheme="light")
    assert max(map(int, re.findall(r"\d+", dark)[:3])) < 60
    assert min(map(int, re.findall(r"\d+", page.evaluate(BACKGROUND))[:3])) > 200


def test_the_page_complains_of_nothing_and_loads_nothing_from_elsewhere(watched: Watched) -> None:
    assert watched.foreign == []
    expected = re.compile(r"status of (400|503)")  # the digest that was refused, the door that is closed
    assert [text for text in watched.complaints if not expected.search(text)] == []
