"""A newcomer's first minutes, in a real browser on a real box."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support import browser as browsers
from tests.support.box import PASSWORD, Box, running
from tests.support.browser import Watched

pytestmark = pytest.mark.browser

LONG = "Tell me a very long story about a lighthouse, with many chapters and every detail."


@pytest.fixture(scope="module")
def fresh_box() -> Iterator[Box]:
    """A box that nobody has claimed."""
    with running(offset=14_000) as box:
        yield box


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser."""
    with browsers.opened() as browser:
        yield browser


@pytest.fixture(scope="module")
def signed_in(fresh_box: Box, chromium: Browser) -> Iterator[Watched]:
    """The first operator's page, claimed through the printed link."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    watched = Watched(context, fresh_box.url())
    page = watched.page
    page.goto(fresh_box.setup_link)
    page.get_by_label("Name").fill("olga")
    for field in page.locator("input[type=password]").all():
        field.fill(PASSWORD)
    page.get_by_role("button", name="Become the operator").click()
    expect(page.locator("[data-prompt]")).to_be_visible()
    yield watched
    context.close()


def ask(page: Page, text: str) -> None:
    """Type a question and send it."""
    prompt = page.locator("[data-prompt]")
    expect(prompt).to_be_enabled()
    prompt.fill(text)
    prompt.press("Enter")


def answers(page: Page) -> list[str]:
    """The texts of the answers on the page."""
    return page.locator("article.assistant .body").all_inner_texts()


def test_the_setup_link_works_once(fresh_box: Box, signed_in: Watched, chromium: Browser) -> None:
    other = chromium.new_page()
    other.goto(fresh_box.setup_link)
    expect(other.get_by_text("already has an operator")).to_be_visible()
    other.close()


def test_the_bundled_model_is_listed_with_its_verdicts(fresh_box: Box, signed_in: Watched) -> None:
    page = signed_in.page
    page.goto(f"{fresh_box.url()}/models")
    card = page.locator("article.model", has_text="SmolLM2-135M-Instruct")
    expect(card).to_have_attribute("data-status", "promoted", timeout=240_000)
    expect(card).to_contain_text("Q4_1")
    if card.locator("details.checks").get_attribute("open") is None:
        card.locator("details.checks > summary").click()
    for stage in ("Source", "Format", "Integrity", "Behaviour"):
        expect(card.locator("strong", has_text=stage)).to_be_visible()


def test_a_question_is_answered_by_streaming(fresh_box: Box, signed_in: Watched) -> None:
    page = signed_in.page
    page.goto(fresh_box.url())
    ask(page, "What is the capital of France? Answer in one sentence.")
    expect(page.locator("[data-stop]")).to_be_hidden(timeout=60_000)
    expect(page).to_have_url(re.compile(r"/c/[0-9a-f-]{36}$"))
    assert len(answers(page)) == 1
    assert len(answers(page)[0]) > 3


def test_an_answer_survives_a_reload_in_its_middle(fresh_box: Box, signed_in: Watched) -> None:
    page = signed_in.page
    page.goto(fresh_box.url())
    ask(page, LONG)
    expect(page.locator("[data-stop]")).to_be_visible()
    expect(page.locator("article.assistant .body")).to_contain_text(re.compile(r"\w+ \w+ \w+ \w+"))
    page.reload()
    expect(page.locator("article.assistant .body")).to_contain_text(re.compile(r"\w+"))
    expect(page.locator("[data-stop]")).to_be_hidden(timeout=120_000)
    shown = answers(page)[0]
    page.reload()
    expect(page.locator("article.assistant .body")).to_contain_text(shown[:40])
    assert answers(page)[0].split() == shown.split()
    assert len(shown) > 200


def test_stop_stops_and_the_text_stays(fresh_box: Box, signed_in: Watched) -> None:
    page = signed_in.page
    page.goto(fresh_box.url())
    ask(page, LONG)
    expect(page.locator("article.assistant .body")).to_contain_text(re.compile(r"\w+ \w+ \w+"))
    page.keyboard.press("Escape")
    expect(page.locator("[data-stop]")).to_be_hidden(timeout=5_000)
    assert answers(page)[0].strip()


def test_a_file_that_is_no_model_is_refused_with_its_reason(
    fresh_box: Box, signed_in: Watched, tmp_path: Path
) -> None:
    fake = tmp_path / "holiday.gguf"
    fake.write_bytes(b"\x89PNG\r\n\x1a\n" + b"pixels" * 100)
    page = signed_in.page
    page.goto(f"{fresh_box.url()}/models")
    page.locator("[data-file]").set_input_files(fake)
    card = page.locator("article.model", has_text="holiday")
    expect(card).to_contain_text(re.compile("refused", re.IGNORECASE), timeout=30_000)


def test_nothing_is_loaded_from_elsewhere_and_the_policy_is_not_broken(signed_in: Watched) -> None:
    assert signed_in.foreign == []
    assert [text for text in signed_in.complaints if "Content Security Policy" in text] == []
    assert [text for text in signed_in.complaints if "Error" in text and "404" not in text] == []


def test_a_signed_out_browser_is_sent_to_sign_in(fresh_box: Box, chromium: Browser) -> None:
    page = chromium.new_page()
    page.goto(fresh_box.url())
    expect(page).to_have_url(re.compile("/sign-in"))
    page.close()
